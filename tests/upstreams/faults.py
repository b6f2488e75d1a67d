"""Ways of an upstream to misbehave, as behaviours of tests/fake_upstream.py, and what a client of Homeport must get."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from homeport.backends.upstreams import events as events_module
from homeport.backends.upstreams import relay
from tests.fake_upstream import (
    STREAM_HEAD,
    Behaviour,
    Visit,
    answer_well,
    chunked,
    event,
    events,
    head,
    plain_answer,
    whole,
)

ERROR = {"message": "The words of the upstream.", "type": "its_own_type", "param": "messages", "code": "its_code"}
HTML = b"<html><body>nginx says no</body></html>"


def status(code: int, error: object = ERROR, **headers: str) -> Behaviour:
    return lambda visit: visit.send(whole(json.dumps({"error": error}).encode(), code, **headers))


def html(code: int) -> Behaviour:
    return lambda visit: visit.send(whole(HTML, code, content_type="text/html"))


def raw(data: bytes) -> Behaviour:
    """Just these bytes, then the end."""

    def send(visit: Visit) -> None:
        visit.send(data)
        visit.close()

    return send


def quiet_after(part: Callable[[Visit], bytes]) -> Behaviour:
    """Some bytes, then silence until the client goes."""

    def send(visit: Visit) -> None:
        visit.send(part(visit))
        visit.wait_until_left()

    return send


def cut_after(part: Callable[[Visit], bytes]) -> Behaviour:
    """Some bytes, then the end."""

    def send(visit: Visit) -> None:
        visit.send(part(visit))
        visit.close()

    return send


def reset_after(part: Callable[[Visit], bytes]) -> Behaviour:
    def send(visit: Visit) -> None:
        visit.send(part(visit))
        visit.reset()

    return send


def hang_up(visit: Visit) -> None:
    """What a kept connection looks like that the upstream closed while the request was on its way."""
    visit.close()


def silence(visit: Visit) -> None:
    visit.wait_until_left()


def endless(begin: Callable[[Visit], bytes] | bytes, piece: bytes) -> Behaviour:
    def send(visit: Visit) -> None:
        visit.send(begin if isinstance(begin, bytes) else begin(visit))
        while True:
            visit.send(piece)

    return send


def one_byte_at_a_time(visit: Visit) -> None:
    answer = STREAM_HEAD + b"".join(map(chunked, events(visit))) + b"0\r\n\r\n"
    for place in range(len(answer)):
        visit.send(answer[place : place + 1])


def stream(
    *parts: Callable[[Visit], bytes] | bytes, kind: str = "text/event-stream", end: bytes = b"0\r\n\r\n"
) -> Behaviour:
    """A stream of these parts, whole."""

    def send(visit: Visit) -> None:
        visit.send(head(content_type=kind, transfer_encoding="chunked"))
        for part in parts:
            visit.send(chunked(part if isinstance(part, bytes) else part(visit)))
        visit.send(end)

    return send


def begun(visit: Visit) -> bytes:
    """The head of a stream and its first two events."""
    return STREAM_HEAD + b"".join(map(chunked, events(visit)[:2]))


def half(visit: Visit) -> bytes:
    """Half of a plain answer that says how long it is."""
    answer = whole(plain_answer(visit))
    return answer[: len(answer) - 40]


def in_a_character(visit: Visit) -> bytes:
    """The stream up to the middle of a character of the second event's text."""
    first, second = events(visit)[:2]
    cut = next(place for place in range(20, len(second)) if second[place] >= 0x80) + 1
    return STREAM_HEAD + chunked(first) + chunked(second[:cut])


def in_a_line(visit: Visit) -> bytes:
    return STREAM_HEAD + chunked(events(visit)[0]) + chunked(b"da")


def torn_letter(text: bytes) -> bytes:
    """Without the second half of its first letter of two bytes."""
    return text.replace("ü".encode(), "ü".encode()[:1], 1)


def interim(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    answer_well(visit)


def trailers(visit: Visit) -> None:
    body = plain_answer(visit)
    visit.send(head(content_type="application/json", transfer_encoding="chunked", trailer="X-Sum"))
    visit.send(chunked(body[:9]) + chunked(body[9:]) + b"0\r\nX-Sum: 1\r\nContent-Type: text/html\r\n\r\n")


def closing(visit: Visit) -> None:
    visit.send(whole(plain_answer(visit), connection="close"))
    visit.close()


def http_1_0(visit: Visit) -> None:
    visit.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + plain_answer(visit))
    visit.close()


