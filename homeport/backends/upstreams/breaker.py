"""Whether a backend that keeps failing is asked at all.

    closed --- `most` failures in a row, or more than half of the last few dozen ---> open
    open   --- its rest is over ---> half open: one request goes, and no other one for another rest
    half open --- it succeeds ---> closed
              --- it fails ---> open, for twice as long (up to `longest`)

Nothing waits for the request of a half open breaker: if its client leaves, the next one goes when the rest is over.
"""

from typing import Literal

#: Seconds of the first rest.
FIRST_REST = 1.0
#: Of one request in the share of failures, which is a moving average.
_WEIGHT = 0.05
_MOST_SHARE = 0.5
#: A share that is none any more.
_FORGOTTEN = 0.01

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Times are of clock.monotonic(). failures: in a row."""

    __slots__ = ("_longest", "_most", "_probing", "_rest", "_share", "failures", "open_until")

    def __init__(self, *, most: int, longest: float) -> None:
        """most: failures in a row; 0: it never opens. longest: seconds of a rest."""
        self._most = most
        self._longest = longest
        self._share = 0.0
        self._rest = 0.0
        self._probing = False
        self.failures = 0
        self.open_until: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until a request may go; 0: now."""
        return 0.0 if self.open_until is None else max(0.0, self.open_until - now)

    def asked(self, now: float) -> None:
        """A request goes."""
        if self.open_until is not None:
            self._probing = True
            self.open_until = now + self._rest

    def succeeded(self) -> None:
        self.failures = 0
        self._share -= self._share * _WEIGHT
        if self._share < _FORGOTTEN:
            self._share = 0.0
        if self.open_until is not None:
            self.open_until, self._probing, self._share = None, False, 0.0

    def failed(self, now: float) -> None:
        self.failures += 1
        self._share += (1.0 - self._share) * _WEIGHT
        if self.open_until is not None:
            if self._probing:
                self._open(now, self._rest * 2)
            return  # else it was asked before the breaker opened
        if self._most and (self.failures >= self._most or self._share > _MOST_SHARE):
            self._open(now, FIRST_REST)

    @property
    def well(self) -> bool:
        """Nothing is remembered that a success would change."""
        return not self._share and self.open_until is None

    def state(self, now: float) -> State:
        if self.open_until is None:
            return "closed"
        return "half_open" if self._probing or now >= self.open_until else "open"

    def _open(self, now: float, rest: float) -> None:
        self._probing = False
        self._rest = min(rest, self._longest)
        self.open_until = now + self._rest
