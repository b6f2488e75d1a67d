"""A turn is heard as it comes."""

import asyncio
from typing import Any

import pytest

from homeport.backends.capabilities import Frame
from homeport.loop.asking import MOST_WAITING, Asking, Piece, Text, Told
from homeport.loop.turns import Used
from tests.loop.models import WHO, Callers, Model, Pause, event

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Heard:
    """waits: for whoever hears."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.first = asyncio.Event()
        self.waits: asyncio.Event | None = None

    async def __call__(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.first.set()
        if self.waits is not None:
            await self.waits.wait()


async def ask(model: Any, heard: Heard) -> Told:
    return await Asking(model, Callers()).turn(WHO, REQUEST, heard)


def test_the_first_piece_is_heard_before_the_second_comes() -> None:
    async def scenario() -> None:
        heard, pause = Heard(), Pause()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(Model(["Good ", pause, "day."]), heard))
            await heard.first.wait()
            assert heard.pieces == [Text("Good ")]
            pause.goes_on.set()
        assert heard.pieces == [Text("Good "), Text("day.")]
        assert asking.result() == Told("stop", Used(10, 5), "m-2024")

    asyncio.run(scenario())


def test_who_hears_slowly_is_not_overrun() -> None:
    class Endless(Model):
        taken = 0

        async def stream(self, endpoint: Any, principal: Any, call: Any, outlet: Any) -> None:
            outlet.begin(Frame(event({"content": "x"})))
            while True:
                self.taken += 1
                if not outlet.take(Frame(event({"content": "x"}))):
                    await outlet.drain()

    async def scenario() -> None:
        model, heard = Endless(), Heard()
        heard.waits = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(model, heard))
            await heard.first.wait()
            assert model.taken <= MOST_WAITING
            asking.cancel()

    asyncio.run(scenario())


def test_who_leaves_ends_the_work() -> None:
    async def scenario() -> None:
        heard, pause = Heard(), Pause()
        model = Model(["Good ", pause, "day."])
        closed: list[bool] = []
        frames = model._frames

        async def watched(turn: Any) -> Any:
            try:
                async for frame in frames(turn):
                    yield frame
            finally:
                closed.append(True)

        model._frames = watched  # type: ignore[method-assign]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(model, heard))
            await heard.first.wait()
            asking.cancel()
        assert closed == [True]

    asyncio.run(scenario())


def test_who_cannot_hear_ends_the_work() -> None:
    async def deaf(piece: Piece) -> None:
        raise ConnectionError

    pause = Pause()
    with pytest.raises(ConnectionError):
        asyncio.run(Asking(Model(["Good ", pause]), Callers()).turn(WHO, REQUEST, deaf))  # type: ignore[arg-type]
