"""Work in a loop as a job has it: what it waits for while nobody is kept waiting, and what it is watched for."""

import asyncio
from collections.abc import Coroutine
from enum import Enum
from typing import Any, TypeVar

from homeport import clock
from homeport.errors import HomeportError, Unavailable
from homeport.jobs import batch_lines
from homeport.jobs.worker import Task

T = TypeVar("T")


class Patience:
    """Whoever answers has too much to do for the moment, or is away: that is waited for, until a time."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._refused: HomeportError | None = None

    def wait(self, error: HomeportError, tried: int) -> float | None:
        """Seconds (loop.Wait)."""
        seconds = batch_lines.wait(error, tried)
        if seconds is not None and clock.now() + seconds < self._until:
            return seconds
        self._refused = error
        return None

    def is_of_others(self, error: HomeportError) -> bool:
        """The database was away, say: the work itself has not failed."""
        return isinstance(error, Unavailable) and error is not self._refused


class Sign(Enum):
    """Why work that has not ended is left."""

    CANCELLED = "cancelled"
    STOPPING = "stopping"
    LATE = "late"


async def watched(task: Task, work: Coroutine[Any, Any, T], *, seconds: float | None = None) -> T | Exception | Sign:
    """What it comes to, or raises; or why it was cut off. seconds: that it may take."""
    async with asyncio.TaskGroup() as group:
        going = group.create_task(_kept(work))
        cancelled = group.create_task(task.cancelled.wait())
        stopping = group.create_task(task.stopping.wait())
        every = going, cancelled, stopping
        done, _ = await asyncio.wait(every, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in every:
            one.cancel()
    if not going.cancelled():
        return going.result()
    if cancelled in done:
        return Sign.CANCELLED
    return Sign.STOPPING if stopping in done else Sign.LATE


async def _kept(work: Coroutine[Any, Any, T]) -> T | Exception:
    """What it raises is no business of those beside it."""
    try:
        return await work
    except Exception as error:
        return error
