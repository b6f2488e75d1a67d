"""Whatever an upstream does wrong: OpenAI's error object before the first byte, an error event after it, and an end."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.fake_upstream import STREAM_HEAD, TEXT, Visit, chunked, event, events, plain_answer, until, whole
from tests.upstreams import faults
from tests.upstreams.homeports import UPSTREAM_KEY, Relay, relaying

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("faults")
    quick: Any = {"first_byte_seconds": 1.0, "idle_seconds": 1.0, "total_seconds": 4.0, "connect_seconds": 5.0}
    with pytest.MonkeyPatch.context() as patch, relaying(folder, **quick) as made:
        faults.small_limits(patch)
        made.fake.by_model.update(faults.all_behaviours())
        yield made


def ask(relay: Relay, model: str, *, stream: bool = False) -> raw.Answer:
    return raw.ask(relay.homeport, body={"model": model, "messages": HELLO, "stream": stream})


def check(answer: raw.Answer, fault: faults.Fault) -> None:
    assert answer.status == fault.status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.error) >= {"message", "type", "param", "code"}
    assert answer.error["code"] == fault.code
    assert "far" in answer.error["message"] or answer.error["message"] in (faults.ERROR["message"], "Too long.")
    assert UPSTREAM_KEY not in answer.body.decode()


@pytest.mark.parametrize("name", [*faults.EARLY, *faults.PLAIN])
def test_a_plain_request_gets_the_error_object(relay: Relay, name: str) -> None:
    check(ask(relay, name), faults.EVERY[name])
    (row,) = relay.rows(name)
    assert (row["outcome"], row["status"]) == ("failed", faults.EVERY[name].status)
    assert (row["backend"], row["prompt_tokens"], row["completion_tokens"]) == ("far", 0, 0)


@pytest.mark.parametrize("name", [*faults.EARLY, *faults.STREAM_EARLY])
def test_before_the_first_event_a_stream_gets_it_as_well(relay: Relay, name: str) -> None:
    check(ask(relay, name, stream=True), faults.EVERY[name])


@pytest.mark.parametrize("name", list(faults.STREAM_LATE))
def test_after_the_first_event_the_error_is_an_event(relay: Relay, name: str) -> None:
    answer = ask(relay, name, stream=True)
    assert answer.status == 200
    *chunks, last = raw.events(answer.body)
    assert chunks
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
    assert last["error"]["code"] == faults.EVERY[name].code
    assert set(last["error"]) >= {"message", "type", "param", "code"}
    (row,) = relay.rows(name)
    assert (row["outcome"], row["stream"]) == ("failed", 1)
    assert row["status"] in (500, 503)


@pytest.mark.parametrize("name", list(faults.STREAM_LATE))
def test_the_sdk_raises_it(relay: Relay, name: str) -> None:
    with relay.client() as client:
        chunks = client.chat.completions.create(model=name, messages=HELLO, stream=True)
        assert next(chunks).choices[0].finish_reason is None
        with pytest.raises(openai.APIError):
            list(chunks)


@pytest.mark.parametrize("name", list(faults.ODD))
def test_what_is_unusual_and_right_is_an_answer(relay: Relay, name: str) -> None:
    with relay.client() as client:
        answer = client.chat.completions.create(model=name, messages=HELLO)
    assert answer.choices[0].message.content == TEXT


@pytest.mark.parametrize("name", list(faults.ODD_STREAMS))
def test_an_unusual_stream_is_an_answer(relay: Relay, name: str) -> None:
    answer = ask(relay, name, stream=True)
    *chunks, done = raw.events(answer.body)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == TEXT
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == [
        "stop"
    ]
    (row,) = relay.rows(name)
    assert row["outcome"] == "completed"
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (11, 7, 3)


@pytest.mark.parametrize("code", [400, 404, 408, 409, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_the_upstreams_own_refusal_is_passed_on(relay: Relay, code: int, stream: bool) -> None:
    relay.fake.by_model["refused"] = faults.status(code)
    answer = ask(relay, "refused", stream=stream)
    assert answer.status == code
    assert answer.error == faults.ERROR
    assert answer.headers["content-type"] == "application/json"


def test_retry_after_is_passed_on_and_nothing_else(relay: Relay) -> None:
    relay.fake.by_model["busy"] = faults.status(429, retry_after="7", retry_after_ms="6500", set_cookie="a=b", x_y="z")
    headers = ask(relay, "busy").headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "6500")
    assert not {"set-cookie", "x-y"} & set(headers)
    relay.fake.by_model["busy"] = faults.status(429)
    assert "retry-after" not in ask(relay, "busy").headers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "just text"}, "just text"),
        ({"error": {"code": 5, "message": "of azure"}}, "of azure"),
        ({"object": "error", "message": "of vllm", "code": 400}, "of vllm"),
        ({"detail": "of fastapi"}, "The upstream 'far' answers with status 400."),
        ([1], "The upstream 'far' answers with status 400."),
    ],
)
def test_errors_of_other_shapes_become_openais(relay: Relay, body: Any, message: str) -> None:
    relay.fake.by_model["shape"] = lambda visit: visit.send(whole(json.dumps(body).encode(), 400))
    error = ask(relay, "shape").error
    assert error["message"] == message
    assert error["type"] == "invalid_request_error"
    assert error["code"] is None or isinstance(error["code"], str)


def test_a_connection_is_kept_after_a_refusal_and_not_after_a_fault(relay: Relay) -> None:
    relay.fake.by_model["refused"] = faults.status(400)
    ask(relay, "refused")
    before = relay.fake.connections
    ask(relay, "refused")
    ask(relay, "well")
    assert relay.fake.connections == before
    ask(relay, "half")
    ask(relay, "well")
    assert relay.fake.connections > before


def cut_everywhere(relay: Relay, of: bytes, answer: Callable[[Visit], bytes], *, stream: bool) -> list[raw.Answer]:
    """Of the same request for as often as the upstream's answer has bytes, and once more, what its client gets when the
    upstream ends after so many of them. of: the answer to a model whose name is as long."""
    before = relay.fake.open

    def one(place: int) -> raw.Answer:
        relay.fake.by_model[cut_name(place)] = faults.cut_after(lambda visit: answer(visit)[:place])
        return ask(relay, cut_name(place), stream=stream)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(len(of) + 1)))
    assert until(lambda: relay.fake.open <= before + 8), "connections leak"
    return answers


def cut_name(place: int) -> str:
    return f"cut-{place:05}"


def outcomes(relay: Relay, places: range, *, stream: bool) -> list[tuple[str, int]]:
    """Of the one row of each request, and the tokens that an upstream told."""
    found = []
    for place in places:
        (row,) = [row for row in relay.rows(cut_name(place)) if row["stream"] == stream]
        found.append((row["outcome"], 0 if row["estimated"] else row["prompt_tokens"] + row["completion_tokens"]))
    return found


def as_sent(path: str, answer: Callable[[Visit], bytes], **fields: Any) -> bytes:
    body = json.dumps({"model": cut_name(0), "messages": HELLO, **fields}).encode()
    with socket.socket() as nowhere:
        return answer(Visit(nowhere, 0, "POST", path, {}, body))


def whole_answer(visit: Visit) -> bytes:
    return whole(plain_answer(visit))


def test_a_plain_answer_that_is_cut_at_any_byte_is_none(relay: Relay) -> None:
    sent = as_sent(raw.CHAT, whole_answer)
    *cut, last = cut_everywhere(relay, sent, whole_answer, stream=False)
    assert {(answer.status, answer.error["code"]) for answer in cut} == {(503, faults.CUT)}
    assert last.json["choices"][0]["message"]["content"] == TEXT
    assert outcomes(relay, range(len(sent)), stream=False) == [("failed", 0)] * len(sent)
    assert outcomes(relay, range(len(sent), len(sent) + 1), stream=False) == [("completed", 18)]


def whole_stream(visit: Visit) -> bytes:
    return STREAM_HEAD + b"".join(map(chunked, events(visit))) + b"0\r\n\r\n"


def test_a_stream_that_is_cut_at_any_byte_has_an_end_only_where_the_upstream_said_so(relay: Relay) -> None:
    sent = as_sent(raw.CHAT, whole_stream, stream=True, stream_options={"include_usage": True})
    first = sent.index(b"\n\n", len(STREAM_HEAD)) + 2
    done = sent.index(b"[DONE]\n\n") + 8
    answers = cut_everywhere(relay, sent, whole_stream, stream=True)
    assert {(answer.status, answer.error["code"]) for answer in answers[:first]} == {(503, faults.CUT)}
    for answer in answers[first:]:
        assert answer.status == 200
        *chunks, _ = raw.events(answer.body)
        assert TEXT.startswith("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks))
    assert {raw.events(answer.body)[-1]["error"]["code"] for answer in answers[first:done]} == {faults.CUT}
    for answer in answers[done:]:
        *chunks, last = raw.events(answer.body)
        assert last == "[DONE]"
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == TEXT
    told = outcomes(relay, range(len(answers)), stream=True)
    assert {outcome for outcome, _ in told[:done]} == {"failed"}
    assert set(told[:first]) == {("failed", 0)}
    assert set(told[done:]) == {("completed", 18)}


def test_the_total_deadline_ends_what_never_stops(relay: Relay) -> None:
    relay.fake.by_model["dripping"] = faults.endless(STREAM_HEAD, chunked(event({"choices": []})))
    *_, last = raw.events(ask(relay, "dripping", stream=True).body)
    assert last["error"]["code"] == "upstream_timeout"
