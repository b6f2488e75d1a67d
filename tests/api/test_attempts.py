"""What a Homeport does about an upstream that fails: asks again, asks another, waits, or says so. By the official SDK.

The clock stands still, and whoever waits for an upstream is there at once: `time.waits` says for how long it was.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import clock
from homeport.backends.upstreams import doors
from homeport.gateway import attempts, ledger
from homeport.settings import DEFAULT_BASE_URL
from tests.api import raw
from tests.fake_upstream import (
    TEXT,
    Behaviour,
    FakeUpstream,
    Visit,
    answer_well,
    dead_port,
    fake_upstream,
    plain_answer,
    until,
    whole,
)
from tests.upstreams import faults
from tests.upstreams.clocks import Skipping
from tests.upstreams.homeports import Relay, relaying

HELLO: Any = [{"role": "user", "content": "a secret of the client"}]
#: The settings of an upstream as they are by default.
DEFAULT: Any = {"retries": 2, "failures": 5, "rest_seconds": 60.0}
#: And with `base_urls`.
SEVERAL: Any = {**DEFAULT, "base_url": DEFAULT_BASE_URL}
PLAIN_AND_STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture(scope="module")
def installed() -> Iterator[Skipping]:
    with pytest.MonkeyPatch.context() as patch:
        made = Skipping()
        made.install(patch)
        yield made


@pytest.fixture
def time(installed: Skipping) -> Skipping:
    """Long after the test before."""
    installed.at += 1000
    installed.waits.clear()
    return installed


@pytest.fixture(scope="module")
def running(installed: Skipping, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("attempts"), **DEFAULT) as made:
        yield made


@pytest.fixture
def relay(running: Relay, time: Skipping) -> Relay:
    """As if nothing had happened before."""
    for past in (running.fake.script, running.fake.by_model):
        past.clear()
    ask(running)
    running.fake.received.clear()
    return running


def ask(relay: Relay, model: str = "m", *, stream: bool = False, **more: Any) -> str:
    """The text of the answer, and of nothing less than all of it."""
    with relay.client() as client:
        if not stream:
            answer = client.chat.completions.create(model=model, messages=HELLO, **more)
            assert answer.choices[0].finish_reason == "stop"
            return answer.choices[0].message.content or ""
        chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True, **more))
        assert chunks[-1].choices[0].finish_reason == "stop"
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def refusal(relay: Relay, model: str = "m", *, stream: bool = False, **more: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(relay, model, stream=stream, **more)
    return caught.value


def wait_of(error: openai.APIStatusError) -> str | None:
    return error.response.headers.get("retry-after")


# The same again


@PLAIN_AND_STREAM
@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_asked_again(relay: Relay, time: Skipping, code: int, stream: bool) -> None:
    relay.fake.script.extend([faults.status(code), faults.status(code)])
    assert ask(relay, stream=stream) == TEXT
    assert len(relay.fake.received) == 3
    first, second = time.waits
    assert 0 <= first <= 0.5
    assert 0 <= second <= 1.0
    bodies = {visit.body for visit in relay.fake.received}
    assert len(bodies) == 1, "the same request"


@PLAIN_AND_STREAM
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "9", "retry_after_ms": "1"}, 0.001),
    ],
)
def test_retry_after_is_waited_for(
    relay: Relay, time: Skipping, headers: dict[str, str], seconds: float, code: int, stream: bool
) -> None:
    relay.fake.script.append(faults.status(code, **headers))
    assert ask(relay, stream=stream) == TEXT
    (waited,) = time.waits
    assert seconds <= waited <= 1.1 * seconds


def test_retry_after_may_be_a_date(relay: Relay, time: Skipping) -> None:
    relay.fake.script.append(lambda visit: faults.status(429, retry_after=formatdate(clock.now() + 6))(visit))
    assert ask(relay) == TEXT
    (waited,) = time.waits
    assert 0 < waited <= 6.6


@PLAIN_AND_STREAM
@pytest.mark.parametrize("asked", ["11", "3600", formatdate(4_000_000_000)])
def test_a_longer_one_than_the_settings_allow_is_the_clients(
    relay: Relay, time: Skipping, asked: str, stream: bool
) -> None:
    relay.fake.script.append(faults.status(429, retry_after=asked))
    error = refusal(relay, stream=stream)
    assert (error.status_code, wait_of(error), error.code) == (429, asked, "its_code")
    assert (len(relay.fake.received), time.waits) == (1, [])


@PLAIN_AND_STREAM
def test_when_it_does_not_pass_the_last_refusal_is_told(relay: Relay, time: Skipping, stream: bool) -> None:
    relay.fake.script.extend([faults.status(500), faults.html(502), faults.status(503)])
    error = refusal(relay, stream=stream)
    assert (error.status_code, error.code) == (503, "its_code")
    assert (len(relay.fake.received), len(time.waits)) == (3, 2)


@PLAIN_AND_STREAM
@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 415, 422, 501])
def test_what_does_not_pass_is_asked_once(relay: Relay, time: Skipping, code: int, stream: bool) -> None:
    relay.fake.script.append(faults.status(code, retry_after="1"))
    refusal(relay, stream=stream)
    assert (len(relay.fake.received), time.waits) == (1, [])


@pytest.mark.parametrize("name", ["cut-error", "endless-error"])
def test_a_refusal_that_cannot_be_read_whole_is_one_by_its_status(relay: Relay, time: Skipping, name: str) -> None:
    relay.fake.script.append(faults.EARLY[name].behaviour)
    assert ask(relay) == TEXT
    assert len(relay.fake.received) == 2


def test_a_quota_that_is_used_up_does_not_pass(relay: Relay, time: Skipping) -> None:
    relay.fake.script.append(faults.status(429, {**faults.ERROR, "code": "insufficient_quota"}))
    assert refusal(relay).code == "insufficient_quota"
    assert len(relay.fake.received) == 1


@pytest.mark.parametrize(("code", "wish", "asked"), [(500, "false", 1), (429, "false", 1), (400, "true", 2)])
def test_the_upstream_knows_whether_it_passes(relay: Relay, code: int, wish: str, asked: int) -> None:
    relay.fake.script.append(faults.status(code, x_should_retry=wish))
    if asked == 1:
        assert refusal(relay).response.headers["x-should-retry"] == wish
    else:
        assert ask(relay) == TEXT
    assert len(relay.fake.received) == asked


def test_an_error_instead_of_a_first_event_may_pass(relay: Relay, time: Skipping) -> None:
    """As vLLM and others have it, with the status 200."""
    relay.fake.script.append(faults.STREAM_EARLY["error-first"].behaviour)
    assert ask(relay, stream=True) == TEXT
    relay.fake.script.append(faults.STREAM_EARLY["error-with-status"].behaviour)
    assert refusal(relay, stream=True).status_code == 400
    assert (len(relay.fake.received), len(time.waits)) == (3, 1)


@PLAIN_AND_STREAM
def test_no_connection_is_tried_again(time: Skipping, tmp_path: Path, stream: bool) -> None:
    with relaying(tmp_path, base_url=f"http://127.0.0.1:{dead_port()}/v1", **DEFAULT) as relay:
        error = refusal(relay, stream=stream)
        assert (error.status_code, error.code) == (503, "upstream_unavailable")
        assert len(time.waits) == 2


@pytest.mark.parametrize("name", list(faults.STREAM_LATE))
def test_after_the_first_event_of_a_stream_nothing_is_asked_again(relay: Relay, time: Skipping, name: str) -> None:
    behaviour = faults.STREAM_LATE[name].behaviour
    if name == "quiet-stream":
        behaviour = faults.reset_after(faults.begun)  # this test has the patience of the settings
    relay.fake.script.append(behaviour)
    with pytest.raises(openai.APIError):
        ask(relay, name, stream=True)
    assert (len(relay.fake.received), time.waits) == (1, [])
    (row,) = relay.rows(name)
    assert row["outcome"] == "failed"


@pytest.mark.parametrize("name", ["half", "reset-half", "torn-json", "bad-chunk"])
def test_nor_after_the_first_byte_of_a_plain_answer(relay: Relay, time: Skipping, name: str) -> None:
    relay.fake.script.append(faults.PLAIN[name].behaviour)
    assert refusal(relay).status_code == 503
    assert (len(relay.fake.received), time.waits) == (1, [])


UNANSWERED = {"silence": "upstream_timeout", "hang-up": "upstream_cut", "reset": "upstream_cut"}


@PLAIN_AND_STREAM
@pytest.mark.parametrize("name", list(UNANSWERED))
def test_a_request_without_an_answer_may_have_been_done(
    time: Skipping, tmp_path: Path, name: str, stream: bool
) -> None:
    with relaying(tmp_path, first_byte_seconds=0.2, **DEFAULT) as relay:
        relay.fake.script.append(faults.EARLY[name].behaviour)
        assert refusal(relay, stream=stream).code == UNANSWERED[name]
        assert (len(relay.fake.received), time.waits) == (1, [])


@PLAIN_AND_STREAM
@pytest.mark.parametrize("name", list(UNANSWERED))
def test_and_is_asked_again_where_the_settings_say_so(time: Skipping, tmp_path: Path, name: str, stream: bool) -> None:
    with relaying(tmp_path, first_byte_seconds=0.2, retry_unanswered=True, **DEFAULT) as relay:
        relay.fake.script.append(faults.EARLY[name].behaviour)
        assert ask(relay, stream=stream) == TEXT
        relay.fake.script.append(faults.PLAIN["half"].behaviour)
        assert refusal(relay).code == "upstream_cut", "of this one an answer has begun"
        assert len(relay.fake.received) == 3


def test_in_an_outage_a_fifth_and_ten_are_asked_again(time: Skipping, tmp_path: Path) -> None:
    with relaying(tmp_path, **{**DEFAULT, "failures": 0}) as relay:
        relay.fake.by_model["m"] = faults.status(500)
        for _ in range(30):
            refusal(relay)
        assert len(relay.fake.received) - 30 <= 10 + 30 // 5
        assert len(relay.fake.received) > 30 + 10


def test_a_client_that_leaves_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one really waits."""
    for module in (attempts, doors, ledger):
        monkeypatch.setattr(module, "clock", clock)
    with relaying(tmp_path, **DEFAULT) as relay:
        relay.fake.by_model["m"] = faults.status(429, retry_after="9")
        with raw.connect(relay.homeport) as connection:
            connection.sendall(raw.request_bytes({"model": "m", "messages": HELLO}))
            assert until(lambda: len(relay.fake.received) == 1)
        (row,) = relay.rows("m")
        assert (row["outcome"], row["status"]) == ("left", 499)
        assert len(relay.fake.received) == 1


