"""Constraints as grammars: what does not need a model to be seen."""

import json
from typing import Any

from homeport.backends.engines.llama_grammar import grammar
from homeport.backends.text import JsonSchema, ToolCalls

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "$ref": {"type": "string"}, "leaf": {"$ref": "#/$defs/leaf"}},
    "$defs": {"leaf": {"const": {"$ref": "#/stays"}}},
}


def schemas(text: str) -> list[dict[str, Any]]:
    found = [line.partition("%json ")[2] for line in text.splitlines() if "%json " in line]
    return [json.JSONDecoder().raw_decode(one)[0] for one in found]


def test_references_lead_to_where_the_schema_stands() -> None:
    (alone,) = schemas(grammar(JsonSchema(NODE)))
    assert alone["properties"]["next"] == {"$ref": "#"}
    (call,) = schemas(grammar(ToolCalls({"f": NODE}, required=True, parallel=False)))
    arguments = call["properties"]["arguments"]
    assert arguments["properties"]["next"] == {"$ref": "#/properties/arguments"}
    assert arguments["properties"]["leaf"] == {"$ref": "#/properties/arguments/$defs/leaf"}


def test_names_and_values_of_the_client_are_no_keywords() -> None:
    (call,) = schemas(grammar(ToolCalls({"f": NODE}, required=True, parallel=False, argument_key="parameters")))
    arguments = call["properties"]["parameters"]
    assert arguments["properties"]["$ref"] == {"type": "string"}
    assert arguments["$defs"]["leaf"] == {"const": {"$ref": "#/stays"}}


def test_integers_without_bounds_get_those_that_others_can_read() -> None:
    most = 2**53 - 1
    kinds: dict[str, Any] = {
        "free": {"type": "integer"},
        "or_null": {"type": ["integer", "null"]},
        "small": {"type": "integer", "minimum": 0, "maximum": 9},
        "large": {"type": "integer", "minimum": 2**60},
        "number": {"type": "number"},
    }
    (bounded,) = schemas(grammar(JsonSchema({"type": "object", "properties": kinds})))
    found = bounded["properties"]
    assert (found["free"]["minimum"], found["free"]["maximum"]) == (-most, most)
    assert found["or_null"]["maximum"] == most
    assert found["small"] == kinds["small"]
    assert found["large"] == kinds["large"]
    assert found["number"] == kinds["number"]


def test_white_space_is_ours_to_set() -> None:
    (compact,) = schemas(grammar(JsonSchema({"type": "object", "x-guidance": {"whitespace_flexible": True}})))
    assert compact["x-guidance"] == {"whitespace_flexible": False}


def test_an_answer_may_end_with_each_of_the_models_own_ends() -> None:
    for constraint in (JsonSchema(NODE), ToolCalls({"f": NODE}, required=False, parallel=True)):
        assert "end: <[0,2]>?" in grammar(constraint, ends=(0, 2)).splitlines()


def test_marks_are_quoted() -> None:
    text = grammar(ToolCalls({"f": {}}, False, True, opening='<"a/\\>\n', closing='"\n', separator="\t"))
    assert '"\\"\\n"' in text
    assert '"\\t"' in text
    assert "opened[lazy]: /(?s:.*)\\x{3c}\\x{22}a\\x{2f}\\x{5c}\\x{3e}\\x{a}/" in text
