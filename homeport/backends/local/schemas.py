"""A client's JSON schema: checked before anything is generated, and what was generated checked against it.

Sources: JSON Schema 2020-12, and OpenAI's rules for strict schemas (guide "Structured Outputs", supported schemas): the
root is an object, every object forbids other properties and requires its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema
import jsonschema.exceptions
import msgspec
import referencing
import referencing.exceptions

from homeport.errors import InvalidRequest

Schema = Mapping[str, object]
NOT_STRICT = ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "patternProperties")
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a schema stands in the request: what the message calls it, the parameter, OpenAI's code for it."""

    what: str
    param: str
    code: str | None = None

    def error(self, message: str) -> InvalidRequest:
        return InvalidRequest(f"Invalid schema for {self.what}: {message}", param=self.param, code=self.code)


def check(schema: Schema, place: Place, *, strict: bool) -> None:
    """Raises InvalidRequest in OpenAI's words."""
    if problem := _problem(msgspec.json.encode(schema), strict):
        raise place.error(problem)


def validator(schema: Schema) -> Callable[[object], bool]:
    """Does a value follow this (checked) schema?"""
    judge = _judge(schema)

    def follows(value: object) -> bool:
        try:
            return bool(judge.is_valid(value))
        except RecursionError:  # a schema that refers to itself and never comes to an end
            return False

    return follows


def _judge(schema: Schema) -> Any:
    """An empty registry: a reference to elsewhere must not become a download."""
    return jsonschema.Draft202012Validator(dict(schema), registry=referencing.Registry())


@lru_cache(maxsize=256)
def _problem(encoded: bytes, strict: bool) -> str | None:
    """Schemas come again with every request of a program, and checking one takes milliseconds."""
    schema: dict[str, object] = msgspec.json.decode(encoded)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        return f"In context={_context(tuple(error.absolute_path))}, {error.message[:500]}."
    except RecursionError:
        return "it is nested too deeply."
    if strict and schema.get("type") != "object":
        found = schema.get("type")
        return "schema must be a JSON Schema of 'type: \"object\"', got " + f"'type: {_quoted(found)}'."
    return _walk(schema, schema, (), strict)


def _walk(node: object, root: Schema, path: tuple[object, ...], strict: bool) -> str | None:
    """References lead to a place in this schema; in strict ones objects are closed."""
    if len(path) > DEEPEST:
        return "it is nested too deeply."
    if not isinstance(node, Mapping):
        return None
    reference = node.get("$ref")
    if isinstance(reference, str) and not _resolves(reference, root):
        return f"In context={_context(path)}, reference {reference!r} does not point to a place in this schema."
    if strict and (problem := _unclosed(node, path)):
        return problem
    for key, value in node.items():
        if key in ("const", "enum", "default", "examples"):
            continue
        parts: list[tuple[tuple[object, ...], object]] = []
        if isinstance(value, list):
            parts = [((*path, key, str(at)), part) for at, part in enumerate(value)]
        elif key in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
            parts = [((*path, key, name), part) for name, part in value.items()]
        elif isinstance(value, Mapping):
            parts = [((*path, key), value)]
        for where, part in parts:
            if problem := _walk(part, root, where, strict):
                return problem
    return None


def _unclosed(node: Mapping[str, Any], path: tuple[object, ...]) -> str | None:
    """OpenAI's two rules for objects, and what it does not permit."""
    for key in NOT_STRICT:
        if key in node:
            return f"In context={_context(path)}, {key!r} is not permitted."
    kind = node.get("type")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind) and "properties" not in node:
        return None
    if node.get("additionalProperties") is not False:
        return f"In context={_context(path)}, 'additionalProperties' is required to be supplied and to be false."
    required = node.get("required", [])
    for name in node.get("properties", {}):
        if name not in required:
            return (
                f"In context={_context(path)}, 'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing {name!r}."
            )
    return None


def _resolves(reference: str, root: Schema) -> bool:
    if not reference.startswith("#"):
        return False
    try:
        resource = referencing.jsonschema.DRAFT202012.create_resource(root)
        referencing.Registry().resolver_with_root(resource).lookup(reference)
    except (referencing.exceptions.Unresolvable, referencing.exceptions.NoSuchResource):
        return False
    return True


def _context(path: tuple[object, ...]) -> str:
    """As OpenAI prints it, a Python tuple: (), ('properties', 'a')."""
    return str(tuple(str(step) for step in path))


def _quoted(kind: object) -> str:
    return "None" if kind is None else f'"{kind}"'
