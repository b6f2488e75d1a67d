"""Bodies out and events in, as pure functions: the same bytes give the same answer however they are torn."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backends.capabilities import Call, Usage
from homeport.backends.upstreams import relay
from homeport.backends.upstreams.events import LARGEST_EVENT, Events
from homeport.errors import HomeportError, UpstreamFailed, UpstreamRefused
from tests.fake_upstream import USAGE, event

ROLE = event({"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None})
WORLD = event({"choices": [{"index": 0, "delta": {"content": '世界 [DONE] \n\n : "error" 🏡'}}], "usage": None})
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
COUNTS = event({"choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"
ERROR = event({"error": {"message": "It broke.", "code": "c"}})
WHOLE = ROLE + WORLD + FINISH + COUNTS + DONE


def call(body: dict[str, Any], **fields: Any) -> Call:
    data = json.dumps(body).encode()
    made = Call("chat.completions", "req_1", body["model"], data)
    made.model = body["model"]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class Seen:
    """What came out of a stream: data, the last usage, the first model and tier, and the error that ended it."""

    def __init__(self, *chunks: bytes, hide: bool = False) -> None:
        self.data = b""
        self.usage: Usage | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.error: HomeportError | None = None
        events = Events("far", hide_usage=hide)
        try:
            for chunk in chunks:
                if events.over:
                    break
                frame = events.feed(chunk)
                if frame is not None:
                    assert frame.data == b"" or frame.data.endswith(b"\n\n")
                    frame.data.decode()
                    self.data += frame.data
                    self.usage = frame.usage or self.usage
                    self.model = self.model or frame.model
                    self.service_tier = self.service_tier or frame.service_tier
            events.end()
        except HomeportError as error:
            self.error = error

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Seen)
        return (self.data, self.usage, self.model, self.service_tier, repr(self.error)) == (
            other.data,
            other.usage,
            other.model,
            other.service_tier,
            repr(other.error),
        )


STREAMS = {
    "whole": WHOLE,
    "returns": WHOLE.replace(b"\n", b"\r\n"),
    "only-returns": WHOLE.replace(b"\n", b"\r"),
    "comments": b": hi\n\n" + ROLE + b": hi\n" + WORLD + b"event: x\n: hi\nid: 3\n" + FINISH + DONE,
    "tier": ROLE.replace(b'"model"', b'"service_tier":"flex","model"') + WORLD + FINISH + DONE,
    "no-done": ROLE + WORLD + FINISH + COUNTS,
    "cut": ROLE + WORLD,
    "cut-in-a-line": ROLE + WORLD + FINISH[:20],
    "error": ROLE + WORLD + ERROR + WORLD,
    "error-only": ERROR,
    "after-done": WHOLE + WORLD,
    "named-done": ROLE + WORLD + FINISH + b"event: done\n" + DONE,
    "several-lines": b'data: {"model": "m",\ndata: "choices": []}\n\n' + WORLD + FINISH + DONE,
    "blank-lines": b"\n\n\n" + ROLE + b"\n" + WORLD + b"\n\n" + FINISH + DONE,
}


@pytest.mark.parametrize("name", list(STREAMS))
@pytest.mark.parametrize("hide", [True, False])
def test_wherever_a_stream_is_torn_the_same_comes_out(name: str, hide: bool) -> None:
    data = STREAMS[name]
    torn = Seen(*(data[place : place + 1] for place in range(len(data))), hide=hide)
    assert torn == Seen(data, hide=hide)
    for place in range(len(data)):
        assert Seen(data[:place], data[place:], hide=hide) == torn, place


def test_a_stream_is_passed_on_as_it_is() -> None:
    seen = Seen(WHOLE)
    assert seen.data == ROLE + WORLD + FINISH + COUNTS
    assert (seen.usage, seen.model, seen.error) == (Usage(11, 7, 3), "m", None)


def test_the_tier_is_that_of_the_first_chunk() -> None:
    assert Seen(STREAMS["tier"]).service_tier == "flex"
    assert Seen(WHOLE).service_tier is None


def test_hidden_usage_is_counted_all_the_same() -> None:
    seen = Seen(WHOLE, hide=True)
    assert b"usage" not in seen.data
    assert seen.data == (ROLE + WORLD + FINISH).replace(b',"usage":null', b"")
    assert seen.usage == Usage(11, 7, 3)


def test_a_choice_is_not_hidden_with_the_usage() -> None:
    both = event({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE})
    assert Seen(both + DONE, hide=True).data == both


@pytest.mark.parametrize("data", [WHOLE, ROLE + FINISH, ROLE + FINISH + COUNTS, ROLE + FINISH + b"data: [DONE]"])
def test_a_stream_that_is_whole(data: bytes) -> None:
    assert Seen(data).error is None


@pytest.mark.parametrize("data", [ROLE, ROLE + WORLD, ROLE + FINISH[:-2], b"", b": hi\n\n", b"data: {"])
def test_a_stream_that_is_cut(data: bytes) -> None:
    error = Seen(data).error
    assert isinstance(error, UpstreamFailed)
    assert error.code == "upstream_cut"


@pytest.mark.parametrize("data", [b"data: hello\n\n", b"data: [1]\n\n", b"<html>\n\ndata: no\n\n", DONE])
def test_what_is_no_answer(data: bytes) -> None:
    error = Seen(data).error
    assert isinstance(error, UpstreamFailed)
    assert error.code == "upstream_malformed"


def test_what_came_before_an_error_is_passed_on() -> None:
    seen = Seen(ROLE + WORLD + ERROR)
    assert seen.data == ROLE + WORLD
    assert isinstance(seen.error, UpstreamRefused)
    assert seen.error.body == {"message": "It broke.", "type": "server_error", "param": None, "code": "c"}


def test_an_error_of_null_is_none() -> None:
    chunk = event({"error": None, "choices": [{"index": 0, "finish_reason": "stop"}]})
    assert Seen(chunk + DONE).data == chunk


def test_an_endless_event_is_not_collected_for_ever() -> None:
    events = Events("far", hide_usage=False)
    assert events.feed(b"data: {" + b"x" * (LARGEST_EVENT - 100)) is None
    with pytest.raises(UpstreamFailed):
        events.feed(b"x" * 100)


def test_a_body_without_changes_is_the_clients_own() -> None:
    asked = call({"model": "m", "stream": True}, stream=True, include_usage=True)
    assert relay.body_for(asked, ask_usage=True) is asked.body
    plain = call({"model": "m"})
    assert relay.body_for(plain, ask_usage=True) is plain.body
    assert relay.body_for(call({"model": "m"}, stream=True), ask_usage=False) == b'{"model": "m"}'


def test_only_what_must_change_changes() -> None:
    asked = call({"model": "alias", "seed": 1.50, "stream_options": {"a": 1}}, stream=True, model='real"name')
    assert json.loads(relay.body_for(asked, ask_usage=True)) == {
        "model": 'real"name',
        "seed": 1.50,
        "stream_options": {"a": 1, "include_usage": True},
    }


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (USAGE, Usage(11, 7, 3)),
        ({"prompt_tokens": 5}, Usage(5, 0)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {
                    "cached_tokens": 40,
                    "cache_write_tokens": 30,
                    "audio_tokens": 20,
                    "image_tokens": 5,
                    "text_tokens": 75,
                },
                "completion_tokens_details": {"audio_tokens": 7, "reasoning_tokens": 9},
            },
            Usage(100, 50, cached=40, cache_write=30, input_audio=20, input_image=5, output_audio=7),
        ),
        ({"prompt_tokens": None, "completion_tokens": None, "prompt_tokens_details": None}, Usage(0, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 2**60}, Usage(0, 2**31 - 1)),
        (None, None),
    ],
)
def test_counts_of_a_whole_answer(usage: object, counted: Usage | None) -> None:
    body = json.dumps({"choices": [], "model": "m", "usage": usage}).encode()
    frame = relay.whole(body, "far")
    assert (frame.data, frame.usage, frame.model) == (body, counted, "m")


anything = st.none() | st.integers(-(2**40), 2**40)


@given(st.fixed_dictionaries(dict.fromkeys(("cached", "cache_write", "audio", "image"), anything)), anything, anything)
def test_parts_are_never_more_than_their_whole(
    parts: dict[str, int | None], prompt: int | None, completion: int | None
) -> None:
    details = {f"{name}_tokens": count for name, count in parts.items()}
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": details,
    }
    counted = relay.whole(json.dumps({"choices": [], "usage": usage}).encode(), "far").usage
    assert counted is not None
    assert min(counted.cached, counted.cache_write, counted.input_audio, counted.input_image) >= 0
    assert counted.cached + counted.cache_write + counted.input_audio + counted.input_image <= counted.prompt
    assert 0 <= counted.output_audio <= counted.completion


def test_a_whole_answer_tells_its_tier() -> None:
    assert relay.whole(b'{"choices": [], "service_tier": "priority"}', "far").service_tier == "priority"
    assert relay.whole(b'{"choices": [], "service_tier": null}', "far").service_tier is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices": 1}', b"<html>", b'{"choices":[' + b"[" * 100_000])
def test_a_body_that_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="sent something that is no answer"):
        relay.whole(body, "far")
