"""An answer to `/embeddings`, whose vectors somebody may want one by one: of a list that went in pieces, or is kept by
the input. It is decoded once, however many look at it."""

from collections.abc import Sequence

import msgspec

from homeport.backends.capabilities import Frame, Usage
from homeport.wire.embeddings import CreateEmbeddingResponse, Embedding, EmbeddingUsage


class Embedded(Frame, kw_only=True):
    """vectors: as they stand in the answer, raw, in the order of the inputs."""

    vectors: Sequence[msgspec.Raw]

    @classmethod
    def of(cls, vectors: Sequence[msgspec.Raw], *, tokens: int | None, model: str | None) -> "Embedded":
        """A new answer. tokens: None where nobody has counted them."""
        data = [Embedding(at, vector) for at, vector in enumerate(vectors)]
        answer = CreateEmbeddingResponse(data, model or "", EmbeddingUsage(tokens or 0, tokens or 0))
        usage = None if tokens is None else Usage(tokens, 0)
        return cls(msgspec.json.encode(answer), vectors=vectors, usage=usage, model=model)


class _Answer(msgspec.Struct):
    data: list[Embedding]


_answer = msgspec.json.Decoder(_Answer)


def vectors_of(frame: Frame) -> Sequence[msgspec.Raw] | None:
    """Of any backend's answer, in the order of the inputs. None: it is none, or has not one for each place."""
    if isinstance(frame, Embedded):
        return frame.vectors
    try:
        return in_order(_answer.decode(frame.data).data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def in_order(data: Sequence[Embedding]) -> Sequence[msgspec.Raw] | None:
    """The vectors of an answer, of which an upstream may send the last first. None: it has not one for each place."""
    by_place = {one.index: one.embedding for one in data}
    if len(by_place) < len(data) or by_place.keys() != set(range(len(data))):
        return None
    return [by_place[at] for at in range(len(data))]
