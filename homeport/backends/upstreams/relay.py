"""What goes through to an upstream and back, untouched where nothing changes: bodies out, events in, errors as ours."""

import msgspec

from homeport.backends.capabilities import Call, Frame, Header, Usage
from homeport.backends.upstreams.client import Response
from homeport.backends.upstreams.connection import ConnectFailed, TimedOut, TooLarge, TransferError
from homeport.errors import HomeportError, UpstreamFailed, UpstreamRefused

LARGEST_ANSWER = 64 * 2**20
LARGEST_ERROR = 2**20
LARGEST_EVENT = 16 * 2**20
_KEPT_HEADERS = (b"retry-after", b"retry-after-ms", b"x-should-retry")
_DONE = b"data: [DONE]"
_NO_USAGE = (b',"usage":null', b', "usage": null')


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None

    def counted(self) -> Usage:
        details = self.prompt_tokens_details
        return Usage(self.prompt_tokens, self.completion_tokens or 0, (details and details.cached_tokens) or 0)


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """What the ledger wants of an answer or a chunk; the rest is not looked at."""

    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw | None = None


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)


def body_for(call: Call, *, ask_usage: bool) -> bytes:
    """The request's own bytes, unless the model has another name upstream or a stream must be asked for its usage."""
    changes: dict[str, msgspec.Raw] = {}
    if call.model != call.name:
        changes["model"] = msgspec.Raw(msgspec.json.encode(call.model))
    if ask_usage and call.stream and not call.include_usage:
        options = msgspec.json.decode(call.fields.get("stream_options", b"null")) or {}
        changes["stream_options"] = msgspec.Raw(msgspec.json.encode({**options, "include_usage": True}))
    return msgspec.json.encode({**call.fields, **changes}) if changes else call.body


