"""Lines of batches beside everybody else: how many of the places of what is shared they may have.

A line waits behind whoever asks for an answer now, however long it has waited, and does not count among those who wait:
nobody is refused because of it, and it is not refused itself.

An engine of this machine gives lines all of its places while nobody else asks. Who asks then gets a place at once: the
youngest lines are sent back (`Line`), and begin anew when there is room. What they had by then nobody has seen; an
engine may go on from it.

What an upstream works at is not interrupted: it would charge for it. So there must be a connection that no line ever
has, or a request would wait for the end of one: an eighth of 8 or more, one of fewer, and none where there is only one.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

#: One place of so many is never a line's, where lines are not sent back.
SPARE = 8
#: While a request is being answered or waits, lines have one place of so many.
BESIDE = 4

T = TypeVar("T")
_numbers = itertools.count()


def places_for_lines(places: int, *, alone: bool) -> int:
    """At least one, if there is one. alone: nobody else is being answered, or waits."""
    theirs = places - max(1, places // SPARE) if alone else places // BESIDE
    return min(places, max(1, theirs))


class Line:
    """One go of a line at an engine. number: of the line; the lower, the older. sent_back: how often it was before."""

    def __init__(self, number: int | None = None, sent_back: int = 0) -> None:
        self.number = next(_numbers) if number is None else number
        self.sent_back = sent_back
        self._going_on = asyncio.timeout(None)

    def send_back(self) -> None:
        """As a cancellation of what it works at. Where that has ended meanwhile, nothing happens."""
        with suppress(RuntimeError):
            self._going_on.reschedule(asyncio.get_running_loop().time())

    async def begin(self, work: Callable[["Line"], Awaitable[T]]) -> T | None:
        """What `work` gives; None: it was sent back."""
        try:
            async with self._going_on:
                return await work(self)
        except TimeoutError:
            if not self._going_on.expired():
                raise
            return None


async def to_its_end(work: Callable[[Line], Awaitable[T]]) -> T:
    """Begun anew, as a go of its own, whenever the line is sent back. Nothing else of `work` may be seen by then."""
    line = Line()
    while (found := await line.begin(work)) is None:
        line = Line(line.number, line.sent_back + 1)
    return found


async def once_whole(generate: Callable[[Line], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What a line generates, when all of it is there."""

    async def whole(line: Line) -> list[T]:
        async with aclosing(generate(line)) as pieces:
            return [piece async for piece in pieces]

    for piece in await to_its_end(whole):
        yield piece
