"""An engine with one thread: who has it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homeport.backends.engines.turns import Turns
from homeport.errors import Unavailable


@asynccontextmanager
async def turns(places: int = 4, queue: int = 4) -> AsyncIterator[Turns]:
    made = Turns("turns", places=places, queue=queue)
    try:
        yield made
    finally:
        await made.close()


def test_several_take_turns() -> None:
    async def run() -> None:
        done: list[str] = []
        begun = threading.Event()
        async with turns() as one:

            async def use(name: str, times: int) -> None:
                async with one.place():
                    for _ in range(times):
                        await one.take(done.append, name)

            waiting = asyncio.ensure_future(one.take(begun.wait, 30))
            using = asyncio.gather(use("long", 4), use("short", 2), use("other", 2))
            await asyncio.sleep(0)
            begun.set()
            await asyncio.gather(waiting, using)
        assert done == ["long", "short", "other", "long", "short", "other", "long", "long"]

    asyncio.run(run())


def test_who_finds_no_place_waits_and_who_finds_no_room_to_wait_is_refused() -> None:
    async def run() -> None:
        async with turns(places=1, queue=1) as one, asyncio.TaskGroup() as group:
            entered, leave = asyncio.Event(), asyncio.Event()

            async def use() -> None:
                async with one.place():
                    entered.set()
                    await leave.wait()

            group.create_task(use())
            await entered.wait()
            group.create_task(use())
            await asyncio.sleep(0)
            assert one.occupancy()[1:4] == (1, 1, 1)
            with pytest.raises(Unavailable):
                async with one.place():
                    pytest.fail("there was none")
            leave.set()
        assert one.occupancy()[1:4] == (1, 0, 0)

    asyncio.run(run())


def test_a_turn_that_has_not_begun_is_taken_back() -> None:
    async def run() -> None:
        done: list[str] = []
        gate = threading.Event()
        async with turns() as one:
            running = asyncio.ensure_future(one.take(gate.wait, 30))
            waiting = asyncio.ensure_future(one.take(done.append, "never"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            gate.set()
            await running
            await one.take(done.append, "after")
        assert done == ["after"]

    asyncio.run(run())