def returns(visit: Visit) -> bytes:
    return b"".join(events(visit)).replace(b"\n", b"\r\n")


@dataclass(frozen=True)
class Fault:
    """code: of OpenAI's error object. status: of Homeport's answer, when nothing of the upstream's went out before."""

    behaviour: Behaviour
    code: str | None
    status: int = 503


CUT, MALFORMED, SLOW, LARGE = "upstream_cut", "upstream_malformed", "upstream_timeout", "upstream_answer_too_large"

#: For plain requests and streamed ones alike: nothing of an answer has come.
EARLY = {
    "silence": Fault(silence, SLOW),
    "hang-up": Fault(hang_up, CUT),
    "reset": Fault(reset_after(lambda _: b""), CUT),
    "cut-in-head": Fault(cut_after(lambda _: b"HTTP/1.1 200 OK\r\nContent-Ty"), CUT),
    "quiet-in-head": Fault(quiet_after(lambda _: b"HTTP/1.1 200 OK\r\nContent-Ty"), SLOW),
    "not-http": Fault(raw(b"SSH-2.0-OpenSSH_9.6\r\n"), MALFORMED),
    "folded-header": Fault(raw(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"), MALFORMED),
    "switching": Fault(raw(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), MALFORMED),
    "many-headers": Fault(endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"m" * 500 + b"\r\n"), LARGE),
    "endless-header": Fault(endless(b"HTTP/1.1 200 OK\r\nX-More: ", b"m" * 1000), LARGE),
    "endless-interim": Fault(endless(b"", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"), LARGE),
    "html-200": Fault(lambda visit: visit.send(whole(HTML, content_type="text/html")), MALFORMED),
    "no-content": Fault(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), MALFORMED),
    "redirect": Fault(status(302, location="http://127.0.0.1:9/"), "upstream_unavailable"),
    "unauthorized": Fault(status(401), "upstream_authentication_failed"),
    "forbidden": Fault(status(403), "upstream_authentication_failed"),
    "html-500": Fault(html(500), None, 500),
    "html-502": Fault(html(502), None, 503),
    "endless-error": Fault(endless(head(500, content_type="text/plain"), b"x" * 4096), None, 500),
    "cut-error": Fault(cut_after(lambda _: whole(b'{"error": {"message": "x', 429)[:-9]), None, 429),
    "quiet-error": Fault(quiet_after(lambda _: head(503, content_length="99") + b"{"), None, 503),
}

PLAIN = {
    "half": Fault(cut_after(half), CUT),
    "quiet-half": Fault(quiet_after(half), SLOW),
    "reset-half": Fault(reset_after(half), CUT),
    "torn-json": Fault(lambda visit: visit.send(whole(plain_answer(visit)[:-9])), MALFORMED),
    "no-choices": Fault(lambda visit: visit.send(whole(b'{"object":"list"}')), MALFORMED),
    "too-short-length": Fault(
        lambda visit: visit.send(head(content_length="20", content_type="a/b") + plain_answer(visit)), MALFORMED
    ),
    "bad-chunk": Fault(raw(head(transfer_encoding="chunked") + b"zz\r\nxx\r\n"), MALFORMED),
    "two-lengths": Fault(raw(head(content_length="3", transfer_encoding="chunked") + b"abc"), MALFORMED),
    "too-long-length": Fault(
        cut_after(lambda visit: head(content_length="9000", content_type="a/b") + plain_answer(visit)), CUT
    ),
    "negative-length": Fault(raw(head(content_length="-5") + b"abc"), MALFORMED),
    "length-of-words": Fault(raw(head(content_length="many") + b"abc"), MALFORMED),
    "other-length": Fault(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), MALFORMED),
    "torn-letter": Fault(lambda visit: visit.send(whole(torn_letter(plain_answer(visit)))), MALFORMED),
    "deep": Fault(lambda visit: visit.send(whole(b'{"choices":' + b"[" * 200_000)), MALFORMED),
    "endless-answer": Fault(endless(head(content_type="application/json"), b" " * 4096), LARGE),
    "endless-chunks": Fault(endless(head(transfer_encoding="chunked"), chunked(b" " * 4096)), LARGE),
    "until-close": Fault(cut_after(lambda visit: head(content_type="a/b") + plain_answer(visit)[:-9]), MALFORMED),
}

#: Of streams, before an event came.
STREAM_EARLY = {
    "json-for-a-stream": Fault(lambda visit: visit.send(whole(plain_answer(visit))), MALFORMED),
    "no-events": Fault(stream(), CUT),
    "only-done": Fault(stream(b"data: [DONE]\n\n"), MALFORMED),
    "only-comments": Fault(stream(b": hello\n\n", b": hello\n\n"), CUT),
    "no-json": Fault(stream(b"data: hello\n\n", b"data: [DONE]\n\n"), MALFORMED),
    "endless-comment": Fault(endless(STREAM_HEAD + chunked(b": "), chunked(b"x" * 4096)), MALFORMED),
    "endless-event": Fault(endless(STREAM_HEAD + chunked(b"data: {"), chunked(b"x" * 4096)), MALFORMED),
    "torn-letter-first": Fault(stream(lambda visit: torn_letter(b"".join(events(visit)))), MALFORMED),
    "error-first": Fault(stream(event({"error": ERROR})), "its_code", 500),
    "error-with-status": Fault(stream(event({"error": {"message": "Too long.", "code": 400}})), "400", 400),
}

#: Of streams, after the first event.
STREAM_LATE = {
    "cut-stream": Fault(cut_after(begun), CUT),
    "reset-stream": Fault(reset_after(begun), CUT),
    "quiet-stream": Fault(quiet_after(begun), SLOW),
    "in-a-character": Fault(cut_after(in_a_character), CUT),
    "torn-letter-late": Fault(
        stream(lambda visit: events(visit)[1], lambda visit: torn_letter(events(visit)[0])), MALFORMED
    ),
    "short-length": Fault(
        lambda visit: visit.send(
            head(content_type="text/event-stream", content_length="400") + b"".join(events(visit))[:400]
        ),
        CUT,
    ),
    "endless-event-late": Fault(
        endless(lambda visit: begun(visit) + chunked(b"data: {"), chunked(b"x" * 4096)), MALFORMED
    ),
    "in-a-line": Fault(cut_after(in_a_line), CUT),
    "no-finish": Fault(stream(lambda visit: b"".join(events(visit, done=False, finish=False))), CUT),
    "bad-chunk-late": Fault(cut_after(lambda visit: begun(visit) + b"zz\r\n"), MALFORMED),
    "error-late": Fault(stream(lambda visit: b"".join(events(visit)[:2]) + event({"error": ERROR})), "its_code"),
    "error-text": Fault(stream(lambda visit: b"".join(events(visit)[:2]), event({"error": "It broke."})), None),
}

#: Unusual, and right all the same.
ODD = {
    "interim": interim,
    "trailers": trailers,
    "closing": closing,
    "http-1-0": http_1_0,
}

ODD_STREAMS = {
    "one-byte-at-a-time": one_byte_at_a_time,
    "interim-stream": interim,
    "returns": stream(returns),
    "comments": stream(lambda visit: b": ping\n\n" + b": ping\n\n".join(events(visit))),
    "comment-in-event": stream(lambda visit: b"".join(b": ping\n" + one for one in events(visit))),
    "blank-lines": stream(lambda visit: b"\n\n" + b"\n".join(events(visit))),
    "no-done": stream(lambda visit: b"".join(events(visit, done=False))),
    "done-unended": stream(lambda visit: b"".join(events(visit))[:-2]),
    "never-ends": quiet_after(lambda visit: STREAM_HEAD + b"".join(map(chunked, events(visit)))),
    "cut-after-done": cut_after(lambda visit: STREAM_HEAD + b"".join(map(chunked, events(visit)))),
    "until-close-stream": cut_after(lambda visit: head(content_type="text/event-stream") + b"".join(events(visit))),
    "upper-case-type": stream(lambda visit: b"".join(events(visit)), kind="Text/Event-Stream"),
}
EVERY = {**EARLY, **PLAIN, **STREAM_EARLY, **STREAM_LATE}


def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what never ends is too large soon."""
    monkeypatch.setattr(relay, "LARGEST_ANSWER", 2**18)
    monkeypatch.setattr(events_module, "LARGEST_EVENT", 2**18)


def all_behaviours() -> dict[str, Behaviour]:
    return {**{name: fault.behaviour for name, fault in EVERY.items()}, **ODD, **ODD_STREAMS}
