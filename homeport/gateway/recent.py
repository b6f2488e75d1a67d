"""What was counted in the last minutes: the difference between what the meters say now and what they said then.

Requests cost nothing more by it. Series of before that nothing was added to are kept once, however often one looks.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from homeport import clock
from homeport.gateway.meters import FIRST_SECONDS, SECONDS, Kind, Meters
from homeport.wire.status import Figures

K = TypeVar("K", str, int)
#: The last minutes are so many seconds, and one looks so often.
SPAN, LOOK = 300.0, 10.0
_FAILED = 500


class Sum(msgspec.Struct, array_like=True):
    """Requests of a series. model: as it was asked for. provider: as in meters.Kind. seconds, first: counts by the
    buckets of meters.SECONDS and meters.FIRST_SECONDS."""

    endpoint: str
    model: str
    provider: str
    status: int
    seconds: Sequence[int]
    first: Sequence[int]

    @property
    def count(self) -> int:
        return sum(self.seconds)


class Recently(msgspec.Struct, array_like=True):
    """seconds: that it is of. refused: by limits, -> how often. outside: requests that were answered without anybody,
    status -> how many. tries: of targets that failed, provider -> how many."""

    seconds: float
    sums: Sequence[Sum]
    refused: Mapping[str, int]
    outside: Mapping[int, int]
    tries: Mapping[str, int]


class _Counts(NamedTuple):
    seconds: tuple[int, ...]
    first: tuple[int, ...]


class _Look(NamedTuple):
    at: float
    series: Mapping[Kind, _Counts]
    refused: Mapping[str, int]
    outside: Mapping[int, int]
    tries: Mapping[str, int]


class Recent:
    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._looks: deque[_Look] = deque([_Look(clock.monotonic(), {}, {}, {}, {})])

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await clock.sleep(LOOK)
            self.look()

    def look(self) -> None:
        self._looks.append(self._now())
        while len(self._looks) > 1 and self._looks[1].at <= self._looks[-1].at - SPAN:
            self._looks.popleft()

    def recently(self) -> Recently:
        """Of the last SPAN seconds, and at most LOOK more; or since the start."""
        before, now = self._looks[0], self._now()
        sums: list[Sum] = []
        for kind, counts in now.series.items():
            then = before.series.get(kind)
            seconds = _less(counts.seconds, then.seconds if then is not None else None)
            if any(seconds):
                first = _less(counts.first, then.first if then is not None else None)
                sums.append(Sum(kind.endpoint, kind.model, kind.provider, kind.status, seconds, first))
        return Recently(
            now.at - before.at,
            sums,
            _grown(now.refused, before.refused),
            _grown(now.outside, before.outside),
            _grown(now.tries, before.tries),
        )

    def _now(self) -> _Look:
        last = self._looks[-1].series if self._looks else {}
        series: dict[Kind, _Counts] = {}
        for one in self._meters.series:
            counts = _Counts(tuple(one.seconds.counts), tuple(one.first.counts))
            before = last.get(one.kind)
            series[one.kind] = before if before == counts else counts
        outside: Counter[int] = Counter()
        for request, count in self._meters.outside.items():
            outside[request.status] += count
        tries: Counter[str] = Counter()
        for tried, count in self._meters.tries.items():
            tries[tried.provider] += count
        return _Look(clock.monotonic(), series, dict(self._meters.refused), outside, tries)


def _less(now: Sequence[int], then: Sequence[int] | None) -> Sequence[int]:
    return now if then is None else [after - before for after, before in zip(now, then, strict=True)]


def _grown(now: Mapping[K, int], then: Mapping[K, int]) -> dict[K, int]:
    return {name: count - then.get(name, 0) for name, count in now.items() if count > then.get(name, 0)}


def quantile(share: float, sums: Iterable[Sequence[int]], bounds: Sequence[float]) -> float | None:
    """Seconds below which so large a share is, told apart within a bucket as if all in it were spread evenly. Above
    all bounds: the last one. None: there is nothing."""
    counts: list[int] = [sum(column) for column in zip(*sums, strict=True)]
    wanted = share * sum(counts)
    if not wanted:
        return None
    below, start = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= wanted:
            return start + (bound - start) * (wanted - below) / count
        below, start = below + count, bound
    return bounds[-1]


def figures(sums: Sequence[Sum], failed_tries: int | None) -> Figures:
    requests = sum(one.count for one in sums)
    errors = sum(one.count for one in sums if one.status >= _FAILED)
    seconds, first = [one.seconds for one in sums if one.status < _FAILED], [one.first for one in sums]
    return Figures(
        requests=requests,
        errors=errors,
        failed_tries=failed_tries,
        error_rate=errors / requests if requests else None,
        seconds_p50=quantile(0.5, seconds, SECONDS),
        seconds_p95=quantile(0.95, seconds, SECONDS),
        first_token_seconds_p50=quantile(0.5, first, FIRST_SECONDS),
    )
