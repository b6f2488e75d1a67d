"""When a target is asked again, after how long, and when not: chance and time are given, nothing waits."""

from math import inf
from typing import Any

import pytest

from homeport.errors import UpstreamFailed
from homeport.gateway.retries import FIRST_BACKOFF, FLOOR, LONGEST_BACKOFF, NEVER, WINDOW, Retries, backoff

NOW = 1000.0


def failed(again: float | None = 0.0) -> UpstreamFailed:
    """again: seconds that the upstream asks for, 0 where it does not say; None: it is never asked again."""
    error = UpstreamFailed("It failed.")
    error.again = again
    return error


def retries(*, chance: float = 1.0, **settings: Any) -> Retries:
    """After one request at NOW."""
    made = Retries(**{"most": 10, "chance": lambda: chance, **settings})
    made.count(NOW)
    return made


def wait(of: Retries, error: UpstreamFailed | None = None, tried: int = 1, **times: float) -> float | None:
    return of.wait(error or failed(), tried, **{"began": NOW, "now": NOW, "patience": inf, **times})


def test_untold_waits_grow_to_a_bound() -> None:
    """The bound, where chance takes all of it."""
    waits = [wait(retries(), tried=tried) for tried in range(1, 9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize("tried", [1, 3, 10])
@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_chance_takes_any_part_of_them(tried: int, chance: float) -> None:
    """Full jitter: those who failed together do not come back together."""
    assert wait(retries(chance=chance), tried=tried) == chance * backoff(tried, inf)


def test_backoff_is_bounded_whatever_happened_before() -> None:
    assert backoff(1, inf) == FIRST_BACKOFF
    assert backoff(10_000, inf) == LONGEST_BACKOFF
    assert backoff(10_000, 0.7) == 0.7
    assert backoff(1, 0.0) == 0.0


@pytest.mark.parametrize("told", [0.001, 1.0, 7.5])
def test_what_the_upstream_asks_for_is_waited_for(told: float) -> None:
    """Never less, and a tenth more at most."""
    assert wait(retries(chance=0.0), failed(told)) == told
    assert wait(retries(chance=1.0), failed(told)) == pytest.approx(1.1 * told)
    assert wait(retries(chance=0.0), failed(told), tried=9) == told


def test_what_it_asks_for_is_capped_by_the_settings() -> None:
    """A longer wait is none: the client is told instead of being kept."""
    assert wait(retries(longest=7.0), failed(7.0)) is not None
    assert wait(retries(longest=7.0), failed(7.001)) is None


def test_nobody_is_patient_while_another_target_is_left() -> None:
    assert wait(retries(), failed(0.2), patience=0.25) is not None
    assert wait(retries(), failed(2.0), patience=0.25) is None
    assert wait(retries(), failed(), patience=0.25) is not None, "a hiccup may be over at once"


def test_what_cannot_pass_is_not_asked_again() -> None:
    assert wait(retries(), failed(None)) is None


def test_as_often_as_the_settings_allow() -> None:
    of = retries(most=2)
    assert [wait(of, tried=tried) is not None for tried in (1, 2, 3)] == [True, True, False]
    assert wait(retries(most=0)) is None
    assert wait(NEVER) is None


def test_not_when_it_would_be_too_late() -> None:
    of = retries(within=10.0, longest=20.0)
    assert wait(of, now=NOW + 9.5) == 0.5
    assert wait(of, now=NOW + 9.6) is None
    assert wait(of, failed(9.0), now=NOW + 0.5) is None, "9 s, and a tenth by chance"


def asked_again(of: Retries, now: float) -> int:
    """How often, until the budget says no."""
    count = 0
    while wait(of, began=now, now=now) is not None:
        count += 1
        assert count < 10_000
    return count


@pytest.mark.parametrize(("requests", "again"), [(1, 10), (4, 10), (5, 11), (50, 20), (1000, 210)])
def test_a_fifth_of_the_requests_and_ten(requests: int, again: int) -> None:
    of = retries()
    of.requests = requests
    assert asked_again(of, NOW) == again


def test_retries_of_the_last_ten_seconds_count() -> None:
    of = Retries(most=10, chance=lambda: 0.0)
    for second in range(5):
        of.count(NOW + second)
        of.requests = 10
    assert asked_again(of, NOW + 4.5) == FLOOR + 10
    assert asked_again(of, NOW + 6) == 0
    assert asked_again(of, NOW + 4.99 + WINDOW) == 0, "they count for as long as the requests of their second"


@pytest.mark.parametrize(("seconds", "again"), [(0.9, FLOOR + 20), (WINDOW + 0.9, FLOOR + 20), (WINDOW + 1, FLOOR)])
def test_requests_of_the_last_ten_seconds_count(seconds: float, again: int) -> None:
    """The second in which they came ends after one."""
    of = retries(chance=0.0)
    of.requests = 100
    assert asked_again(of, NOW + seconds) == again


def test_an_outage_gets_few_more_requests_than_there_are() -> None:
    """A hundred requests a second for a minute, all of which fail: a fifth of them and a few are asked again."""
    of = Retries(most=2, chance=lambda: 0.0)
    again = 0
    for number in range(6000):
        now = NOW + number / 100
        if now < of.ends:
            of.requests += 1
        else:
            of.count(now)
        tried = 1
        while wait(of, tried=tried, began=now, now=now) is not None:
            again += 1
            tried += 1
    assert 1000 < again < 6000 * 0.2 + 12 * FLOOR


def test_what_was_refused_takes_nothing_from_the_budget() -> None:
    of = retries(most=1, longest=5.0, within=60.0)
    for _ in range(100):
        assert wait(of, failed(None)) is None
        assert wait(of, failed(6.0)) is None
        assert wait(of, tried=2) is None
        assert wait(of, began=NOW - 100, now=NOW) is None
    assert asked_again(of, NOW) == FLOOR


def test_after_a_pause_it_begins_anew() -> None:
    of = retries()
    of.requests = 10_000
    assert asked_again(of, NOW) == FLOOR + 2000
    assert asked_again(of, NOW + 3600) == FLOOR
