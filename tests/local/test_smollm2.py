"""The same code over real weights: the protocol, and facts only where this small model is known to be right."""

import json
from typing import Any

import pytest

from tests.llama import Llama
from tests.local.running import Json

CITY: Json = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 30},
        "population": {"type": "integer", "maximum": 99_999_999},
    },
    "required": ["city", "population"],
    "additionalProperties": False,
}
TOOL: Json = {"type": "function", "function": {"name": "city", "parameters": CITY}}


def choice_of(llama: Llama, text: str, **request: Any) -> Any:
    return llama.chat(text, max_tokens=100, **request).body["choices"][0]


def test_it_knows_the_capital_of_france(llama: Llama) -> None:
    choice = choice_of(llama, "What is the capital of France?")
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_a_forced_call_has_valid_arguments(llama: Llama) -> None:
    choice = choice_of(llama, "Tell me about Paris.", tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    assert choice["finish_reason"] == "tool_calls"
    assert set(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])) == {"city", "population"}


def test_a_schema_is_followed(llama: Llama) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    choice = choice_of(llama, "Describe Paris.", response_format=form)
    assert choice["finish_reason"] == "stop"
    assert set(json.loads(choice["message"]["content"])) == {"city", "population"}


def test_a_stream_says_what_a_plain_answer_says(llama: Llama) -> None:
    plain = choice_of(llama, "What is the capital of France?")
    streamed = llama.chat("What is the capital of France?", max_tokens=100, stream=True).body
    said = "".join([event["choices"][0]["delta"].get("content") or "" for event in streamed])
    assert said == plain["message"]["content"]
    assert streamed[-1]["choices"][0]["finish_reason"] == plain["finish_reason"]


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_counted_exactly(llama: Llama, stream: bool) -> None:
    question = [{"role": "user", "content": "Say something."}]
    answer = llama.ask(
        {"messages": question, "seed": 5, "max_tokens": 7, "logit_bias": {"2": -100}, "n": 3, "stream": stream}
    )
    assert answer.usage.completion == 3 * 7
    once = llama.ask({"messages": question, "max_tokens": 1})
    assert answer.usage.prompt == once.usage.prompt


def test_choices_differ_and_a_seed_repeats_them(llama: Llama) -> None:
    texts = [
        [
            choice["message"]["content"]
            for choice in llama.chat("Name a colour.", temperature=1, seed=11, n=3, max_tokens=12).body["choices"]
        ]
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


def test_neither_the_path_nor_the_librarys_words_are_told(llama: Llama) -> None:
    answer = llama.complete("Hello", max_tokens=1)
    assert b".gguf" not in answer.frames[0].data
    assert answer.body["model"] == "echo"  # the name that the call carries
    assert answer.body["system_fingerprint"].startswith("fp_")
    assert answer.body["id"].startswith("cmpl-")


def test_an_echoed_prompt_is_scored(llama: Llama) -> None:
    choice = llama.complete("The capital of France is Paris", max_tokens=1, echo=True, logprobs=2).body["choices"][0]
    assert choice["text"].startswith("The capital of France is Paris")
    lists = choice["logprobs"]
    assert lists["tokens"][:6] == ["The", " capital", " of", " France", " is", " Paris"]
    assert lists["token_logprobs"][0] is None
    assert lists["token_logprobs"][5] == max(lists["top_logprobs"][5].values())
    assert len({len(values) for values in lists.values()}) == 1


def test_a_clients_control_tokens_stay_characters(llama: Llama) -> None:
    (control,) = llama.tokens("<|im_start|>", special=True)
    plain = llama.tokens("<|im_start|>", special=False)
    assert len(plain) > 1
    assert control not in plain
