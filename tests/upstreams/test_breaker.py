"""The states of a breaker, and each of the ways between them."""

import pytest

from homeport.backends.upstreams.breaker import FIRST_REST, Breaker

NOW = 1000.0


def breaker(*, most: int = 3, longest: float = 60.0) -> Breaker:
    return Breaker(most=most, longest=longest)


def opened(*, longest: float = 60.0) -> Breaker:
    """At NOW."""
    made = breaker(longest=longest)
    for _ in range(3):
        made.failed(NOW)
    assert made.state(NOW) == "open"
    return made


def test_it_begins_closed() -> None:
    made = breaker()
    assert (made.state(NOW), made.wait(NOW), made.open_until) == ("closed", 0.0, None)


def test_failures_in_a_row_open_it() -> None:
    made = breaker(most=3)
    for _ in range(2):
        made.failed(NOW)
    assert (made.state(NOW), made.wait(NOW)) == ("closed", 0.0)
    made.failed(NOW)
    assert (made.state(NOW), made.wait(NOW)) == ("open", FIRST_REST)


def test_a_success_between_them_begins_the_row_anew() -> None:
    made = breaker(most=3)
    for _ in range(4):
        made.failed(NOW)
        made.failed(NOW)
        made.succeeded()
    assert made.state(NOW) == "closed"


def share_at_opening(fails: int, succeeds: int, requests: int = 1000) -> int | None:
    """After how many requests it opens, of which so many fail and so many succeed in turn."""
    made = breaker(most=1000)
    for number in range(requests):
        if number % (fails + succeeds) < fails:
            made.failed(NOW)
        else:
            made.succeeded()
        if made.open_until is not None:
            return number + 1
    return None


@pytest.mark.parametrize(("fails", "succeeds"), [(2, 1), (3, 1), (3, 2), (10, 1)])
def test_more_than_half_opens_it_though_some_succeed(fails: int, succeeds: int) -> None:
    after = share_at_opening(fails, succeeds)
    assert after is not None
    assert 10 <= after <= 60, "a few dozen"


@pytest.mark.parametrize(("fails", "succeeds"), [(1, 2), (1, 3), (2, 3), (1, 50)])
def test_less_than_half_does_not(fails: int, succeeds: int) -> None:
    assert share_at_opening(fails, succeeds) is None


def test_it_never_opens_where_the_settings_say_so() -> None:
    made = breaker(most=0)
    for _ in range(1000):
        made.failed(NOW)
    assert (made.state(NOW), made.wait(NOW)) == ("closed", 0.0)


def test_its_rest_passes_and_then_it_is_half_open() -> None:
    made = opened()
    assert made.wait(NOW + 0.4) == pytest.approx(FIRST_REST - 0.4)
    assert made.state(NOW + 0.99) == "open"
    assert (made.state(NOW + FIRST_REST), made.wait(NOW + FIRST_REST)) == ("half_open", 0.0)


def test_one_request_goes_and_no_other_one_for_another_rest() -> None:
    made = opened()
    made.asked(NOW + 5)
    assert (made.state(NOW + 5), made.wait(NOW + 5)) == ("half_open", FIRST_REST)
    assert made.wait(NOW + 5 + FIRST_REST) == 0.0, "its client may have left: the next one goes"
    made.asked(NOW + 7)
    assert made.wait(NOW + 7) == FIRST_REST


def test_half_open_a_success_closes_it_and_nothing_is_left_of_what_was() -> None:
    made = opened()
    made.asked(NOW + 1)
    made.succeeded()
    assert (made.state(NOW + 1), made.wait(NOW + 1), made.failures) == ("closed", 0.0, 0)
    made.failed(NOW + 2)
    made.failed(NOW + 2)
    assert made.state(NOW + 2) == "closed"
    made.failed(NOW + 2)
    assert made.wait(NOW + 2) == FIRST_REST, "the first rest is the first again"


def test_nor_of_the_share() -> None:
    made = breaker(most=1000)
    while made.open_until is None:
        made.failed(NOW)
    made.asked(NOW + 1)
    made.succeeded()
    for _ in range(10):
        made.failed(NOW + 2)
    assert made.state(NOW + 2) == "closed"


def test_half_open_a_failure_doubles_the_rest_up_to_the_longest() -> None:
    made = opened(longest=5.0)
    now, rests = NOW, []
    for _ in range(5):
        rests.append(made.wait(now))
        now += made.wait(now)
        made.asked(now)
        made.failed(now)
        assert made.state(now) == "open"
    assert rests == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_longest_holds_for_the_first_rest_too() -> None:
    assert opened(longest=0.25).wait(NOW) == 0.25


def test_failures_of_requests_that_went_before_it_opened_prolong_nothing() -> None:
    made = opened()
    for _ in range(100):
        made.failed(NOW + 0.5)
    assert made.open_until == NOW + FIRST_REST


def test_a_success_of_one_that_went_before_closes_it() -> None:
    """It answers, so it lives."""
    made = opened()
    made.succeeded()
    assert made.state(NOW) == "closed"


def test_asking_a_closed_one_changes_nothing() -> None:
    made = breaker()
    made.asked(NOW)
    assert (made.state(NOW), made.wait(NOW)) == ("closed", 0.0)
