"""Grammars of our own, through LLGuidance: JSON schemas with their bounds and patterns, and tool calls."""

import json
import re

import jsonschema
import pytest

from homeport.backends.engines import llama_grammar
from homeport.backends.text import JsonObject, JsonSchema, Sampling, ToolCalls
from tests.llama import Llama

ASKED = "<|im_start|>user\nTell me about Paris in JSON.<|im_end|>\n<|im_start|>assistant\n"
BOUNDED = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2}$"},
        "count": {"type": "integer", "minimum": 7, "maximum": 9},
        "day": {"type": "string", "format": "date"},
        "kind": {"enum": ["a", "ä"]},
        "some": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    },
    "required": ["code", "count", "day", "kind", "some"],
    "additionalProperties": False,
}
NUMBER = {
    "type": "object",
    "properties": {"number": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["number"],
    "additionalProperties": False,
}
TOOLS = {"dice": NUMBER, "coin": {"type": "object", "properties": {}, "additionalProperties": False}}
CALL = r'<tool_call>\n\{"name": "(dice|coin)", "arguments": (\{[^}]*\})\}\n</tool_call>'


def random(max_tokens: int = 100, *, seed: int = 3) -> Sampling:
    """Hot, so that nothing but the grammar keeps the text in shape."""
    return Sampling(max_tokens, temperature=1.5, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_schemas_bounds_patterns_and_formats_are_kept(llama: Llama, seed: int) -> None:
    """The library's own `json_schema` loses them."""
    answer = llama.say(ASKED, random(seed=seed), JsonSchema(BOUNDED))
    assert answer.finish == "stop"
    jsonschema.Draft202012Validator(BOUNDED, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        json.loads(answer.text)
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_white_space_fills_the_answer(llama: Llama, seed: int) -> None:
    text = llama.say(ASKED, random(seed=seed), JsonSchema(BOUNDED)).text
    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def test_a_schemas_own_guidance_is_not_the_clients_to_set(llama: Llama) -> None:
    loose = {**NUMBER, "x-guidance": {"whitespace_flexible": True, "whitespace_pattern": " {5}"}}
    assert " " not in llama.say(ASKED, random(), JsonSchema(loose)).text


def test_any_object(llama: Llama) -> None:
    answer = llama.say("Write {} and nothing else:", Sampling(200, temperature=0.0), JsonObject())
    assert answer.text.startswith("{")
    assert answer.finish == "length" or isinstance(json.loads(answer.text), dict)


@pytest.mark.parametrize("seed", range(4))
def test_a_required_call_is_made(llama: Llama, seed: int) -> None:
    """The model has never seen these tools: the library alone would answer with free text."""
    answer = llama.say(ASKED, random(seed=seed), ToolCalls(TOOLS, required=True, parallel=False))
    assert answer.finish == "stop"
    call = re.fullmatch(CALL, answer.text)
    assert call is not None, answer.text
    jsonschema.validate(json.loads(call[2]), TOOLS[call[1]])


def test_several_calls_one_after_the_other(llama: Llama) -> None:
    texts = [
        llama.say(ASKED, random(80, seed=seed), ToolCalls(TOOLS, required=True, parallel=True)).text
        for seed in range(4)
    ]
    for text in texts:
        whole = re.match(rf"{CALL}(\n{CALL})*", text)
        assert whole is not None
        assert "<tool_call>".startswith(text[whole.end() :].strip()[:11])


def test_a_model_that_calls_for_ever_is_ended(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy, this one repeats its first call until its context is full."""
    monkeypatch.setattr(llama_grammar, "MOST_CALLS", 4)
    tools: dict[str, dict[str, object]] = {"toss": {"type": "object", "additionalProperties": False}}
    answer = llama.say(ASKED, Sampling(400, temperature=0.0), ToolCalls(tools, required=True, parallel=True))
    assert answer.finish == "stop"
    assert 1 < answer.text.count("<tool_call>") <= 4


def test_a_model_that_wants_to_end_after_a_call_may(llama: Llama) -> None:
    """By any token that ends its turns; LLGuidance is told of one only."""
    tools: dict[str, dict[str, object]] = {"toss": {"type": "object", "additionalProperties": False}}
    for end in ("<|im_end|>", "<|endoftext|>"):
        (token,) = llama.tokens(end, special=True)
        ending = Sampling(300, temperature=0.0, logit_bias={token: 100})
        answer = llama.say(ASKED, ending, ToolCalls(tools, required=True, parallel=True))
        assert answer.text.count("<tool_call>") == 1
        assert answer.finish == "stop"


def test_free_text_is_allowed_where_no_call_is_required(llama: Llama) -> None:
    free = ToolCalls(TOOLS, required=False, parallel=True)
    question = ASKED.replace("Tell me about Paris in JSON.", "What is the capital of France?")
    assert llama.say(question, Sampling(20, temperature=0.0), free).text == "The capital of France is Paris."


HABIT = """<|im_start|>user
Say sure, then toss the coin.<|im_end|>
<|im_start|>assistant
I do it: Sure.
<tool_call>
{"name":"toss"}
</tool_call>
Again: Sure.
<tool_call>
{"name":"toss"}
</tool_call>
Again:"""


def test_a_call_behind_free_text_must_be_a_right_one(llama: Llama) -> None:
    """The model would go on calling a tool that does not exist."""
    greedy = Sampling(60, temperature=0.0)
    assert '"toss"' in llama.say(HABIT, greedy).text
    answer = llama.say(HABIT, greedy, ToolCalls(TOOLS, required=False, parallel=False))
    text, mark, call = answer.text.partition("<tool_call>")
    assert text.strip() == "Sure."
    assert re.fullmatch(CALL, mark + call)
    assert answer.finish == "stop"


def test_text_that_is_no_call_where_calls_have_no_mark(llama: Llama) -> None:
    free = ToolCalls({"dice": NUMBER}, False, False, "", "", "; ", "parameters")
    question = ASKED.replace("Tell me about Paris in JSON.", "What is the capital of France?")
    assert llama.say(question, Sampling(20, temperature=0.0), free).text == "The capital of France is Paris."
    (brace,) = llama.tokens("{")
    call = llama.say(question, Sampling(60, temperature=0.0, logit_bias={brace: 100}), free).text
    assert call.startswith('{"name": "dice", "parameters": {"number": ')


@pytest.mark.parametrize(
    ("opening", "closing", "separator", "key"),
    [("[TOOL_CALLS][", "]", ", ", "arguments"), ("", "", "; ", "parameters")],
)
def test_other_marks(llama: Llama, opening: str, closing: str, separator: str, key: str) -> None:
    calls = ToolCalls({"dice": NUMBER}, True, False, opening, closing, separator, key)
    text = llama.say(ASKED, random(), calls).text
    inner = json.loads(text.removeprefix(opening).removesuffix(closing))
    assert list(inner) == ["name", key]
    jsonschema.validate(inner[key], NUMBER)


def test_a_limit_cuts_a_constrained_answer(llama: Llama) -> None:
    answer = llama.say(ASKED, random(4), JsonSchema(BOUNDED))
    assert (answer.finish, answer.tokens) == ("length", 4)
    assert answer.text.startswith('{"')


def test_a_constraint_and_logprobs(llama: Llama) -> None:
    answer = llama.say(ASKED, Sampling(60, temperature=0.0, top_logprobs=2), JsonSchema(NUMBER))
    assert "".join([one.token for one in answer.logprobs]) == answer.text
    assert json.loads(answer.text)["number"] in range(100)