def test_nothing_that_was_said_is_in_the_log(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "homeport"):
        relay.fake.script.extend([faults.status(500), faults.status(429)])
        ask(relay)
        relay.fake.by_model["m"] = faults.status(500)
        for _ in range(3):
            refusal(relay)
    assert "try 1 at far: status 500, again in" in caplog.text
    assert "far, door 1: left alone for 1 s: status 500" in caplog.text
    for secret in ("a secret of the client", "The words of the upstream.", "sk-"):
        assert secret not in caplog.text


# One request, however often it is asked


def priced(relay: Relay, count: int) -> list[dict[str, Any]]:
    rows = relay.rows("m", count)
    assert len(rows) == count
    return rows


@PLAIN_AND_STREAM
def test_it_is_charged_once(time: Skipping, tmp_path: Path, stream: bool) -> None:
    settings = {"prices": {"m": {"input": "2", "cached_input": "0.5", "output": "8"}}}
    with relaying(tmp_path, settings, **DEFAULT) as relay:
        relay.fake.script.extend([faults.status(500), faults.status(429, retry_after="1")])
        ask(relay, stream=stream)
        (row,) = priced(relay, 1)
        assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("completed", 11, 7)
        receipt = raw.ask(relay.homeport, "GET", f"/v1/homeport/receipts/{row['request_id']}").json
        assert receipt["total"] == "0.0000735"
        relay.fake.by_model["m"] = faults.status(500)
        refusal(relay, stream=stream)
        *_, failed = priced(relay, 2)
        assert (failed["outcome"], failed["cost_pico"], failed["prompt_tokens"]) == ("failed", 0, 0)


