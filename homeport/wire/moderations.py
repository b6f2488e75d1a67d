"""Moderations. Source: CreateModerationRequest and CreateModerationResponse."""

from typing import Any, Literal

from msgspec import Struct

from homeport.errors import InvalidRequest
from homeport.wire.base import empty

#: The model that is asked where a request names none.
DEFAULT_MODEL = "omni-moderation-latest"
#: Inputs of one request, and characters of all of them together.
MOST_INPUTS = 2048
MOST_CHARACTERS = 1_000_000


class ModerationTextInput(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str


class ModerationImageURL(Struct, forbid_unknown_fields=True):
    url: str


class ModerationImageURLInput(Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    image_url: ModerationImageURL


class CreateModerationRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """input: a text, texts, or parts, which together are one input."""

    model: str = DEFAULT_MODEL
    input: str | list[str | ModerationTextInput | ModerationImageURLInput]

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        if isinstance(self.input, str):
            return
        if not self.input:
            raise empty("input", "array")
        if len({isinstance(item, str) for item in self.input}) > 1:
            raise InvalidRequest(
                "Invalid 'input': an array holds texts, or objects with a 'type', and not both.",
                param="input",
                code="invalid_value",
            )
        if len(self.input) > MOST_INPUTS:
            raise InvalidRequest(
                f"Invalid 'input': array too long. Expected an array with maximum length {MOST_INPUTS}, but got an "
                f"array with length {len(self.input)} instead.",
                param="input",
                code="array_above_max_length",
            )


class Moderation(Struct):
    """flagged: whether any category is. The others: by category."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]


class CreateModerationResponse(Struct):
    id: str
    model: str
    results: list[Moderation]


class ModerationResults(Struct):
    """Of an answer from anywhere, as much as is asked of it. categories: one that the model does not judge is null."""

    class Result(Struct):
        flagged: bool
        categories: dict[str, bool | None] = {}
        category_scores: dict[str, Any] = {}

    results: list[Result]
    model: str | None = None
