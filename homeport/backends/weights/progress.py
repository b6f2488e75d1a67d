"""How far a long piece of work is: one moving line on a terminal, a line every tenth elsewhere."""

import io
import sys
from typing import TextIO

from homeport import clock

#: Bytes that nobody waits for.
_SHORT = 2**26


def of_long(what: str, total: int) -> "Progress":
    """One that is only shown where there is much to do."""
    return Progress(what, total, out=None if total > _SHORT else io.StringIO())


class Progress:
    """total: 0 when nobody knows. `at` is called with how much is done, as often as you like."""

    def __init__(self, what: str, total: int, *, out: TextIO | None = None) -> None:
        self._what = what
        self._total = total
        self._out = out or sys.stderr
        self._moving = self._out.isatty()
        self._began = clock.monotonic()
        self._start: int | None = None
        self._shown_at = float("-inf")
        self._tenth = -1

    def at(self, done: int) -> None:
        if self._start is None:
            self._start = done
        now = clock.monotonic()
        if self._moving and now - self._shown_at >= 0.1:
            self._shown_at = now
            self._out.write("\r\x1b[K" + self._line(done, now))
            self._out.flush()
        elif not self._moving and self._total and done * 10 // self._total > self._tenth:
            self._tenth = done * 10 // self._total
            self._out.write(self._line(done, now) + "\n")
            self._out.flush()

    def done(self, done: int) -> None:
        if self._moving:
            self._out.write("\r\x1b[K" + self._line(done, clock.monotonic()) + "\n")
            self._out.flush()

    def _line(self, done: int, now: float) -> str:
        seconds = max(now - self._began, 1e-3)
        rate = (done - (self._start or 0)) / seconds
        text = f"{self._what}: {done / 1e6:.1f} MB"
        if self._total:
            text = f"{self._what}: {100 * done // self._total:3d} %  {done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        text += f"  {rate / 1e6:.1f} MB/s"
        if self._total and rate > 0 and done < self._total:
            text += f"  {(self._total - done) / rate:.0f} s left"
        return text