def test_it_is_one_request_of_the_clients_limits(time: Skipping, tmp_path: Path) -> None:
    with relaying(tmp_path, {"tiers": {"home": {"default": {"max_requests_per_1_day": 10}}}}, **DEFAULT) as relay:

        def left() -> int:
            with relay.client() as client:
                answer = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
            return int(answer.headers["x-ratelimit-remaining-requests"])

        assert left() == 9
        relay.fake.script.extend([faults.status(500), faults.status(503)])
        assert left() == 8
        assert len(relay.fake.received) == 4


# Another target


@contextmanager
def two(folder: Path, settings: dict[str, Any], *, beside: Any = DEFAULT) -> Iterator[tuple[Relay, FakeUpstream]]:
    """An upstream beside `far`: `near`, which answers to `n`."""
    with fake_upstream() as near:
        upstreams = {"near": {"base_url": near.base_url, "models": ["n"], **beside}}
        with relaying(folder, {**settings, "upstreams": upstreams}, **DEFAULT) as relay:
            yield relay, near


def models(fake: FakeUpstream) -> list[str]:
    return [visit.json["model"] for visit in fake.received]


ALIAS = {"aliases": {"best": ["m", "n", "echo"]}}


@PLAIN_AND_STREAM
def test_the_names_of_an_alias_are_asked_in_order(time: Skipping, tmp_path: Path, stream: bool) -> None:
    with two(tmp_path, ALIAS) as (relay, near):
        assert ask(relay, "best", stream=stream) == TEXT
        relay.fake.by_model["m"] = faults.status(500)
        assert ask(relay, "best", stream=stream) == TEXT
        near.by_model["n"] = faults.status(503)
        assert ask(relay, "best", stream=stream) == HELLO[0]["content"]
        assert models(near) == ["n"] * (1 + 3)
        assert models(relay.fake) == ["m"] * (1 + 3 + 2), "as often as it is set, until it is left alone"
        rows = relay.rows("best", 3)
        assert [(row["backend"], row["outcome"]) for row in rows] == [
            ("far", "completed"),
            ("near", "completed"),
            ("local", "completed"),
        ]


