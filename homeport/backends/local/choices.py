"""Several generations at once, told as one stream; ending it ends them all."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from homeport.backends.text import Piece

AT_ONCE = 32  # of one request's generations: a long list of prompts must not fill the engine's queue for everybody
WAITING = 64  # pieces, until a slow reader holds the generations up


class Spoken(NamedTuple):
    choice: int
    piece: Piece


async def together(generations: Sequence[AsyncGenerator[Piece, None]]) -> AsyncGenerator[Spoken, None]:
    """Pieces of all generations as they come, each with its place in the list (`choice`).

    The first error of any generation ends all and is raised.
    """
    if len(generations) == 1:
        async with aclosing(generations[0]) as pieces:
            async for piece in pieces:
                yield Spoken(0, piece)
        return
    ready: asyncio.Queue[Spoken | Exception | None] = asyncio.Queue(WAITING)
    places = asyncio.Semaphore(AT_ONCE)

    async def pump(index: int, generation: AsyncGenerator[Piece, None]) -> None:
        try:
            async with places, aclosing(generation) as pieces:
                async for piece in pieces:
                    await ready.put(Spoken(index, piece))
        except Exception as error:  # raised by the reader's side: here it would tear the task group
            await ready.put(error)
        else:
            await ready.put(None)

    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pump(index, generation)) for index, generation in enumerate(generations)]
        running = len(tasks)
        try:
            while running and failure is None:
                match await ready.get():
                    case None:
                        running -= 1
                    case Exception() as error:
                        failure = error
                    case item:
                        yield item
        except GeneratorExit:
            return  # the reader has left; a GeneratorExit must not pass through the task group, which would wrap it
        finally:
            for task in tasks:
                task.cancel()
    if failure is not None:
        raise failure
