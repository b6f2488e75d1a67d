"""What goes to an upstream, and whole answers back: untouched where nothing changes."""

from collections.abc import Collection, Sequence

import msgspec

from homeport.backends.capabilities import Call, Frame, Header, Usage
from homeport.backends.upstreams.failures import malformed

LARGEST_ANSWER = 64 * 2**20
_MOST_TOKENS = 2**31 - 1


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class Counts(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def counted(self) -> Usage:
        """A part is never more than its whole, and the parts of the prompt together neither."""
        prompt, completion = sane(self.prompt_tokens), sane(self.completion_tokens)
        read, written = self.prompt_tokens_details, self.completion_tokens_details
        cached = stored = heard = seen = spoken = 0
        if read is not None:
            if read.cached_tokens:
                cached = min(sane(read.cached_tokens), prompt)
            left = prompt - cached
            if read.cache_write_tokens:
                left -= (stored := min(sane(read.cache_write_tokens), left))
            if read.audio_tokens:
                left -= (heard := min(sane(read.audio_tokens), left))
            if read.image_tokens:
                seen = min(sane(read.image_tokens), left)
        if written is not None and written.audio_tokens:
            spoken = min(sane(written.audio_tokens), completion)
        return Usage(prompt, completion, cached, stored, heard, seen, spoken)


def sane(count: int | None) -> int:
    """No upstream's nonsense gets into the records."""
    return count if count is not None and 0 < count < _MOST_TOKENS else min(max(count or 0, 0), _MOST_TOKENS)


class Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """What the ledger wants of an answer or a chunk; the rest is not looked at."""

    choices: list[Choice]
    model: str | None = None
    service_tier: str | None = None
    usage: Counts | None = None


_answer = msgspec.json.Decoder(_Answer)


def body_for(
    call: Call,
    *,
    ask_usage: bool,
    messages: msgspec.Raw | None = None,
    keep_name: bool = False,
    without: Collection[str] = (),
) -> bytes:
    """The request's own bytes, unless the model has another name upstream (and its own is not to be kept), a stream
    must be asked for its usage, other messages take the place of its own, or it goes without some of its fields."""
    changes: dict[str, msgspec.Raw] = {} if messages is None else {"messages": messages}
    if call.model != call.name and not keep_name:
        changes["model"] = msgspec.Raw(msgspec.json.encode(call.model))
    if ask_usage and call.stream and not call.include_usage:
        options = msgspec.json.decode(call.fields.get("stream_options", b"null")) or {}
        changes["stream_options"] = msgspec.Raw(msgspec.json.encode({**options, "include_usage": True}))
    if without:
        kept = {**call.fields, **changes}
        return msgspec.json.encode({name: value for name, value in kept.items() if name not in without})
    return msgspec.json.encode({**call.fields, **changes}) if changes else call.body


def whole(body: bytes, upstream: str) -> Frame:
    """A plain answer. Raises UpstreamFailed when it is none."""
    if not is_text(body):
        raise malformed(upstream)
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise malformed(upstream) from None
    usage = answer.usage.counted() if answer.usage else None
    return Frame(body, usage=usage, model=answer.model, service_tier=answer.service_tier)


def is_text(data: bytes) -> bool:
    """It is UTF-8. What is not even looked at is passed on, so nobody else would notice."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def passed_on(call: Call) -> Sequence[Header]:
    """Headers of one request that others have a say in: the client's own, and those of its trace."""
    return (*call.headers, *call.trace) if call.trace else call.headers


def lines(call: Call, content_type: bytes = b"application/json") -> bytes:
    """Those that are ours, with the id for finding the request in the upstream's log, and what it is known by when it
    is sent again."""
    ours = b"content-type: %b\r\nx-client-request-id: %b\r\n" % (content_type, call.request_id.encode())
    return b"%bidempotency-key: %b\r\n" % (ours, call.idempotency_key) if call.idempotency_key else ours
