"""The smallest instance of a JSON schema: what `echo` answers where a form is forced.

It fills in what is required and no more, takes the first of each choice that works out, and counts on nobody's luck:
the caller gets only what the schema admits (JSON Schema 2020-12), or a refusal.
"""

import math
from collections.abc import Mapping
from typing import Any

import jsonschema
import jsonschema.exceptions
import referencing
import referencing.exceptions

from homeport.backends.engines.patterns import NoExample, example

FORMATS = {
    "date-time": "1970-01-01T00:00:00Z",
    "date": "1970-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@b.c",
    "hostname": "localhost",
    "ipv4": "0.0.0.0",
    "ipv6": "::",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "uri": "a:b",
}


class NoInstance(Exception):
    """The schema asks for something that this does not know how to make."""


def smallest(schema: Mapping[str, object]) -> object:
    """Raises NoInstance."""
    instance = _Maker(schema).make(schema, ())
    try:
        _validator(schema).validate(instance)
    except (jsonschema.exceptions.ValidationError, referencing.exceptions.Unresolvable, RecursionError) as exc:
        raise NoInstance("no small instance of this schema was found") from exc
    return instance


def _validator(schema: Mapping[str, object]) -> Any:
    """An empty registry: a reference to elsewhere is an error, not a download."""
    return jsonschema.Draft202012Validator(dict(schema), registry=referencing.Registry())


class _Maker:
    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root

    def make(self, schema: object, inside: tuple[str, ...]) -> object:
        """inside: the references being followed, so that a schema that contains itself ends."""
        if schema is True:
            return None
        if not isinstance(schema, Mapping):
            raise NoInstance("a schema that is `false` admits nothing")
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[0]
        if isinstance(reference := schema.get("$ref"), str):
            if reference in inside:
                raise NoInstance("a schema that must contain itself has no end")
            return self.make(_merged(_without(schema, "$ref"), self._at(reference)), (*inside, reference))
        if isinstance(every := schema.get("allOf"), list):
            rest: Mapping[str, object] = _without(schema, "allOf")
            for part in every:
                rest = _merged(rest, self._resolved(part))
            return self.make(rest, inside)
        for key in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(key), list):
                return self._first(choices, _without(schema, key), inside)
        return self._of_type(schema, inside)

    def _first(self, choices: list[object], rest: Mapping[str, object], inside: tuple[str, ...]) -> object:
        failure = NoInstance("a choice of nothing")
        for choice in choices:
            try:
                return self.make(_merged(rest, choice), inside)
            except NoInstance as exc:
                failure = exc
        raise failure

    def _of_type(self, schema: Mapping[str, Any], inside: tuple[str, ...]) -> object:
        kind = schema.get("type", _implied(schema))
        if isinstance(kind, list):
            return self._first([{"type": one} for one in kind], _without(schema, "type"), inside)
        match kind:
            case "object":
                properties = schema.get("properties", {})
                return {
                    name: self.make(properties.get(name, schema.get("additionalProperties", True)), inside)
                    for name in schema.get("required", ())
                }
            case "array":
                first = schema.get("prefixItems", [])
                count = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
                rest = schema.get("items", schema.get("contains", True))
                return [self.make(first[at] if at < len(first) else rest, inside) for at in range(_sane(count))]
            case "string":
                return _string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
            case "null" | None:
                return None
        raise NoInstance(f"the type {kind!r} is unknown")

    def _resolved(self, schema: object) -> object:
        seen = 0
        while isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
            seen += 1
            if seen > 100:
                raise NoInstance("a reference leads back to itself")
            schema = _merged(_without(schema, "$ref"), self._at(reference))
        return schema

    def _at(self, reference: str) -> object:
        if not reference.startswith("#"):
            raise NoInstance(f"the reference {reference!r} leads out of the schema")
        target: object = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdigit() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise NoInstance(f"the reference {reference!r} leads nowhere")
        return target


def _without(schema: Mapping[str, object], key: str) -> dict[str, object]:
    return {k: v for k, v in schema.items() if k != key}


def _merged(one: Mapping[str, object], other: object) -> Mapping[str, object]:
    """Both at once, as far as one level goes; what that gets wrong, the final validation refuses."""
    if other is True:
        return one
    if not isinstance(other, Mapping):
        raise NoInstance("a schema that is `false` admits nothing")
    merged = {**one, **other}
    for key in ("properties", "$defs"):
        here, there = one.get(key), other.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            merged[key] = {**here, **there}
    here, there = one.get("required"), other.get("required")
    if isinstance(here, list) and isinstance(there, list):
        merged["required"] = list(dict.fromkeys([*here, *there]))
    return merged


def _implied(schema: Mapping[str, object]) -> str | None:
    """The type that the other keywords speak of, where none is named."""
    for keys, kind in (
        (("properties", "required", "additionalProperties"), "object"),
        (("items", "prefixItems", "minItems"), "array"),
        (("pattern", "minLength", "format"), "string"),
        (("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"), "number"),
    ):
        if any(key in schema for key in keys):
            return kind
    return None


def _sane(count: int) -> int:
    if count > 10_000:
        raise NoInstance(f"{count} items or characters are too many")
    return count


def _string(schema: Mapping[str, Any]) -> str:
    least = _sane(schema.get("minLength", 0))
    if "pattern" in schema:
        try:
            return example(schema["pattern"], least)
        except NoExample as exc:
            raise NoInstance(f"the pattern {schema['pattern']!r} is beyond it: {exc}") from exc
    return FORMATS.get(schema.get("format", ""), "").ljust(least, "x")


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf", 1 if whole else None)
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low < 0 < high:
        return 0
    for near in (0, low, high, (low + high) / 2):
        if not math.isfinite(near):
            continue
        candidates = [near] if step is None else [math.ceil(near / step) * step, math.floor(near / step) * step]
        spread = step or 1
        for value in [c + d for c in candidates for d in (0, spread, -spread)]:
            if _validator(schema).is_valid(value):
                return int(value) if whole or value == int(value) else value
    raise NoInstance("no number fits its bounds")
