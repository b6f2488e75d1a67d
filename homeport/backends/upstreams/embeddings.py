"""A list of inputs in the pieces that an upstream takes, and the answers to them as one."""

from collections.abc import Iterator, Sequence

import msgspec

from homeport.backends.capabilities import Call, Frame, Usage
from homeport.backends.upstreams.failures import malformed
from homeport.backends.upstreams.relay import Counts, is_text

#: Bytes of text that one token is reckoned as: seldom less, so that a piece is seldom too large.
_BYTES_PER_TOKEN = 2

_items = msgspec.json.Decoder(list[msgspec.Raw])


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw
    index: int
    object: str = "embedding"


class _Answer(msgspec.Struct):
    data: list[_Embedding]
    model: str | None = None
    usage: Counts | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class _Joined(msgspec.Struct):
    object: str
    data: list[_Embedding]
    model: str | None
    usage: _Usage


_answer = msgspec.json.Decoder(_Answer)


def inputs(call: Call) -> list[msgspec.Raw] | None:
    """Of a request, raw; None for one input, and for what is no list of them, which its upstream may judge."""
    raw = call.fields.get("input")
    if raw is None or _begin(raw) != b"[":
        return None
    items = _items.decode(raw)
    return items if items and _begin(items[0]) in (b'"', b"[") else None


def _begin(raw: msgspec.Raw) -> bytes:
    """Its first byte, which tells what it is."""
    return bytes(memoryview(raw)[:1])


def pieces(items: Sequence[msgspec.Raw], *, most: int, tokens: int) -> Iterator[Sequence[msgspec.Raw]]:
    """In order, each with `most` inputs and about `tokens` tokens at most, and one input at least."""
    begun, size = 0, 0
    for at, item in enumerate(items):
        reckoned = _reckoned(item)
        if at > begun and (at - begun == most or size + reckoned > tokens):
            yield items[begun:at]
            begun, size = at, 0
        size += reckoned
    yield items[begun:]


def _reckoned(item: msgspec.Raw) -> int:
    if _begin(item) == b"[":
        return bytes(item).count(b",") + 1
    return len(memoryview(item)) // _BYTES_PER_TOKEN + 1


def asking(call: Call, piece: Sequence[msgspec.Raw], number: int) -> Call:
    """The same request for some of its inputs. number: of the piece."""
    body = msgspec.json.encode({**call.fields, "input": list(piece)})
    part = Call(call.endpoint, call.request_id, call.name, body, headers=call.headers, model=call.model)
    part.batch = call.batch
    part.idempotency_key = b"%b-%d" % (call.idempotency_key, number) if call.idempotency_key else b""
    part.patience = call.patience
    return part


def whole(body: bytes, upstream: str, count: int | None) -> Frame:
    """An answer as it came. count: of the inputs, where that is known. Raises UpstreamFailed: it is none, or not one
    vector for each."""
    if not is_text(body):
        raise malformed(upstream)
    answer = _read(body, upstream)
    if count is not None and sorted(one.index for one in answer.data) != list(range(count)):
        raise malformed(upstream)
    usage = answer.usage.counted() if answer.usage else None
    return Frame(body, usage=usage, model=answer.model)


def joined(bodies: Sequence[bytes], upstream: str) -> Frame:
    """The answers to the pieces of one request, in their order. Each has been looked at by `whole`."""
    answers = [_read(body, upstream) for body in bodies]
    data: list[_Embedding] = []
    for answer in answers:
        before = len(data)
        for one in sorted(answer.data, key=lambda one: one.index):
            data.append(_Embedding(one.embedding, before + one.index, one.object))
    counts = [answer.usage.counted().prompt for answer in answers if answer.usage is not None]
    usage = Usage(sum(counts), 0) if len(counts) == len(answers) else None
    shown = _Usage(sum(counts), sum(counts))
    model = answers[0].model
    return Frame(msgspec.json.encode(_Joined("list", data, model, shown)), usage=usage, model=model)


def _read(body: bytes, upstream: str) -> _Answer:
    try:
        return _answer.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise malformed(upstream) from None