def test_whoever_asks_for_patience_is_not_waited_for_while_another_is_left(time: Skipping, tmp_path: Path) -> None:
    with two(tmp_path, ALIAS) as (relay, near):
        relay.fake.by_model["m"] = faults.status(429, retry_after="2")
        assert ask(relay, "best") == TEXT
        assert (len(relay.fake.received), len(near.received), time.waits) == (1, 1, [])
        assert ask(relay, "best") == TEXT
        assert (len(relay.fake.received), len(near.received)) == (1, 2), "it is left alone as it has asked"


def test_of_all_refusals_the_most_telling_is_told(time: Skipping, tmp_path: Path) -> None:
    settings = {"aliases": {"best": ["m", "n"]}}
    dead = {**DEFAULT, "base_url": f"http://127.0.0.1:{dead_port()}/v1"}
    with two(tmp_path, settings, beside=dead) as (relay, _):
        relay.fake.by_model["m"] = faults.status(429, retry_after="5")
        error = refusal(relay, "best")
        assert (error.status_code, error.code, wait_of(error)) == (429, "its_code", "5")
        (row,) = relay.rows("best")
        assert (row["backend"], row["status"]) == ("far", 429)


def test_the_targets_of_a_route_stand_in_for_each_other(time: Skipping, tmp_path: Path) -> None:
    targets = [
        {"model": "echo"},
        {"upstream": "far", "model": "m", "weight": 1},
        {"upstream": "near", "model": "other", "weight": 0},
    ]
    with two(tmp_path, {"routes": {"r": {"targets": targets}}}) as (relay, near):
        assert ask(relay, "r") == TEXT
        assert (models(relay.fake), models(near)) == (["m"], [])
        relay.fake.by_model["m"] = faults.status(400)
        assert refusal(relay, "r").status_code == 400
        relay.fake.by_model["m"] = faults.status(503)
        assert ask(relay, "r") == HELLO[0]["content"], "the first without a weight"
        assert models(near) == []


