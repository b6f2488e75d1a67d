"""What work in a loop waits for, while nobody is kept waiting by it: whoever answers has too much to do for the moment,
or is away."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from homeport import clock
from homeport.errors import HomeportError, Unavailable
from homeport.jobs import batch_lines

T = TypeVar("T")


class Patience:
    """Until a time. refused: what the line said when that was over."""

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


async def kept(work: Coroutine[Any, Any, T]) -> T | Exception:
    """What it raises is no business of those beside it."""
    try:
        return await work
    except Exception as error:
        return error
