"""`response_format`: what constrains the decoding, and what judges the result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from homeport.backends.local import schemas
from homeport.backends.local.schemas import Place
from homeport.backends.text import Constraint, JsonObject, JsonSchema
from homeport.errors import HomeportError


@dataclass(frozen=True, slots=True)
class Form:
    """constraint: for the engine; instruction: words for the system message, where the client gave a description."""

    constraint: Constraint
    instruction: str
    _follows: Callable[[object], bool]

    def judge(self, text: str) -> None:
        """Raises HomeportError for a finished answer that is not what was promised: better no answer than a lie."""
        try:
            good = self._follows(msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError):
            good = False
        if not good:
            raise HomeportError(
                "The model's answer does not follow `response_format`. Try again, or with another seed.",
                code="invalid_model_output",
            )


def form_of(response_format: Mapping[str, Any] | None) -> Form | None:
    """None for text. Raises InvalidRequest for a schema that is none, or that breaks OpenAI's rules for strict ones."""
    kind = response_format["type"] if response_format else "text"
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return Form(JsonObject(), "", _is_object)
    wanted = response_format["json_schema"]
    name, schema = wanted["name"], wanted.get("schema")
    instruction = f"Answer with {name}: {wanted['description']}" if wanted.get("description") else ""
    if schema is None:
        return Form(JsonObject(), instruction, _is_object)
    place = Place(f"response_format '{name}'", "response_format")
    schemas.check(schema, place, strict=bool(wanted.get("strict")))
    return Form(JsonSchema(schema), instruction, schemas.validator(schema))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
