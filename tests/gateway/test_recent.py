"""What was counted in the last minutes: by what the meters said then, on a clock of ours."""

from collections import Counter
from typing import Any

import pytest

from homeport import clock
from homeport.gateway.meters import SECONDS, Kind, Meters, Outside, Series, Tries
from homeport.gateway.recent import LOOK, SPAN, Recent, figures, quantile


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: at[0])
    return at


def answered(meters: Meters, seconds: float, status: int = 200, provider: str = "far") -> None:
    kind = Kind("chat.completions", "chat", "m", provider, status, False)
    meters._series.setdefault(kind, Series(kind)).seconds.observe(seconds)


def pass_time(now: list[float], looking: Recent, seconds: float) -> None:
    for _ in range(round(seconds / LOOK)):
        now[0] += LOOK
        looking.look()


def test_what_is_older_than_the_span_is_forgotten(now: list[float]) -> None:
    meters = Meters(["m"])
    looking = Recent(meters)
    answered(meters, 0.1)
    assert [one.count for one in looking.recently().sums] == [1]
    pass_time(now, looking, 100)
    answered(meters, 0.1)
    answered(meters, 0.1, status=502)
    found = looking.recently()
    assert found.seconds == 100
    assert Counter({one.status: one.count for one in found.sums}) == {200: 2, 502: 1}
    pass_time(now, looking, SPAN - 50)
    assert {one.status: one.count for one in looking.recently().sums} == {200: 1, 502: 1}
    assert looking.recently().seconds == SPAN
    pass_time(now, looking, 100)
    assert looking.recently().sums == []


def test_looks_of_a_day_are_not_kept(now: list[float]) -> None:
    looking = Recent(Meters([]))
    pass_time(now, looking, 86_400)
    assert len(looking._looks) <= SPAN / LOOK + 2


def test_tries_and_refusals_and_who_was_answered_by_nobody(now: list[float]) -> None:
    meters = Meters([])
    looking = Recent(meters)
    meters.tries[Tries("far", 503, "retry")] += 2
    meters.tries[Tries("far", 502, "none")] += 1
    meters.refused["tokens"] += 4
    meters.outside[Outside("", "", 404)] += 5
    found = looking.recently()
    assert (found.tries, found.refused, found.outside) == ({"far": 3}, {"tokens": 4}, {404: 5})
    pass_time(now, looking, SPAN + LOOK)
    found = looking.recently()
    assert (found.tries, found.refused, found.outside) == ({}, {}, {})


@pytest.mark.parametrize(
    ("share", "counts", "seconds"),
    [
        (0.5, [], None),
        (0.5, [[0, 0, 0]], None),
        (0.5, [[2, 0, 0]], 0.5),
        (0.5, [[1, 1, 0]], 1.0),
        (0.75, [[1, 1, 0], [1, 1, 0]], 2.0),
        (0.95, [[0, 0, 3]], 3.0),
    ],
)
def test_quantiles(share: float, counts: Any, seconds: float | None) -> None:
    """Two buckets, to 1 s and to 3 s, and one for what is longer."""
    assert quantile(share, counts, (1.0, 3.0)) == seconds


def test_figures_leave_failures_out_of_how_long_it_takes(now: list[float]) -> None:
    meters = Meters(["m"])
    looking = Recent(meters)
    for seconds, status in ((0.015, 200), (0.015, 200), (0.015, 404), (50.0, 500)):
        answered(meters, seconds, status)
    shown = figures(looking.recently().sums, 7)
    assert (shown.requests, shown.errors, shown.failed_tries, shown.error_rate) == (4, 1, 7, 0.25)
    assert shown.seconds_p95 is not None
    assert SECONDS[0] < shown.seconds_p95 <= SECONDS[1]
    assert shown.first_token_seconds_p50 is None
    assert figures([], None).error_rate is None
