"""Vectors of texts, for whoever brings files into vector stores: on the straight line, on the account of the key that
asked for it, behind everybody else (but at the full price).

A text may be longer than the model reads at once. Nobody knows before by how much: upstreams do not tell, and tokens
are the model's own. So it is sent as it is, and where that is refused it is cut into windows, each with a vector; how
long they may be is learnt from the refusal.
"""

import asyncio
import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import msgspec

from homeport import ids
from homeport.backends.capabilities import Call, Frame
from homeport.backends.embedded import vectors_of
from homeport.errors import ContextLengthExceeded, HomeportError, UpstreamFailed, UpstreamRefused
from homeport.gateway.endpoints import EMBEDDINGS
from homeport.gateway.pipeline import StraightLine
from homeport.jobs.batch_lines import Callers
from homeport.wire.embeddings import MOST_INPUTS

#: Characters of the shortest windows. A model that does not read so much reads nothing.
_SHORTEST = 16
#: Of what a refusal says would fit: another part of the text may have more tokens.
_CAUTION = 0.9
#: Where a window ends, the best first; each is looked for in its last half.
_ENDS = (re.compile(r"[.!?。！？][\"')\]]*\s|\n"), re.compile(r"\s"))
#: OpenAI's words, vLLM's and its kin's, and those of Hugging Face's server.
_TOO_LONG = re.compile(r"(context|input) length|must have less than \d+ tokens|too (long|large)", re.IGNORECASE)
_MOST = re.compile(r"(?:length is|less than) (\d+) tokens")
_HAS = re.compile(r"(?:requested|Given:) (\d+)")
_PLACE = re.compile(r"input\[(\d+)\]")


class Embedded(NamedTuple):
    """model: that answered. vectors: of each text one or several, one after the other: float32, little-endian, of
    length 1. width: numbers of a vector."""

    model: str
    vectors: list[bytes]
    width: int
    tokens: int


@dataclass(slots=True)
class Windows:
    """How long a text may be, as far as is known. For texts of one kind: a character of another language may be more
    tokens. most: characters."""

    most: int | None = None

    def of(self, text: str) -> Sequence[str]:
        return [text] if self.most is None else [*cut(text, self.most)]

    def shorten(self, texts: Sequence[str], error: HomeportError) -> bool:
        """texts: that were refused as too long. False: there is nothing to be done."""
        longest = max(map(len, texts))
        most = longest // 2
        limit, has, place = (pattern.search(error.message) for pattern in (_MOST, _HAS, _PLACE))
        if limit and has and 0 < int(limit[1]) < int(has[1]):
            at = int(place[1]) if place else 0
            length = len(texts[at]) if place and at < len(texts) else longest
            most = min(longest - 1, int(length * int(limit[1]) / int(has[1]) * _CAUTION))
        self.most = max(most, _SHORTEST)
        return longest > _SHORTEST


class Embedder:
    def __init__(self, line: StraightLine, callers: Callers) -> None:
        self._line = line
        self._callers = callers

    async def embed(self, key_id: str, model: str, texts: Sequence[str], *, windows: Windows | None = None) -> Embedded:
        """model: as it is asked for. windows: what is known from other texts of the same kind; it learns.

        Raises HomeportError. Cancelling it cancels the work.
        """
        windows = windows or Windows()
        while True:
            parts = [windows.of(text) for text in texts]
            inputs = [one for part in parts for one in part]
            try:
                answered = await self._ask_all(key_id, model, inputs)
            except HomeportError as error:
                if not is_too_long(error) or not windows.shorten(inputs, error):
                    raise
            else:
                places = accumulate(map(len, parts), initial=0)
                vectors = [b"".join(answered.vectors[begin:end]) for begin, end in pairwise(places)]
                return answered._replace(vectors=vectors)

    async def _ask_all(self, key_id: str, model: str, inputs: Sequence[str]) -> Embedded:
        answers = [
            await self._ask(key_id, model, inputs[at : at + MOST_INPUTS]) for at in range(0, len(inputs), MOST_INPUTS)
        ]
        if len({(one.model, one.width) for one in answers}) > 1:
            raise _no_answer(model)
        vectors = [vector for one in answers for vector in one.vectors]
        return answers[0]._replace(vectors=vectors, tokens=sum(one.tokens for one in answers))

    async def _ask(self, key_id: str, model: str, inputs: Sequence[str]) -> Embedded:
        principal = await self._callers.of(key_id)
        body = msgspec.json.encode({"model": model, "input": inputs, "encoding_format": "base64"})
        digest = hashlib.sha256(key_id.encode() + body).hexdigest()
        call = Call(
            EMBEDDINGS.name,
            ids.request_id(),
            model,
            body,
            background=True,
            idempotency_key=f"embedding-{digest[:32]}".encode(),
        )
        frame = await self._line.plain(EMBEDDINGS, principal, call)
        return await asyncio.to_thread(read_vectors, frame, model, len(inputs))


def is_too_long(error: HomeportError) -> bool:
    """What was sent is more than the model reads at once."""
    if isinstance(error, ContextLengthExceeded):
        return True
    if not isinstance(error, UpstreamRefused) or error.upstream_status not in (400, 413, 422, 500):
        return False
    return error.body.get("code") == "context_length_exceeded" or _TOO_LONG.search(error.message) is not None


def cut(text: str, most: int) -> Iterator[str]:
    """Windows of so many characters at most, which end with a sentence, or a word, where one ends in their last half.
    Together they are the text, less those that are nothing but white space."""
    begin = 0
    found = False
    while begin < len(text):
        end = _end(text, begin, most)
        window = text[begin:end]
        begin = end
        if not window.isspace() or (begin == len(text) and not found):
            found = True
            yield window


def _end(text: str, begin: int, most: int) -> int:
    if begin + most >= len(text):
        return len(text)
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, begin + most // 2, begin + most)]
        if ends:
            return ends[-1]
    return begin + most


def read_vectors(frame: Frame, model: str, count: int) -> Embedded:
    """In a thread: some hundreds of thousands of numbers. Raises UpstreamFailed."""
    raw = vectors_of(frame)
    if raw is None or len(raw) != count:
        raise _no_answer(model)
    try:
        vectors = [_unit(msgspec.json.decode(one)) for one in raw]
    except (msgspec.DecodeError, struct.error, TypeError, ValueError, OverflowError):
        raise _no_answer(model) from None
    widths = {len(vector) // 4 for vector in vectors}
    if len(widths) != 1 or widths == {0}:
        raise _no_answer(model)
    return Embedded(frame.model or model, vectors, widths.pop(), frame.usage.prompt if frame.usage else 0)


def _unit(vector: object) -> bytes:
    """vector: base64, or numbers, as not every server knows the former. Raises ValueError."""
    if isinstance(vector, str):
        data = base64.b64decode(vector, validate=True)
        numbers: Sequence[float] = struct.unpack(f"<{len(data) // 4}f", data)
    else:
        assert isinstance(vector, list)
        numbers = vector
    length = math.sqrt(math.fsum(one * one for one in numbers))
    if not math.isfinite(length) or not length:
        raise ValueError("no direction")
    return struct.pack(f"<{len(numbers)}f", *[one / length for one in numbers])


def _no_answer(model: str) -> UpstreamFailed:
    return UpstreamFailed(f"The model `{model}` answered with something that is no list of vectors.")
