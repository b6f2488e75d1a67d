"""The upstream's own limits, by its own words: what is left of them, and when there will be more.

Source: OpenAI's guide on rate limits (`x-ratelimit-limit-*`, `-remaining-*`, `-reset-*`, the last as durations like
`1s`, `6m0s`, `120ms`); RFC 9110, 10.2.3 (`Retry-After`: seconds or a date); OpenAI's SDKs (`retry-after-ms`,
`x-should-retry`).
"""

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf

from homeport import clock
from homeport.backends.capabilities import Header

#: Refusals that may pass.
_MAY_PASS = frozenset({408, 409, 429})
_NEVER_PASS = frozenset({501, 505})
_MOST_DIGITS = 15
_LONGEST_VALUE = 64
_NUMBER = re.compile(rb"\d{1,15}(\.\d{1,15})?")
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def again(status: int, headers: Sequence[Header]) -> float | None:
    """Seconds after which the upstream may be asked the same again, 0 where it does not say; None: that does not help.

    headers: names in lower case.
    """
    wish = next((value for name, value in headers if name == b"x-should-retry"), b"")
    if wish == b"false" or (wish != b"true" and not may_pass(status)):
        return None
    return retry_after(headers) or 0.0


def may_pass(status: int) -> bool:
    return status in _MAY_PASS or (status >= 500 and status not in _NEVER_PASS)


def retry_after(headers: Sequence[Header]) -> float | None:
    """Seconds; None where it is not said, or not in a way that can be read."""
    for name, value in headers:
        if name == b"retry-after-ms" and _NUMBER.fullmatch(value):
            return float(value) / 1000
    for name, value in headers:
        if name == b"retry-after":
            return float(value) if _NUMBER.fullmatch(value) else _until(value)
    return None


def _until(date: bytes) -> float | None:
    try:
        then = parsedate_to_datetime(date[:_LONGEST_VALUE].decode("latin-1"))
        return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - clock.now())
    except (ValueError, OverflowError):
        return None


def duration(value: bytes) -> float | None:
    """Seconds of `1m26.4s`, of `120ms`, or of a plain number; None for what is neither."""
    if _NUMBER.fullmatch(value):
        return float(value)
    if len(value) > _LONGEST_VALUE:
        return None
    text = value.decode("utf-8", "replace")
    parts = _PART.findall(text)
    if not parts or sum(len(number) + len(unit) for number, unit in parts) != len(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Bucket:
    """One measure, which fills evenly. Times are of clock.monotonic().

    left: at the time `at`, less what was sent since then; below zero when requests wait for what will be there. owed:
    what those have taken in advance, of which the upstream does not know yet. rate: a second; 0: nobody said, and all
    of it is back at `full_at`.
    """

    __slots__ = ("_longest", "at", "full_at", "left", "limit", "owed", "rate")

    def __init__(self, longest: float = inf) -> None:
        """longest: seconds for which the upstream's word holds. A limit of the day may be raised before it is over, and
        what is meant as a moment of the calendar, not as a duration, would keep everybody out for good."""
        self._longest = longest
        self.left = self.limit = inf
        self.owed = self.rate = 0.0
        self.at = self.full_at = -inf

    def told(self, left: float, limit: float | None, reset: float, now: float) -> None:
        """The upstream's word. reset: seconds until it is full."""
        self.left = left - self.owed
        self.limit = inf if limit is None else max(limit, left)
        self.at = now
        self.full_at = now + reset
        self.rate = (self.limit - left) / reset if limit is not None and reset > 0 else 0.0

    def level(self, now: float) -> float:
        """What is there now."""
        if now >= self.at + self._longest:
            return inf
        if self.rate:
            return min(self.limit, self.left + self.rate * (now - self.at))
        return self.left if now < self.full_at else inf

    def wait(self, amount: float, now: float, *, spare: float = 0.0) -> float:
        """Seconds until so much is there. More than the limit is never there: all of it has to do, and the upstream
        will say what it thinks of it. spare: a share of the limit that is there besides."""
        if spare and self.limit < inf:
            amount += spare * self.limit
        missing = min(amount, self.limit) - self.level(now)
        if missing <= 0:
            return 0.0
        seconds = missing / self.rate if self.rate else self.full_at - now
        return min(seconds, self.at + self._longest - now)

    def take(self, amount: float) -> None:
        self.left -= amount


class Room:
    """What is left of one credential's limits for one family of models."""

    __slots__ = ("requests", "tokens")

    def __init__(self, longest: float = inf) -> None:
        """longest: as a bucket's."""
        self.requests = Bucket(longest)
        self.tokens = Bucket(longest)

    def told(self, headers: Sequence[Header], now: float) -> None:
        """The headers of an answer, names in lower case. What they do not tell, or cannot mean, stays as it was."""
        found = {name[12:]: value for name, value in headers if name[:12] == b"x-ratelimit-"}
        for name, bucket in ((b"requests", self.requests), (b"tokens", self.tokens)):
            left, limit = _whole(found.get(b"remaining-" + name)), _whole(found.get(b"limit-" + name))
            reset = duration(found.get(b"reset-" + name, b""))
            if left is not None and reset is not None:
                bucket.told(left, limit, reset, now)

    def wait(self, tokens: int, now: float, *, spare: float = 0.0) -> float:
        """Seconds until there is room for a request of so many tokens. spare: as a bucket's."""
        return max(self.requests.wait(1, now, spare=spare), self.tokens.wait(tokens, now, spare=spare))

    def take(self, tokens: int) -> None:
        """A request goes, or waits in order to go."""
        self.requests.take(1)
        self.tokens.take(tokens)

    def give_back(self, tokens: int) -> None:
        """It waited, and does not go."""
        self.requests.take(-1)
        self.tokens.take(-tokens)

    def owe(self, tokens: int, *, times: int) -> None:
        """times: 1 when a request begins to wait, -1 when it goes, or does not want to any more."""
        self.requests.owed += times
        self.tokens.owed += times * tokens

    def share(self, now: float) -> float:
        """Of the limits, what is left: 1 is all, or that nobody knows."""
        shares = (bucket.level(now) / bucket.limit for bucket in (self.requests, self.tokens) if 0 < bucket.limit < inf)
        return min(1.0, max(0.0, min(shares, default=1.0)))


def _whole(value: bytes | None) -> int | None:
    if value is None or not value.isdigit() or len(value) > _MOST_DIGITS:
        return None
    return int(value)
