"""Which door a request goes through, when it waits for one, and when it is refused. Nothing is sent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from homeport.backends.capabilities import Call
from homeport.backends.upstreams.client import Client
from homeport.backends.upstreams.doors import Doors, Tried, Way
from homeport.errors import HomeportError, UpstreamFailed, UpstreamRefused
from homeport.settings import Upstream
from tests.upstreams.clocks import Stepping

FULL = {"limit": "60", "remaining": "0", "reset": "1m0s"}


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Stepping:
    made = Stepping()
    made.install(monkeypatch)
    return made


def doors(count: int = 1, **settings: Any) -> Doors:
    clients = [Client(f"http://127.0.0.{number}/v1") for number in range(1, count + 1)]
    return Doors("far", clients, Upstream(**settings))


def call(model: str = "m", *, tokens: int = 16, patience: float | None = None) -> Call:
    made = Call("chat.completions", "req_1", model, b"{}", max_tokens=tokens, model=model)
    if patience is not None:
        made.patience = patience
    return made


def ready(of: Doors, model: str = "m", **asked: Any) -> Way:
    way = of.take(call(model, **asked))
    assert way is not None
    return way


def learn(of: Doors, way: Way, **values: str) -> None:
    """Of requests: limit, remaining, reset."""
    of.learn(way, [(f"x-ratelimit-{name}-requests".encode(), value.encode()) for name, value in values.items()])


def refused(status: int, again: float | None = 0.0) -> UpstreamRefused:
    error = UpstreamRefused(status, {"message": "No.", "code": None})
    error.again = again
    return error


def unreachable() -> UpstreamFailed:
    error = UpstreamFailed("It cannot be reached.")
    error.again = 0.0
    return error


def cut() -> UpstreamFailed:
    return UpstreamFailed("It broke off.", code="upstream_cut")


def unauthorized() -> UpstreamFailed:
    return UpstreamFailed("Not with this key.", code="upstream_authentication_failed")


def fail(of: Doors, way: Way, problem: HomeportError) -> None:
    """A request of which this is the end."""
    with pytest.raises(type(problem)):
        of.another(way, call(), problem, [Tried(other, problem) for other in of._ways("m") if other is not way])


async def refusal(of: Doors, asked: Call | None = None) -> HomeportError:
    with pytest.raises(HomeportError) as caught:
        await of.turn(asked or call())
    return caught.value


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


# One door


def test_as_long_as_nothing_happens_there_is_nothing_to_think_about(time: Stepping) -> None:
    of = doors()
    way = ready(of)
    assert of.calm == {"m": way}
    fail(of, way, refused(400))
    assert of.calm == {"m": way}, "the request was at fault"
    fail(of, way, refused(500))
    assert of.calm == {}


@pytest.mark.parametrize("problem", [cut(), unreachable(), refused(500), refused(503)])
def test_failures_in_a_row_close_it_and_a_success_opens_it_again(time: Stepping, problem: HomeportError) -> None:
    async def work() -> None:
        of = doors(failures=3)
        for _ in range(3):
            fail(of, ready(of), problem)
        assert of.take(call()) is None
        error = await refusal(of)
        assert isinstance(error, UpstreamFailed)
        assert (error.status, error.code, error.again) == (503, "upstream_unavailable", None)
        assert dict(error.headers) == {"retry-after": "1", "retry-after-ms": "1000"}
        assert [state.state for state in of.states()] == ["open"]
        await time.step(1)
        assert [state.state for state in of.states()] == ["half_open"]
        probe = ready(of)
        assert of.take(call()) is None, "one goes to see"
        of.succeeded(probe)
        assert [state.state for state in of.states()] == ["closed"]
        assert ready(of) is ready(of)

    run(work)


@pytest.mark.parametrize("problem", [refused(400), refused(404), refused(429), unauthorized(), refused(429, None)])
def test_what_is_no_failure_of_the_upstream_does_not(time: Stepping, problem: HomeportError) -> None:
    of = doors(failures=3)
    for _ in range(10):
        fail(of, ready(of), problem)
    assert of.take(call()) is not None


def test_a_refusal_between_failures_shows_that_it_lives(time: Stepping) -> None:
    of = doors(failures=3)
    for problem in (cut(), cut(), refused(429), cut(), cut(), refused(400), cut(), cut()):
        fail(of, ready(of), problem)
    assert of.take(call()) is not None


def test_a_few_failures_among_many_requests_do_not_either(time: Stepping) -> None:
    """One in twenty fails, and minutes lie between them: it has nothing to do with half."""

    async def work() -> None:
        of = doors(failures=3)
        for number in range(4000):
            await time.step(5)
            way = of.calm.get("m") or of.take(call())
            assert way is not None
            assert way.breaker.open_until is None, f"left alone after {number} requests"
            if number % 20 == 0:
                fail(of, way, refused(500))
            elif way.shaken:
                of.succeeded(way)

    run(work)


def test_after_a_failure_it_is_calm_again(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        fail(of, ready(of), refused(500))
        for _ in range(100):
            await time.step(1)
            way = ready(of)
            if way.shaken:
                of.succeeded(way)
        assert of.calm == {"m": ready(of)}

    run(work)


def test_families_of_models_have_nothing_to_do_with_each_other(time: Stepping) -> None:
    of = doors(failures=1)
    fail(of, ready(of), refused(500))
    assert of.take(call("m-2024-08-06")) is None, "a snapshot is of its model's family"
    assert of.take(call("other")) is not None


# Rest


@pytest.mark.parametrize("status", [429, 503])
def test_it_is_left_alone_for_as_long_as_it_asks(time: Stepping, status: int) -> None:
    async def work() -> None:
        of = doors(wait_seconds=1.0)
        fail(of, ready(of), refused(status, again=5.0))
        error = await refusal(of)
        assert dict(error.headers)["retry-after-ms"] == "5000"
        assert [state.state for state in of.states()] == ["resting"]
        await time.step(4.5)
        turn = asyncio.ensure_future(of.turn(call()))
        await time.step(0.25)
        assert not turn.done()
        await time.step(0.25)
        assert turn.done()
        await turn

    run(work)


def test_who_is_refused_meanwhile_is_told_what_the_upstream_said(time: Stepping) -> None:
    """A rate limit is a 429; an upstream that is not available is a 503."""

    async def work() -> None:
        limited, away = doors(wait_seconds=1.0), doors(wait_seconds=1.0)
        fail(limited, ready(limited), refused(429, again=5.0))
        fail(away, ready(away), refused(503, again=5.0))
        assert isinstance(error := await refusal(limited), UpstreamRefused)
        assert (error.upstream_status, error.body["code"]) == (429, "rate_limit_exceeded")
        assert isinstance(error := await refusal(away), UpstreamFailed)
        assert error.code == "upstream_unavailable"

    run(work)


def test_it_is_not_left_alone_for_longer_than_the_settings_say(time: Stepping) -> None:
    async def work() -> None:
        of = doors(rest_seconds=60.0)
        fail(of, ready(of), refused(429, again=86_400.0))
        await time.step(59.9)
        assert of.take(call()) is None
        await time.step(0.1)
        assert of.take(call()) is not None

    run(work)


# Rate limits


def test_a_request_waits_for_room(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        learn(of, ready(of), **FULL)
        assert of.take(call()) is None
        turns = [asyncio.ensure_future(of.turn(call())) for _ in range(3)]
        went = []
        for _ in range(4):
            await time.step(1.0)
            went.append(sum(turn.done() for turn in turns))
        assert went == [1, 2, 3, 3], "one a second, in the order of arrival"
        assert all(turn.done() for turn in turns)

    run(work)


def test_who_would_wait_for_too_long_is_refused_at_once(time: Stepping) -> None:
    async def work() -> None:
        of = doors(wait_seconds=2.0)
        learn(of, ready(of), **FULL)
        turns = [asyncio.ensure_future(of.turn(call())) for _ in range(2)]
        await time.step()
        error = await refusal(of)
        assert isinstance(error, UpstreamRefused)
        assert (error.upstream_status, error.body["type"], error.body["code"]) == (
            429,
            "requests",
            "rate_limit_exceeded",
        )
        assert "Please try again in 3.000s" in error.message
        assert dict(error.headers) == {"retry-after": "3", "retry-after-ms": "3000"}
        await time.step(2)
        await asyncio.gather(*turns)

    run(work)


def test_tokens_are_waited_for_as_well(time: Stepping) -> None:
    async def work() -> None:
        of = doors(wait_seconds=1.0)
        told = {"limit-tokens": "6000", "remaining-tokens": "100", "reset-tokens": "59s"}
        of.learn(ready(of), [(b"x-ratelimit-" + name.encode(), value.encode()) for name, value in told.items()])
        assert of.take(call(tokens=400)) is None
        assert of.take(call(tokens=100)) is not None
        error = await refusal(of, call(tokens=200))
        assert isinstance(error, UpstreamRefused)
        assert error.body["type"] == "tokens"

    run(work)


def test_only_so_many_wait(time: Stepping) -> None:
    async def work() -> None:
        of = doors(queue=2)
        learn(of, ready(of), **FULL)
        turns = [asyncio.ensure_future(of.turn(call())) for _ in range(2)]
        await time.step()
        assert isinstance(await refusal(of), UpstreamRefused)
        await time.step(2)
        await asyncio.gather(*turns)

    run(work)


def test_who_leaves_gives_back_what_it_waited_for(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        learn(of, ready(of), **FULL)
        first, second = (asyncio.ensure_future(of.turn(call())) for _ in range(2))
        await time.step()
        first.cancel()
        await time.step(0.5)
        third = asyncio.ensure_future(of.turn(call()))
        await time.step(1.5)
        assert second.done()
        assert third.done(), "it has the place of the one who left"
        await asyncio.gather(second, third)

    run(work)


# Lines of batches


def line(**asked: Any) -> Call:
    made = call(**asked)
    made.background = True
    return made


def test_a_line_leaves_an_eighth_of_a_rate_limit_to_others(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        way = ready(of)
        learn(of, way, limit="80", remaining="12", reset="51s")
        assert of.take(line()) is way
        assert of.take(line()) is way
        assert of.take(line()) is None
        assert of.take(call()) is way, "the last ten are theirs"
        tokens = {"limit-tokens": "8000", "remaining-tokens": "1100", "reset-tokens": "51.75s"}
        learn(of, way, limit="80", remaining="80", reset="0s")
        of.learn(way, [(b"x-ratelimit-" + name.encode(), value.encode()) for name, value in tokens.items()])
        assert of.take(line(tokens=200)) is None
        assert of.take(line(tokens=100)) is way
        assert of.take(call(tokens=1000)) is way

    run(work)


def test_who_comes_later_goes_before_the_lines_that_wait(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        learn(of, ready(of), **FULL)
        lines = [asyncio.ensure_future(of.turn(line())) for _ in range(9)]
        await time.step(0.5)
        turns = [asyncio.ensure_future(of.turn(call())) for _ in range(2)]
        await time.step(1.5)
        assert [turn.done() for turn in turns] == [True, True], "as if there were no lines"
        assert not any(one.done() for one in lines)
        await time.step(60)
        assert 0 < sum(one.done() for one in lines)
        await time.step(60)
        await asyncio.gather(*turns, *lines)

    run(work)


def test_lines_wait_however_many_they_are_and_however_long_it_takes(time: Stepping) -> None:
    async def work() -> None:
        of = doors(queue=2, wait_seconds=1.0, rest_seconds=600.0)
        learn(of, ready(of), limit="600", remaining="0", reset="10m")
        lines = [asyncio.ensure_future(of.turn(line())) for _ in range(50)]
        await time.step(60)
        assert not any(one.done() for one in lines)
        turn = asyncio.ensure_future(of.turn(call()))
        await time.step(1)
        await turn
        await time.step(120)
        await asyncio.gather(*lines)

    run(work)


def test_lines_wait_while_an_upstream_is_left_alone_and_one_goes_to_see(time: Stepping) -> None:
    async def work() -> None:
        of = doors(failures=1)
        fail(of, ready(of), refused(500))
        lines = [asyncio.ensure_future(of.turn(line())) for _ in range(5)]
        await time.step(0.9)
        assert not any(one.done() for one in lines)
        await time.step(0.2)
        assert sum(one.done() for one in lines) == 1
        of.succeeded(next(one for one in lines if one.done()).result())
        await time.step(1)
        await asyncio.gather(*lines)

    run(work)


def test_a_line_does_not_wait_where_another_target_is_left(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        learn(of, ready(of), **FULL)
        error = await refusal(of, line(patience=0.25))
        assert isinstance(error, UpstreamRefused)
        assert error.upstream_status == 429
        left_alone = doors(failures=1)
        fail(left_alone, ready(left_alone), refused(500))
        assert isinstance(await refusal(left_alone, line(patience=0.25)), UpstreamFailed)

    run(work)


def test_who_waits_has_its_place_whatever_the_upstream_says_meanwhile(time: Stepping) -> None:
    """It does not know yet of those who wait."""

    async def work() -> None:
        of = doors()
        way = ready(of)
        learn(of, way, **FULL)
        turns = [asyncio.ensure_future(of.turn(call())) for _ in range(2)]
        await time.step(0.5)
        learn(of, way, limit="60", remaining="0", reset="60s")
        third = asyncio.ensure_future(of.turn(call()))
        await time.step(2.75)
        assert [turn.done() for turn in (*turns, third)] == [True, True, False]
        await time.step(0.25)
        assert third.done()
        await asyncio.gather(*turns, third)
        learn(of, way, limit="60", remaining="1", reset="59s")
        assert of.take(call()) is not None, "nobody waits any more"
        assert of.take(call()) is None

    run(work)


def test_who_waits_and_finds_it_failing_is_told(time: Stepping) -> None:
    async def work() -> None:
        of = doors(failures=1)
        way = ready(of)
        learn(of, way, **FULL)
        turn = asyncio.ensure_future(of.turn(call()))
        await time.step(0.5)
        fail(of, way, refused(500))
        await time.step(0.5)
        with pytest.raises(UpstreamFailed):
            await turn

    run(work)


def test_nobody_waits_while_another_target_is_left(time: Stepping) -> None:
    async def work() -> None:
        of = doors()
        learn(of, ready(of), **FULL)
        assert isinstance(await refusal(of, call(patience=0.25)), UpstreamRefused)

    run(work)


@pytest.mark.parametrize("reset", ["23h59m0s", "1795867200", "999999999h"])
def test_a_limit_is_believed_for_as_long_as_the_settings_say(time: Stepping, reset: str) -> None:
    """A limit of the day may have been raised since; a moment in 2026 is no duration."""

    async def work() -> None:
        of = doors(rest_seconds=60.0)
        learn(of, ready(of), remaining="0", reset=reset)
        error = await refusal(of)
        assert float(dict(error.headers)["retry-after"]) <= 60
        await time.step(59)
        assert of.take(call()) is None
        await time.step(1)
        assert of.take(call()) is not None

    run(work)


# Several doors


def test_equals_take_turns(time: Stepping) -> None:
    of = doors(3)
    assert [ready(of).door.number for _ in range(6)] == [1, 2, 3, 1, 2, 3]


def test_the_one_with_the_most_room_is_taken(time: Stepping) -> None:
    of = doors(3)
    for way, remaining in zip(of._ways("m"), ("10", "50", "30"), strict=True):
        learn(of, way, limit="60", remaining=remaining, reset="60s")
    taken = [ready(of).door.number for _ in range(60)]
    assert taken[:10] == [2] * 10
    assert (taken.count(1), taken.count(2), taken.count(3)) == pytest.approx((2, 38, 20), abs=4)


def test_one_without_room_is_not_taken(time: Stepping) -> None:
    of = doors(2)
    learn(of, of._ways("m")[0], **FULL)
    assert [ready(of).door.number for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(
    "problem", [refused(429), refused(429, 30.0), refused(429, None), unauthorized(), unreachable()]
)
def test_another_is_asked_at_once_where_nothing_was_done(time: Stepping, problem: HomeportError) -> None:
    of = doors(2)
    tried: list[Tried] = []
    first = ready(of)
    assert of.another(first, call(), problem, tried).door.number == 2
    assert tried == [(first, problem)]
    assert [ready(of).door.number for _ in range(3)] == [2, 2, 2], "the first is avoided"


@pytest.mark.parametrize("problem", [refused(400), refused(500), cut()])
def test_and_not_where_something_may_have_been(time: Stepping, problem: HomeportError) -> None:
    of = doors(2)
    with pytest.raises(type(problem)):
        of.another(ready(of), call(), problem, [])


def test_each_is_asked_once(time: Stepping) -> None:
    of = doors(3)
    tried: list[Tried] = []
    way = ready(of)
    for _ in range(2):
        way = of.another(way, call(), refused(429), tried)
    assert {way.door.number, *(one.way.door.number for one in tried)} == {1, 2, 3}
    with pytest.raises(UpstreamRefused):
        of.another(way, call(), refused(429), tried)


@pytest.mark.parametrize(
    ("problems", "told"),
    [
        ([refused(429, 30.0), refused(429, 2.0), refused(429, 60.0)], 1),
        ([refused(429, 2.0), refused(429, None), unauthorized()], 0),
        ([unauthorized(), refused(429, 2.0), unreachable()], 2),
        ([unauthorized(), refused(429, None), refused(429, None)], 2),
        ([refused(429, 2.0), refused(429, 60.0), refused(400)], 2),
    ],
)
def test_when_all_refuse_the_one_that_will_be_over_first_is_told(
    time: Stepping, problems: list[HomeportError], told: int
) -> None:
    """And a word on the request itself, whoever says it."""
    of = doors(3)
    tried: list[Tried] = []
    way = of.another(ready(of), call(), problems[0], tried)
    way = of.another(way, call(), problems[1], tried)
    with pytest.raises(HomeportError) as caught:
        of.another(way, call(), problems[2], tried)
    assert caught.value is problems[told]


def test_a_refused_key_is_tried_again_later(time: Stepping) -> None:
    async def work() -> None:
        of = doors(2, rest_seconds=60.0)
        fail(of, ready(of), unauthorized())
        assert {state.door: state.state for state in of.states()} == {1: "refused", 2: "closed"}
        await time.step(59)
        assert [ready(of).door.number for _ in range(3)] == [2, 2, 2]
        await time.step(1)
        assert 1 in [ready(of).door.number for _ in range(2)]

    run(work)


def test_a_key_without_quota_too(time: Stepping) -> None:
    async def work() -> None:
        of = doors(2, rest_seconds=60.0)
        fail(of, ready(of), refused(429, None))
        await time.step(59)
        assert [ready(of).door.number for _ in range(3)] == [2, 2, 2]
        await time.step(1)
        assert 1 in [ready(of).door.number for _ in range(2)]

    run(work)


def test_a_door_that_is_due_is_tried_first_and_its_failure_costs_nobody(time: Stepping) -> None:
    async def work() -> None:
        of = doors(2, failures=1)
        fail(of, ready(of), refused(500))
        await time.step(1)
        probe = ready(of)
        assert probe.door.number == 1, "though the second was never asked"
        assert of.another(probe, call(), refused(500), []).door.number == 2
        await time.step(1.5)
        assert ready(of).door.number == 2, "its rest is two seconds now"

    run(work)