def test_a_route_is_shared_by_weight(time: Skipping, tmp_path: Path) -> None:
    """Forty requests, of which each of two gets some: one in 10^11 times this fails by chance."""
    targets = [{"upstream": "far", "weight": 1}, {"upstream": "near", "weight": 1}]
    with two(tmp_path, {"routes": {"r": {"targets": targets}}}) as (relay, near):
        for _ in range(40):
            ask(relay, "r")
        assert set(models(relay.fake)) == set(models(near)) == {"r"}, "its own name is the default"
        assert len(relay.fake.received) + len(near.received) == 40


# Several keys and addresses


def key_of(visit: Visit) -> str:
    return visit.headers["authorization"].removeprefix("Bearer ")


def by_key(behaviours: dict[str, Behaviour]) -> Behaviour:
    return lambda visit: behaviours.get(key_of(visit), answer_well)(visit)


def with_limits(remaining: Callable[[Visit], int], *, limit: int = 10, reset: str = "10s") -> Behaviour:
    def answer(visit: Visit) -> None:
        visit.send(
            whole(
                plain_answer(visit),
                x_ratelimit_limit_requests=str(limit),
                x_ratelimit_remaining_requests=str(remaining(visit)),
                x_ratelimit_reset_requests=reset,
            )
        )

    return answer


@pytest.fixture
def pool(time: Skipping, tmp_path: Path) -> Iterator[Relay]:
    """Three keys, used as one."""
    with relaying(tmp_path, api_key="sk-1", api_keys=["sk-2", "sk-3"], **DEFAULT) as made:
        yield made


def keys(relay: Relay) -> list[str]:
    return [key_of(visit) for visit in relay.fake.received]


def test_keys_take_turns(pool: Relay) -> None:
    for _ in range(6):
        ask(pool)
    assert keys(pool) == ["sk-1", "sk-2", "sk-3"] * 2


@PLAIN_AND_STREAM
@pytest.mark.parametrize("code", [401, 403, 429])
def test_what_one_key_may_not_another_may(pool: Relay, time: Skipping, code: int, stream: bool) -> None:
    pool.fake.by_model["m"] = by_key({"sk-1": faults.status(code, retry_after="30")})
    assert [ask(pool, stream=stream) for _ in range(5)] == [TEXT] * 5
    assert keys(pool)[:2] == ["sk-1", "sk-2"]
    assert keys(pool).count("sk-1") == 1, "it is left alone"
    assert time.waits == []
    assert len(pool.rows("m", 5)) == 5


def test_a_refused_key_is_for_the_operator(pool: Relay, caplog: pytest.LogCaptureFixture) -> None:
    pool.fake.by_model["m"] = by_key({"sk-1": faults.status(401)})
    with caplog.at_level(logging.INFO, "homeport"):
        for _ in range(4):
            ask(pool)
    assert caplog.text.count("does not accept credential 1 of 3") == 1
    assert "sk-" not in caplog.text


def test_when_none_may_it_is_said(pool: Relay, time: Skipping) -> None:
    pool.fake.by_model["m"] = faults.status(401)
    error = refusal(pool)
    assert (error.status_code, error.code) == (503, "upstream_authentication_failed")
    assert "upstreams.far.api_key" in error.message
    assert sorted(keys(pool)) == ["sk-1", "sk-2", "sk-3"]
    assert time.waits == []


