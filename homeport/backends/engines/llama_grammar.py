"""Constraints as grammars of LLGuidance, which llama.cpp is built with.

The plain `json_schema` of llama.cpp goes through an older converter that loses patterns, bounds and formats; LLGuidance
keeps them. It allows any white space unless told otherwise, and small models then fill the answer with newlines.
Source: LLGuidance's Lark-like syntax (docs/syntax.md of the project).
"""

import json
from collections.abc import Mapping

from homeport.backends.text import Constraint, JsonObject, JsonSchema, ToolCalls

_HEAD = "%llguidance {}\n"
_COMPACT = {"whitespace_flexible": False}
#: What other programs read exactly (RFC 8259, section 6). Without bounds a small model writes digits to its limit.
_INTEGERS = {"minimum": -(2**53) + 1, "maximum": 2**53 - 1}
#: Keywords whose members are values, and those whose members are named by the client: neither are keywords.
_VALUES = ("const", "enum", "default", "examples")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def grammar(constraint: Constraint) -> str:
    match constraint:
        case JsonObject():
            return f"{_HEAD}start: {_json({'type': 'object'})}\n"
        case JsonSchema(schema):
            return f"{_HEAD}start: {_json(schema)}\n"
        case ToolCalls():
            return _HEAD + _tool_calls(constraint)


def _tool_calls(calls: ToolCalls) -> str:
    names = [f"call{number}" for number in range(len(calls.tools))]
    lines = [
        f"{rule}: {_json(_call(name, schema, calls.argument_key))}"
        for rule, (name, schema) in zip(names, calls.tools.items(), strict=True)
    ]
    one = f"{_quoted(calls.opening)} call {_quoted(calls.closing)}"
    first = f"calls: {one}" + (f" ({_quoted(calls.separator)} {one})*" if calls.parallel else "")
    start = "start: calls" if calls.required else "start: TEXT | TEXT? calls"
    text = [] if calls.required else [f"TEXT: {_text_without(calls.opening)}"]
    return "\n".join([start, first, f"call: {' | '.join(names)}", *lines, *text]) + "\n"


def _call(name: str, schema: Mapping[str, object], argument_key: str) -> dict[str, object]:
    place = "#/properties/" + argument_key
    arguments = _placed(schema, place) if schema else {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": name}, argument_key: arguments},
        "required": ["name", argument_key],
        "additionalProperties": False,
    }


def _text_without(opening: str) -> str:
    """Free text that cannot be mistaken for a call: it does not hold the mark, or is no JSON where there is none."""
    mark = opening.strip()
    if not mark:
        return r"/(?s:[^{].*)/"
    escaped = "".join(f"\\x{ord(letter):02x}" if not letter.isalnum() else letter for letter in mark)
    return rf"/(?s:.+)/ & ~/(?s:.*{escaped}.*)/"


def _placed(schema: object, place: str) -> object:
    """The schema as it must read at `place` of another: references to its own parts begin there."""
    if isinstance(schema, list):
        return [_placed(one, place) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    placed: dict[str, object] = {}
    for key, value in schema.items():
        if key in _VALUES:
            placed[key] = value
        elif key in _NAMED and isinstance(value, Mapping):
            placed[key] = {name: _placed(one, place) for name, one in value.items()}
        elif key == "$ref" and isinstance(value, str) and value.startswith("#"):
            placed[key] = place + value[1:]
        else:
            placed[key] = _placed(value, place)
    if schema.get("type") == "integer":
        placed = {**_INTEGERS, **placed}
    return placed


def _json(schema: Mapping[str, object]) -> str:
    """`%json {...}` on one line. A schema's own `x-guidance` is not the client's to set."""
    placed = _placed(schema, "#")
    assert isinstance(placed, dict)
    plain = {key: value for key, value in placed.items() if key != "x-guidance"}
    return "%json " + json.dumps({**plain, "x-guidance": _COMPACT}, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""
