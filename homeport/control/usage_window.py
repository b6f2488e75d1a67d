"""Which buckets an answer has, and the cursor to those after them.

Buckets are minutes, hours or days of UTC. As OpenAI does it, the first begins at `start_time`, cut to its minute, and
the last ends at `end_time`, or now.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from homeport import clock
from homeport.errors import InvalidRequest
from homeport.store.usage_sums import Span
from homeport.wire import admin_usage as wire

MINUTE, HOUR, DAY = 60, 3600, 86_400


class Width(NamedTuple):
    """Seconds of a bucket, and how many of them an answer has: by default, and at most."""

    seconds: int
    default: int
    most: int


WIDTHS = {"1m": Width(MINUTE, 60, 1440), "1h": Width(HOUR, 24, 168), "1d": Width(DAY, 7, 31)}
COSTS_WIDTHS = {"1d": Width(DAY, 7, 180)}

#: The end of what was asked for, a digest of what was asked, the begin of the next bucket.
_CURSOR = struct.Struct(">q8sq")
_PREFIX = "page_"


@dataclass(frozen=True, slots=True)
class Window:
    """buckets: [start, end) each. open: the last one is under way, and whatever began in it belongs to it."""

    width: int
    buckets: Sequence[tuple[int, int]]
    open: bool
    next_page: str | None

    @classmethod
    def of(cls, name: str, asked: wire.Parameters, width: Width) -> "Window":
        """name: of what was asked for. Raises InvalidRequest."""
        limit = _limit(asked, width)
        begin, end = _range(name, asked, width.seconds)
        buckets: list[tuple[int, int]] = []
        while begin < end and len(buckets) < limit:
            until = min(begin - begin % width.seconds + width.seconds, end)
            buckets.append((begin, until))
            begin = until
        more = _cursor(name, asked, begin, end) if begin < end else None
        return cls(width.seconds, buckets, more is None and asked.end_time is None and asked.page is None, more)

    @property
    def span(self) -> Span:
        """All buckets together. There is nothing after now, so an hour that is under way is read as a whole one."""
        end = self.buckets[-1][1]
        return Span(self.buckets[0][0], -(-end // HOUR) * HOUR if self.open else end, self.width)

    def response(self, results: Mapping[int, list[wire.Result]]) -> wire.UsageResponse:
        """results: by the start of their minute, hour or day."""
        data = [
            wire.UsageTimeBucket(start_time=start, end_time=end, results=results.get(start - start % self.width, []))
            for start, end in self.buckets
        ]
        return wire.UsageResponse(data=data, has_more=self.next_page is not None, next_page=self.next_page)


def _limit(asked: wire.Parameters, width: Width) -> int:
    if asked.limit is not None and asked.limit > width.most:
        raise InvalidRequest(
            f"Invalid 'limit': integer above maximum value. Expected a value <= {width.most}, but got {asked.limit} "
            "instead.",
            param="limit",
            code="integer_above_max_value",
        )
    return asked.limit or width.default


def _range(name: str, asked: wire.Parameters, width: int) -> tuple[int, int]:
    """From the begin of the first bucket that is wanted to the end of the last one that there is."""
    if asked.end_time is not None and asked.end_time <= asked.start_time:
        raise InvalidRequest(
            f"Invalid 'end_time': expected a time after 'start_time' ({asked.start_time}), but got {asked.end_time} "
            "instead.",
            param="end_time",
            code="invalid_value",
        )
    begin = asked.start_time - asked.start_time % MINUTE
    if asked.page is not None:
        return _resumed(name, asked, asked.page, begin, width)
    return begin, int(clock.now()) + 1 if asked.end_time is None else asked.end_time


def _cursor(name: str, asked: wire.Parameters, begin: int, end: int) -> str:
    raw = _CURSOR.pack(end, _digest(name, asked, begin, end), begin)
    return _PREFIX + base64.urlsafe_b64encode(raw).decode()


def _resumed(name: str, asked: wire.Parameters, page: str, first: int, width: int) -> tuple[int, int]:
    """What a cursor says, which must be one of ours for the same question."""
    try:
        if not page.startswith(_PREFIX):
            raise ValueError
        end, digest, begin = _CURSOR.unpack(base64.b64decode(page[len(_PREFIX) :], altchars=b"-_", validate=True))
        if digest != _digest(name, asked, begin, end) or begin % width or not first < begin < end <= wire.LATEST:
            raise ValueError
    except (ValueError, binascii.Error, struct.error):
        raise InvalidRequest(
            "The page token is invalid, have you modified the query parameters?", param="page", code="invalid_value"
        ) from None
    return begin, end


def _digest(name: str, asked: wire.Parameters, begin: int, end: int) -> bytes:
    """Of everything but the cursor itself and the number of buckets, which may change from page to page."""
    question = msgspec.structs.replace(asked, page=None, limit=None)
    return hashlib.blake2b(msgspec.json.encode((name, question, begin, end)), digest_size=8).digest()
