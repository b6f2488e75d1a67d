"""Embeddings. Source: CreateEmbeddingRequest and CreateEmbeddingResponse."""

from typing import Annotated, Literal, cast

from msgspec import Meta, Raw, Struct

from homeport.errors import InvalidRequest
from homeport.wire.base import empty, mixed_array

Tokens = list[int]
#: Inputs of one request.
MOST_INPUTS = 2048


class CreateEmbeddingRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """input: a text, texts, tokens, or lists of tokens; the list's items are all of one kind."""

    model: str
    input: str | list[str | int | Tokens]
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        if not isinstance(self.input, list):
            if not self.input:
                raise empty("input", "string")
            return
        if not self.input:
            raise empty("input", "array")
        if len({type(item) for item in self.input}) > 1:
            raise mixed_array("input")
        if not isinstance(self.input[0], int) and len(self.input) > MOST_INPUTS:
            raise InvalidRequest(
                f"Invalid 'input': array too long. Expected an array with maximum length {MOST_INPUTS}, but got an "
                f"array with length {len(self.input)} instead.",
                param="input",
                code="array_above_max_length",
            )
        for at, item in enumerate(self.input):
            if item in ("", []):
                raise empty(f"input[{at}]", "string" if item == "" else "array")

    @property
    def inputs(self) -> list[str] | list[Tokens]:
        """One item for each vector."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [cast("Tokens", self.input)]
        return cast("list[str] | list[Tokens]", self.input)


class Embedding(Struct):
    """embedding: numbers, or base64 of them as little-endian float32, as the request asked for. It stays raw JSON.

    object: always `embedding`; of an answer that came from elsewhere nobody looks at it.
    """

    index: int
    embedding: Raw
    object: str = "embedding"


class EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class CreateEmbeddingResponse(Struct):
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"