def whole(body: bytes, upstream: str) -> Frame:
    """A plain answer. Raises UpstreamFailed when it is none."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise malformed(upstream) from None
    return Frame(body, usage=answer.usage.counted() if answer.usage else None, model=answer.model)


class Events:
    """The events of a stream, as they come: whole ones go on, a torn one waits for its rest, `[DONE]` ends it.

    hide_usage: the client did not ask for the counts; they are read and not passed on.
    """

    def __init__(self, upstream: str, *, hide_usage: bool) -> None:
        self._upstream = upstream
        self._hide = hide_usage
        self._rest = b""
        self._last: tuple[bytes, bytes] = (b"", b"")
        self._first = True
        self.done = False

    def feed(self, chunk: bytes) -> Frame | None:
        """What can be passed on now. Raises UpstreamRefused for an error event."""
        data = self._rest + chunk if self._rest else chunk
        if b"\r" in data:
            data = self._without_returns(data)
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            self._rest = data
            if len(data) > LARGEST_EVENT:
                raise malformed(self._upstream)
            return None
        events, self._rest = data[:end], data[end:]
        if b"[DONE]" in events:
            events = self._until_done(events)
        if events[:1] == b":" or b"\n:" in events:
            events = b"".join(e + b"\n\n" for e in events.split(b"\n\n") if e and not e.startswith(b":"))
        if not events:
            return None
        if b'"error"' in events:
            self._raise_error(events)
        frame = Frame(events)
        if b'"usage"' in events:
            self._take_usage(frame)
        if frame.data:
            self._last = (self._last[1], frame.data)
        if self._first:
            self._first = False
            frame.model = self._model(events)
        return frame

    def end(self) -> None:
        """The connection gave no more. Raises UpstreamFailed unless the answer was whole all the same."""
        if not self.done and not any(self._finishes(events) for events in self._last):
            raise UpstreamFailed(
                f"The upstream {self._upstream!r} broke its answer off. You can retry your request.",
                code="upstream_cut",
            )

    def _without_returns(self, data: bytes) -> bytes:
        torn = data.endswith(b"\r")
        return data[: -1 if torn else None].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + (b"\r" if torn else b"")

    def _until_done(self, events: bytes) -> bytes:
        for line in (_DONE, b"data:[DONE]"):
            if events.startswith(line):
                self.done = True
                return b""
            place = events.find(b"\n" + line)
            if place >= 0:
                self.done = True
                return events[: place + 1]
        return events

    def _take_usage(self, frame: Frame) -> None:
        if self._hide:
            for spelling in _NO_USAGE:
                frame.data = frame.data.replace(spelling, b"")
            if b'"usage"' not in frame.data:
                return
        kept: list[bytes] = []
        for event in frame.data.split(b"\n\n"):
            if not event:
                continue
            if b'"usage"' in event and (read := self._read(event)) is not None and read.usage is not None:
                frame.usage = read.usage.counted()
                if self._hide and not read.choices:
                    continue
            kept.append(event + b"\n\n")
        frame.data = b"".join(kept)

    def _read(self, event: bytes) -> _Event | None:
        start = event.find(b"{")
        try:
            return _event.decode(event[start:]) if start >= 0 else None
        except (msgspec.DecodeError, RecursionError):
            return None

    def _model(self, events: bytes) -> str | None:
        read = self._read(events[: events.find(b"\n\n")])
        if read is None and b"{" in events:
            raise malformed(self._upstream)
        return read.model if read else None

    def _finishes(self, events: bytes) -> bool:
        for event in events.split(b"\n\n"):
            read = self._read(event) if event else None
            if read and read.choices and any(choice.finish_reason for choice in read.choices):
                return True
        return False

    def _raise_error(self, events: bytes) -> None:
        for event in events.split(b"\n\n"):
            read = self._read(event) if b'"error"' in event else None
            if read is not None and read.error is not None and read.choices is None:
                raise UpstreamRefused(500, _as_object(bytes(read.error), "The upstream failed while it was answering."))


async def refusal(response: Response, upstream: str) -> HomeportError:
    """An answer that is none of success, as the error that the client gets."""
    status = response.status
    headers = tuple(
        (name.decode(), value.decode("latin-1")) for name, value in response.headers if name in _KEPT_HEADERS
    )
    body = await response.read(LARGEST_ERROR)
    if status in (401, 403):
        return UpstreamFailed(
            f"The upstream {upstream!r} does not accept Homeport's credentials. This is for the operator to mend: "
            f"check upstreams.{upstream}.api_key.",
            code="upstream_authentication_failed",
            headers=(("x-should-retry", "false"),),
        )
    if status < 400:
        return UpstreamFailed(
            f"The upstream {upstream!r} answers with a redirect ({status}). Check upstreams.{upstream}.base_url."
        )
    shown = status if status < 500 or status in (500, 503) else 503
    return UpstreamRefused(shown, _error_of(body, status, upstream), headers=headers)


def _error_of(body: bytes, status: int, upstream: str) -> dict[str, object]:
    words = f"The upstream {upstream!r} answers with status {status}."
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return _as_object(msgspec.json.encode(error), words, status)


def _as_object(raw: bytes, words: str, status: int = 500) -> dict[str, object]:
    """OpenAI's error object, whatever the upstream's looks like: OpenAI's own, Azure's without a type, or a text."""
    error = msgspec.json.decode(raw)
    kind = "invalid_request_error" if status < 500 else "server_error"
    if isinstance(error, str):
        return {"message": error[:1000], "type": kind, "param": None, "code": None}
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return {"message": words, "type": kind, "param": None, "code": None}
    code = error.get("code")
    return {
        "message": error["message"],
        "type": error.get("type") or kind,
        "param": error.get("param"),
        "code": code if code is None or isinstance(code, str) else str(code),
    }


def failure(error: TransferError, upstream: str) -> HomeportError:
    """A transfer that failed, in words for the client."""
    if isinstance(error, ConnectFailed):
        words, code = f"cannot be reached ({error})", "upstream_unavailable"
    elif isinstance(error, TimedOut):
        words, code = f"is too slow: {error}", "upstream_timeout"
    elif isinstance(error, TooLarge):
        words, code = "sent more than is taken", "upstream_answer_too_large"
    else:
        words, code = "broke its answer off", "upstream_cut"
    return UpstreamFailed(f"The upstream {upstream!r} {words}. You can retry your request.", code=code)


def malformed(upstream: str) -> UpstreamFailed:
    return UpstreamFailed(f"The upstream {upstream!r} sent something that is no answer.", code="upstream_malformed")


def passed_on(call: Call) -> list[Header]:
    """Headers of one request: the client's own, and our id for finding it in the upstream's log."""
    return [
        (b"content-type", b"application/json"),
        (b"x-client-request-id", call.request_id.encode()),
        *call.headers,
    ]
