"""Constraints as grammars of LLGuidance, which llama.cpp is built with.

The plain `json_schema` of llama.cpp goes through an older converter that loses patterns, bounds and formats; LLGuidance
keeps them. It allows any white space unless told otherwise, and small models then fill the answer with newlines.
Source: LLGuidance's Lark-like syntax (docs/syntax.md of the project).
"""

import json
from collections.abc import Mapping, Sequence

from homeport.backends.text import Constraint, JsonObject, JsonSchema, ToolCalls

_HEAD = "%llguidance {}\n"
_COMPACT = {"whitespace_flexible": False}
#: Calls are spaced as templates write them (`tojson`), so as models have learnt to: in another writing they are less
#: sure of everything that comes after, the end of their answer included.
_SPACED = {**_COMPACT, "item_separator": ", ", "key_separator": ": "}
#: What other programs read exactly (RFC 8259, section 6). Without bounds a small model writes digits to its limit.
_INTEGERS = {"minimum": -(2**53) + 1, "maximum": 2**53 - 1}
#: Calls in one answer: a small model may call again and again, to the end of its context.
MOST_CALLS = 16
#: Keywords whose members are values, and those whose members are named by the client: neither are keywords.
_VALUES = ("const", "enum", "default", "examples")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def grammar(constraint: Constraint, ends: Sequence[int] = ()) -> str:
    """ends: tokens that an answer may end with. LLGuidance is told one of them alone (the first that llama.cpp meets in
    the vocabulary, of SmolLM2 `<|endoftext|>`): a grammar that does not name the others forbids them, and a model that
    wants to end after a call has to call again."""
    end = f"end: <[{','.join(map(str, ends))}]>?\n" if ends else 'end: ""\n'
    match constraint:
        case JsonObject():
            return f"{_HEAD}start: {_json({'type': 'object'})} end\n{end}"
        case JsonSchema(schema):
            return f"{_HEAD}start: {_json(schema)} end\n{end}"
        case ToolCalls():
            return _HEAD + _tool_calls(constraint) + end


def _tool_calls(calls: ToolCalls) -> str:
    names = [f"call{number}" for number in range(len(calls.tools))]
    lines = [
        f"{rule}: {_json(_call(name, schema, calls.argument_key), _SPACED)}"
        for rule, (name, schema) in zip(names, calls.tools.items(), strict=True)
    ]
    opening = _quoted(calls.opening)
    rest = f"rest: call {_quoted(calls.closing)}"
    if calls.parallel:
        more = MOST_CALLS - 1
        rest += f" ({_quoted(calls.separator)} {opening} call {_quoted(calls.closing)}){{0,{more}}}"
    rest += " end"
    first = [f"start: {opening} rest"] if calls.required else _free(calls.opening)
    return "\n".join([*first, rest, f"call: {' | '.join(names)}", *lines]) + "\n"


def _free(opening: str) -> list[str]:
    """Text that holds no call, or text that becomes one at the first mark; where there is no mark, a call begins at the
    first character. Text is what *not* to match: a plain `.+` would forbid the token that ends the answer."""
    mark = opening.strip()
    if not mark:
        return ["start: FIRST TEXT | rest", "FIRST: /[^{]/", r"TEXT: ~/\x{0}/"]
    return [
        "start: TEXT | opened rest",
        f"opened[lazy]: /(?s:.*){_escaped(opening)}/",
        f"TEXT: ~/(?s:.*{_escaped(mark)}.*)/",
    ]


def _call(name: str, schema: Mapping[str, object], argument_key: str) -> dict[str, object]:
    place = "#/properties/" + argument_key
    arguments = _placed(schema, place) if schema else {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": name}, argument_key: arguments},
        "required": ["name", argument_key],
        "additionalProperties": False,
    }


def _escaped(text: str) -> str:
    return "".join([letter if letter.isalnum() else rf"\x{{{ord(letter):x}}}" for letter in text])


def _json(schema: Mapping[str, object], layout: Mapping[str, object] = _COMPACT) -> str:
    """`%json {...}` on one line. A schema's own `x-guidance` is not the client's to set."""
    placed = _placed(schema, "#")
    assert isinstance(placed, dict)
    plain = {key: value for key, value in placed.items() if key != "x-guidance"}
    return "%json " + json.dumps({**plain, "x-guidance": layout}, ensure_ascii=False)


def _placed(schema: object, place: str) -> object:
    """A schema as it stands at `place` of another one: its references lead from there, its integers have bounds."""
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
    return {**_bounds(placed), **placed}


def _bounds(schema: Mapping[str, object]) -> dict[str, int]:
    """Those that an integer lacks; none for one that has a bound of its own beyond them."""
    kind = schema.get("type")
    if kind != "integer" and not (isinstance(kind, list) and "integer" in kind and "number" not in kind):
        return {}
    own = [schema.get(key, 0) for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")]
    if any(isinstance(bound, int | float) and abs(bound) >= 2**53 - 1 for bound in own):
        return {}
    return _INTEGERS


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""
