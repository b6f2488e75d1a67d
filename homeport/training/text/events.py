"""events.jsonl: what happens, as it happens."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from homeport.training.text.job import Event

_ENCODER = msgspec.json.Encoder()


class Events:
    """A line is written as a whole, and is with the operating system before the run goes on. What another trainer said
    stays; a line that it did not finish is taken away, so that lines that readers have seen are never changed."""

    def __init__(self, file: Path, shown: Callable[[Event], None]) -> None:
        """shown: is given them, too."""
        self._shown = shown
        self._file = file.open("a+b", buffering=0)
        self._file.truncate(_end_of_last_line(self._file.fileno()))

    def say(self, event: Event) -> None:
        self._file.write(_ENCODER.encode(event) + b"\n")
        self._shown(event)

    def close(self) -> None:
        self._file.close()


def _end_of_last_line(file: int, block: int = 4096) -> int:
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - block)
        if (at := os.pread(file, end - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0
