"""A vector engine without weights: texts that share words have near vectors. For tests, and for trying out a client.

Each word adds 1 or -1 at a place that its hash names; the sum is made a unit. One token is one Unicode code point, as
of the `echo` text engine, so every count can be told in advance.
"""

import hashlib
import math
import re
import struct
from collections.abc import Sequence
from functools import partial

from homeport import clock
from homeport.backends.engines.echo import places
from homeport.backends.lines import Line, to_its_end
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, InputTooLong, Vector, VectorCard
from homeport.errors import InvalidRequest

WIDTH = 256
_WORD = re.compile(r"\w+|[^\w\s]")


class EchoVectors:
    """VectorEngine. context_length: 8192 by default; delay: seconds before each input; parallel, queue: as of Echo."""

    def __init__(
        self,
        name: str = "echo",
        *,
        context_length: int | None = None,
        delay: float = 0.0,
        parallel: int | None = None,
        queue: int = 256,
    ) -> None:
        self.name = name
        self._delay = delay
        self._admission = places(parallel, queue)
        self._card = VectorCard(WIDTH, context_length or 8192, vocabulary=0x110000, shortens=True)

    @property
    def card(self) -> VectorCard:
        return self._card

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def occupancy(self) -> Sequence[Occupancy]:
        return () if self._admission is None else (self._admission.occupancy(self.name),)

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        texts = [one if isinstance(one, str) else _text(one) for one in inputs]
        for at, text in enumerate(texts):
            if len(text) > self._card.context_length:
                raise InputTooLong(at, len(text))
        work = partial(self._embed, texts)
        return await (to_its_end(work) if batch else work(None))

    async def _embed(self, texts: Sequence[str], line: Line | None) -> list[Vector]:
        if self._admission is not None:
            await self._admission.enter(1, line)
        try:
            await clock.sleep(self._delay * len(texts))
        finally:
            if self._admission is not None:
                self._admission.leave(1, line)
        return [Vector(_vector(text), len(text)) for text in texts]


def _text(tokens: Sequence[int]) -> str:
    if any(0xD800 <= token <= 0xDFFF for token in tokens):
        raise InvalidRequest("Invalid 'input': surrogates are not tokens of this model.", param="input")
    return "".join([chr(token) for token in tokens])


def _vector(text: str) -> bytes:
    sums = [0.0] * WIDTH
    for word in _WORD.findall(text.lower()) or [text]:
        number = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")
        sums[number % WIDTH] += 1.0 if number & 0x8000_0000 else -1.0
    length = math.sqrt(sum(one * one for one in sums))
    if not length:  # every word met its opposite
        sums[0] = length = 1.0
    return struct.pack(f"<{WIDTH}f", *[one / length for one in sums])
