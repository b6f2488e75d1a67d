"""What an engine takes of this process's memory: what that grew by while the engine was loaded. No library tells it.

Engines of a process are loaded one at a time, so that none is charged for another. What a library shares among models
(its own code, say) is with the one that was loaded first; what an engine takes later, for its work, is with nobody.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from homeport import process

T = TypeVar("T")

_ALONE = threading.Lock()


class Memory:
    """bytes: resident; None: nothing is loaded, or the system does not tell."""

    def __init__(self) -> None:
        self.bytes: int | None = None

    def taken_by(self, load: Callable[[], T]) -> T:
        """Blocks. Raises as it does."""
        with _ALONE:
            before = process.resident()
            loaded = load()
            after = process.resident()
        self.bytes = None if before is None or after is None else max(0, after - before)
        return loaded
