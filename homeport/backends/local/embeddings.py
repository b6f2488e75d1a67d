"""`POST /embeddings` by an engine of this machine: the request checked, vectors as OpenAI writes them."""

import asyncio
import base64
import math
import struct
from collections.abc import Sequence
from typing import cast

import msgspec

from homeport import openai_tokens
from homeport.backends.capabilities import Answer, Call
from homeport.backends.embedded import Embedded
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, InputTooLong, Vector, VectorEngine
from homeport.errors import ContextLengthExceeded, InvalidRequest
from homeport.wire.base import decode
from homeport.wire.embeddings import CreateEmbeddingRequest, Tokens

_request = msgspec.json.Decoder(CreateEmbeddingRequest)
#: Names of OpenAI's models: their tokens are OpenAI's, whatever runs.
_OPENAIS = "text-embedding-"
#: Vectors that are written before others have their turn in the event loop.
_AT_ONCE = 64


class LocalEmbeddings:
    """Embed (capabilities.py) over one vector engine."""

    def __init__(self, name: str, engine: VectorEngine) -> None:
        self.name = name
        self._engine = engine

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def lines_at_once(self, capability: str) -> int | None:
        """Those that go through the model together, and those that will next."""
        return max((2 * one.places for one in self._engine.occupancy()), default=None)

    async def vector(self, text: str) -> Sequence[float]:
        """Of one text, for the house itself. Raises HomeportError."""
        (vector,) = await self._vectors([text], batch=False)
        return _numbers(vector.data)

    async def embed(self, call: Call) -> Answer:
        """As capabilities.Embed."""
        request = decode(_request, call.body)
        width = self._width(request.dimensions)
        inputs: Sequence[Input] = request.inputs
        if not isinstance(inputs[0], str):
            inputs = await self._read(cast("Sequence[Tokens]", inputs), call.name)
        vectors = await self._vectors(inputs, batch=call.background)
        written: list[msgspec.Raw] = []
        for at, vector in enumerate(vectors):
            data = vector.data if width is None else _shortened(vector.data, width)
            written.append(_written(data, base64_encoded=request.encoding_format == "base64"))
            if at % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        tokens = sum(vector.tokens for vector in vectors)
        return Answer(Embedded.of(written, tokens=tokens, model=call.model or self.name))

    def _width(self, dimensions: int | None) -> int | None:
        """None: as the engine makes them. Raises InvalidRequest."""
        card = self._engine.card
        if dimensions is None or dimensions == card.width:
            return None
        if not card.shortens:
            raise InvalidRequest(
                f"This model does not support specifying dimensions: its vectors have {card.width}. Leave it out.",
                param="dimensions",
            )
        if dimensions > card.width:
            raise InvalidRequest(
                f"Invalid value for 'dimensions' = {dimensions}. Must be less than or equal to {card.width}.",
                param="dimensions",
            )
        return dimensions

    async def _read(self, inputs: Sequence[Tokens], name: str) -> Sequence[Input]:
        """Tokens are of the model that is asked for: OpenAI's under a name of OpenAI's (clients count with tiktoken and
        send what they counted), else the engine's own. Raises InvalidRequest."""
        if name.startswith(_OPENAIS):
            return await asyncio.to_thread(_texts, inputs, name)
        for at, tokens in enumerate(inputs):
            wrong = next((token for token in tokens if not 0 <= token < self._engine.card.vocabulary), None)
            if wrong is not None:
                raise _no_token(wrong, at)
        return inputs

    async def _vectors(self, inputs: Sequence[Input], *, batch: bool) -> list[Vector]:
        try:
            return await self._engine.embed(inputs, batch=batch)
        except InputTooLong as error:
            most = self._engine.card.context_length
            where = f" in input[{error.at}]" if len(inputs) > 1 else ""
            raise ContextLengthExceeded(
                f"This model's maximum context length is {most} tokens, however you requested {error.tokens} "
                f"tokens{where}. Please reduce the length of the input.",
                param="input",
            ) from None


def _texts(inputs: Sequence[Tokens], name: str) -> list[str]:
    """In a thread: the first time takes a second. Raises InvalidRequest."""
    encoding = openai_tokens.encoding(openai_tokens.encoding_for(name))
    if encoding is None:
        raise InvalidRequest(
            f"The input is tokens of OpenAI's model `{name}`, which cannot be read here. Send text; or ask the "
            "operator to install OpenAI's tokenizer: pip install 'homeport[count]'.",
            param="input",
        )
    texts: list[str] = []
    for at, tokens in enumerate(inputs):
        try:
            texts.append(encoding.decode(tokens))
        except (KeyError, OverflowError, ValueError):
            wrong = next((token for token in tokens if not _is_token(encoding, token)), tokens[0])
            raise _no_token(wrong, at) from None
    return texts


def _is_token(encoding: openai_tokens.Encoding, token: int) -> bool:
    try:
        encoding.decode([token])
    except (KeyError, OverflowError, ValueError):
        return False
    return True


def _no_token(token: int, at: int) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid 'input[{at}]': {token} is not a token of this model. Send text, or tokens of the model's own "
        "vocabulary.",
        param=f"input[{at}]",
        code="invalid_value",
    )


def _numbers(data: bytes) -> Sequence[float]:
    return struct.unpack(f"<{len(data) // 4}f", data)


def _shortened(data: bytes, width: int) -> bytes:
    numbers = _numbers(data)[:width]
    length = math.sqrt(math.fsum(one * one for one in numbers)) or 1.0
    return struct.pack(f"<{width}f", *[one / length for one in numbers])


def _written(data: bytes, *, base64_encoded: bool) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(base64.b64encode(data).decode() if base64_encoded else _numbers(data)))
