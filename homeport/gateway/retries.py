"""How often a target is asked again, when, and why not: so that it gets over a hiccup, and never drowns in an outage.

    told      `Retry-After` and its like are waited for, where they ask for no more than `longest`
    untold    exponential backoff with full jitter: up to 0.5 s, 1 s, 2 s, ...
    budget    of all requests of the last ten seconds at most a fifth, and ten, are asked again

Source: the arithmetic of OpenAI's SDKs (0.5 s to 8 s); "Exponential backoff and jitter" (AWS, 2015); Finagle's retry
budgets.
"""

import random
from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from homeport.errors import HomeportError

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 8.0
#: Of a wait that was told, what chance may add to it: those who were told the same do not come back together.
SPREAD = 0.1
WINDOW = 10.0
#: Of the requests of the window, and beside it, what may be asked again.
SHARE = 0.2
FLOOR = 10


class _Second(NamedTuple):
    ended: float
    requests: int
    retries: int


class Retries:
    """Of one backend, for all its models. Times are of clock.monotonic().

    ends, requests: of the second that is being counted; whoever asks it counts its own request (attempts.py).
    """

    __slots__ = ("_longest", "_most", "_past", "_random", "_retries", "_within", "ends", "requests")

    def __init__(
        self, *, most: int, longest: float = inf, within: float = inf, chance: Callable[[], float] = random.random
    ) -> None:
        """most: times a request. longest: seconds of one wait. within: seconds from the request on, not later."""
        self._most = most
        self._longest = longest
        self._within = within
        self._random = chance
        self._past: deque[_Second] = deque()
        self._retries = 0
        self.ends = -inf
        self.requests = 0

    def count(self, now: float) -> None:
        """A request, when the second of those before it has ended."""
        self._turn(now)
        self.requests = 1

    def wait(self, error: HomeportError, tried: int, *, began: float, now: float, patience: float) -> float | None:
        """Seconds until the next try; None: there is none. tried: times. patience: seconds, for what is told."""
        told = error.again
        if told is None or tried > self._most:
            return None
        if told > min(self._longest, patience):
            return None
        chance = self._random()
        wait = told * (1 + SPREAD * chance) if told else chance * backoff(tried, self._longest)
        if now + wait > began + self._within or not self._is_left(now):
            return None
        self._retries += 1
        return wait

    def _is_left(self, now: float) -> bool:
        if now >= self.ends:
            self._turn(now)
        while self._past and self._past[0].ended <= now - WINDOW:
            self._past.popleft()
        requests = self.requests + sum(second.requests for second in self._past)
        retries = self._retries + sum(second.retries for second in self._past)
        return retries < FLOOR + int(SHARE * requests)

    def _turn(self, now: float) -> None:
        if self.requests or self._retries:
            self._past.append(_Second(self.ends, self.requests, self._retries))
        if len(self._past) > 2 * WINDOW:
            self._past.popleft()
        self.ends = now + 1.0
        self.requests = self._retries = 0


def backoff(tried: int, longest: float) -> float:
    """The most seconds before the next try, after so many."""
    return min(FIRST_BACKOFF * 2.0 ** min(tried - 1, 30), LONGEST_BACKOFF, longest)


#: Of what runs here, and refuses for good reason.
NEVER = Retries(most=0)