def test_when_all_are_limited_the_shortest_wait_is_waited(pool: Relay, time: Skipping) -> None:
    limits = {key: faults.status(429, retry_after=seconds) for key, seconds in {"sk-1": "8", "sk-2": "3"}.items()}
    pool.fake.by_model["m"] = by_key({**limits, "sk-3": faults.status(429, retry_after="60")})
    assert wait_of(refusal(pool)) == "3"
    assert keys(pool) == ["sk-1", "sk-2", "sk-3", "sk-2", "sk-2"]
    assert all(3 <= waited <= 3.3 for waited in time.waits)


def test_the_key_with_the_most_room_is_used(pool: Relay) -> None:
    left = {"sk-1": 10, "sk-2": 30, "sk-3": 20}

    def remaining(visit: Visit) -> int:
        left[key_of(visit)] -= 1
        return left[key_of(visit)]

    pool.fake.by_model["m"] = with_limits(remaining, limit=30, reset="24h")
    for _ in range(40):
        ask(pool)
    assert max(left.values()) - min(left.values()) <= 4, "as much of each is left, to a tenth of its limit"
    assert sum(left.values()) == 20


def test_addresses_are_one_as_well(time: Skipping, tmp_path: Path) -> None:
    with fake_upstream() as first, fake_upstream() as second:
        urls = [first.base_url, second.base_url, f"http://127.0.0.1:{dead_port()}/v1"]
        with relaying(tmp_path, base_urls=urls, api_key="sk-1", **SEVERAL) as relay:
            assert [ask(relay) for _ in range(9)] == [TEXT] * 9
            assert (len(first.received), len(second.received)) in ((4, 5), (5, 4))
            assert time.waits == [], "nothing was sent to the dead one, so another is asked at once"


def test_each_address_may_have_a_key(time: Skipping, tmp_path: Path) -> None:
    with fake_upstream() as first, fake_upstream() as second:
        urls = [first.base_url, second.base_url]
        with relaying(tmp_path, base_urls=urls, api_keys=["sk-1", "sk-2"], api_key=None, **SEVERAL) as relay:
            for _ in range(4):
                ask(relay)
            assert {key_of(visit) for visit in first.received} == {"sk-1"}
            assert {key_of(visit) for visit in second.received} == {"sk-2"}


# An upstream that keeps failing


@PLAIN_AND_STREAM
def test_it_is_left_alone_and_tried_again(time: Skipping, tmp_path: Path, stream: bool) -> None:
    with relaying(tmp_path, **{**DEFAULT, "retries": 0, "failures": 3}) as relay:
        relay.fake.by_model["m"] = faults.status(500)
        assert [refusal(relay, stream=stream).status_code for _ in range(3)] == [500] * 3
        error = refusal(relay, stream=stream)
        assert (error.status_code, error.code, wait_of(error)) == (503, "upstream_unavailable", "1")
        assert "keeps failing" in error.message
        assert len(relay.fake.received) == 3
        assert states(relay) == ["open"]
        assert ask(relay, "another", stream=stream) == TEXT, "other models are not at fault"

        time.at += 1
        assert refusal(relay, stream=stream).status_code == 500
        assert wait_of(refusal(relay, stream=stream)) == "2", "it has failed again"
        time.at += 2
        del relay.fake.by_model["m"]
        assert ask(relay, stream=stream) == TEXT
        assert states(relay) == ["closed"]
        assert [ask(relay, stream=stream) for _ in range(3)] == [TEXT] * 3


def states(relay: Relay) -> list[str]:
    """Of m."""
    (far,) = relay.homeport.app.upstreams
    return [state.state for state in far.states() if state.family == "m"]


def test_what_the_clients_do_wrong_is_no_failure(time: Skipping, tmp_path: Path) -> None:
    with relaying(tmp_path, **{**DEFAULT, "retries": 0, "failures": 1}) as relay:
        relay.fake.by_model["m"] = faults.status(400)
        assert [refusal(relay).status_code for _ in range(5)] == [400] * 5
        relay.fake.by_model["m"] = faults.status(429)
        assert [refusal(relay).status_code for _ in range(5)] == [429] * 5
        assert states(relay) == ["closed"]


