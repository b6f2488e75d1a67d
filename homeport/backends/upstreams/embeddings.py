"""A list of inputs in the pieces that an upstream takes, and the answers to them as one."""

from collections.abc import Iterator, Sequence

import msgspec

from homeport.backends.capabilities import Call
from homeport.backends.embedded import Embedded, in_order
from homeport.backends.upstreams.failures import malformed
from homeport.backends.upstreams.relay import Counts, is_text
from homeport.wire.embeddings import Embedding

#: Bytes of text that one token is reckoned as: seldom less, so that a piece is seldom too large.
_BYTES_PER_TOKEN = 2

_items = msgspec.json.Decoder(list[msgspec.Raw])


class _Answer(msgspec.Struct):
    data: list[Embedding]
    model: str | None = None
    usage: Counts | None = None


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
    part.background = call.background
    part.idempotency_key = b"%b-%d" % (call.idempotency_key, number) if call.idempotency_key else b""
    part.patience = call.patience
    return part


def whole(body: bytes, upstream: str, count: int | None) -> Embedded:
    """An answer as it came. count: of the inputs, where that is known. Raises UpstreamFailed: it is none, or not one
    vector for each."""
    if not is_text(body):
        raise malformed(upstream)
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise malformed(upstream) from None
    vectors = in_order(answer.data)
    if vectors is None or (count is not None and len(vectors) != count):
        raise malformed(upstream)
    usage = answer.usage.counted() if answer.usage else None
    return Embedded(body, vectors=vectors, usage=usage, model=answer.model)


def joined(answers: Sequence[Embedded]) -> Embedded:
    """The answers to the pieces of one request, in their order."""
    counts = [answer.usage.prompt for answer in answers if answer.usage is not None]
    vectors = [vector for answer in answers for vector in answer.vectors]
    return Embedded.of(vectors, tokens=sum(counts) if len(counts) == len(answers) else None, model=answers[0].model)
