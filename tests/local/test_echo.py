"""The engine without weights keeps the promises of text.TextEngine, exactly."""

import asyncio
import json
from contextlib import aclosing

import pytest

from homeport.backends.engines.echo import Echo
from homeport.backends.engines.instances import NoInstance, smallest
from homeport.backends.engines.patterns import NoExample, example
from homeport.backends.text import Constraint, JsonObject, JsonSchema, Piece, Sampling, TextEngine, ToolCalls
from homeport.errors import InvalidRequest

ENGINE: TextEngine = Echo()


def generated(text: str, sampling: Sampling, constraint: Constraint | None = None) -> list[Piece]:
    async def run() -> list[Piece]:
        prompt = await ENGINE.tokenize(text, special=False)
        async with aclosing(ENGINE.generate(prompt, sampling, constraint)) as pieces:
            return [piece async for piece in pieces]

    return asyncio.run(run())


def test_it_says_the_prompt_word_by_word() -> None:
    pieces = generated("Hé llo 😀", Sampling(100))
    assert [piece.text for piece in pieces] == ["Hé ", "llo ", "😀"]
    assert [piece.finish for piece in pieces] == [None, None, "stop"]
    assert pieces[-1].completion_tokens == 8


@pytest.mark.parametrize(
    ("sampling", "text", "finish"),
    [
        (Sampling(3), "abc", "length"),
        (Sampling(6), "abc de", "stop"),
        (Sampling(9, stop=("c d",)), "ab", "stop"),
        (Sampling(9, stop=("zz", "e", "b")), "a", "stop"),
        (Sampling(2, stop=("c",)), "ab", "length"),
    ],
)
def test_it_ends_where_it_must(sampling: Sampling, text: str, finish: str) -> None:
    pieces = generated("abc de", sampling)
    assert "".join([piece.text for piece in pieces]) == text
    assert pieces[-1].finish == finish
    assert pieces[-1].completion_tokens == len(text)


def test_an_empty_prompt_is_answered_with_nothing() -> None:
    assert generated("", Sampling(5)) == [Piece("", finish="stop")]


def test_every_token_is_certain() -> None:
    (piece,) = generated("é", Sampling(5, top_logprobs=2))
    (token,) = piece.logprobs
    assert (token.token, token.logprob, token.bytes) == ("é", 0.0, "é".encode())
    assert [alternative.token for alternative in token.top] == ["é"]
    scores = asyncio.run(ENGINE.score([97, 98], 0))
    assert scores[0] is None
    assert scores[1] is not None
    assert scores[1].top == ()


def test_forms_are_answered_with_the_smallest_instance() -> None:
    def answer(constraint: Constraint) -> str:
        return "".join([piece.text for piece in generated("hi", Sampling(200), constraint)])

    schema: dict[str, object] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert json.loads(answer(JsonObject())) == {"echo": "hi"}
    assert json.loads(answer(JsonSchema(schema))) == {"a": ""}
    assert (
        answer(ToolCalls({"f": schema, "g": {}}, required=True, parallel=True))
        == '<tool_call>\n{"name": "f", "arguments": {"a": ""}}\n</tool_call>'
    )


def test_what_it_cannot_do_it_refuses() -> None:
    assert ENGINE.refuses(Sampling(1, logit_bias={1: 2.0}), None) == "logit_bias"
    assert ENGINE.refuses(Sampling(1, temperature=2.0, seed=1), JsonObject()) is None
    with pytest.raises(InvalidRequest) as caught:
        generated("x", Sampling(1), JsonSchema({"not": {}}))
    assert caught.value.param == "response_format"
    with pytest.raises(InvalidRequest):
        asyncio.run(ENGINE.detokenize([0xD800]))


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({}, None),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 0}, 0),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMaximum": -2}, -3),
        ({"type": "number", "minimum": 0.5, "multipleOf": 0.25}, 0.5),
        ({"type": ["string", "null"]}, ""),
        ({"type": "array", "items": {"enum": ["x"]}, "minItems": 2}, ["x", "x"]),
        ({"type": "string", "format": "date", "minLength": 3}, "1970-01-01"),
        ({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}, "AA-0"),
        ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}]}, {"a": False}),
        (
            {
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                        "required": ["next"],
                    }
                },
                "$ref": "#/$defs/node",
            },
            {"next": None},
        ),
    ],
)
def test_smallest_instances(schema: dict[str, object], instance: object) -> None:
    assert smallest(schema) == instance


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {}},
        {"$ref": "https://example.com/schema"},
        {"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": "string", "pattern": "^(?=x)"},
    ],
)
def test_what_has_no_small_instance_is_told(schema: dict[str, object]) -> None:
    with pytest.raises(NoInstance):
        smallest(schema)


@pytest.mark.parametrize(
    "pattern", [r"^\d{4}-\d\d$", "^(foo|bar)+$", "[^a-z]", "^a*$", r"\w+@\w+\.com", "^(?:x{2,5}y?)$"]
)
@pytest.mark.parametrize("least", [0, 1])
def test_examples_of_patterns(pattern: str, least: int) -> None:
    assert len(example(pattern, least)) >= least


def test_patterns_beyond_it_are_refused() -> None:
    with pytest.raises(NoExample):
        example(r"(a)\1")