def test_while_it_is_left_alone_another_target_answers(time: Skipping, tmp_path: Path) -> None:
    with two(tmp_path, ALIAS) as (relay, near):
        relay.fake.by_model["m"] = faults.status(500)
        for _ in range(10):
            assert ask(relay, "best") == TEXT
        assert (len(relay.fake.received), len(near.received)) == (5, 10)


# Rate limits


@PLAIN_AND_STREAM
def test_a_request_waits_for_the_upstreams_limit(relay: Relay, time: Skipping, stream: bool) -> None:
    relay.fake.by_model["m"] = with_limits(lambda _: 0, limit=5)
    ask(relay)
    relay.fake.by_model["m"] = answer_well
    assert ask(relay, stream=stream) == TEXT
    assert time.waits == [2.0], "a fifth of ten seconds"


@PLAIN_AND_STREAM
def test_or_is_refused_when_that_is_too_long(relay: Relay, time: Skipping, stream: bool) -> None:
    relay.fake.by_model["m"] = with_limits(lambda _: 0, limit=2, reset="40s")
    ask(relay)
    error = refusal(relay, stream=stream)
    assert (error.status_code, error.code, error.type, wait_of(error)) == (429, "rate_limit_exceeded", "requests", "20")
    assert "at the upstream 'far'" in error.message
    assert (len(relay.fake.received), time.waits) == (1, [])
    time.at += 20
    assert ask(relay) == TEXT


def test_a_refusal_tells_the_limit_as_well(relay: Relay, time: Skipping) -> None:
    told = {
        f"x_ratelimit_{name}_tokens": value
        for name, value in (("limit", "100"), ("remaining", "0"), ("reset", "1m40s"))
    }
    relay.fake.script.append(faults.status(429, retry_after="20", **told))
    assert refusal(relay).status_code == 429
    time.at += 40
    assert ask(relay, max_tokens=30) == TEXT
    assert refusal(relay, max_tokens=80).type == "tokens"
    assert len(relay.fake.received) == 2


# Caps


def at_once(relay: Relay, count: int, *, then: Callable[[], None]) -> list[Any]:
    """So many requests for `m`: the text of each, or its error. then: is called once all of them are under way."""

    async def one(client: openai.AsyncOpenAI) -> Any:
        try:
            answer = await client.chat.completions.create(model="m", messages=HELLO)
        except openai.APIStatusError as error:
            return error
        return answer.choices[0].message.content

    async def all_of_them() -> list[Any]:
        async with relay.async_client() as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(client)) for _ in range(count)]
            await asyncio.to_thread(then)
        return [task.result() for task in tasks]

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(("connections", "queue", "refused"), [(1, 0, 4), (2, 0, 3), (1, 2, 2), (2, 3, 0)])
def test_so_many_are_in_flight_so_many_wait_and_the_next_is_refused(
    tmp_path: Path, connections: int, queue: int, refused: int
) -> None:
    """Five at once. Those that wait are answered when there is room."""
    go_on = threading.Event()

    def held(visit: Visit) -> None:
        assert go_on.wait(60)
        answer_well(visit)

    with relaying(tmp_path, **{**DEFAULT, "connections": connections, "queue": queue}) as relay:
        relay.fake.by_model["m"] = held

        def then() -> None:
            if refused:
                assert len(relay.rows("m", refused)) == refused, "they are refused at once"
            assert until(lambda: len(relay.fake.received) == connections)
            go_on.set()

        results = at_once(relay, 5, then=then)
        errors = [one for one in results if isinstance(one, openai.APIStatusError)]
        assert [one for one in results if one not in errors] == [TEXT] * (5 - refused)
        assert [(one.status_code, one.code, wait_of(one)) for one in errors] == [(503, "upstream_busy", "1")] * refused
        assert len(relay.fake.received) == 5 - refused
