"""The older completions on `echo`."""

from typing import Any

import pytest

from homeport.backends.engines.echo import Echo
from homeport.errors import ContextLengthExceeded, InvalidRequest, UnsupportedParameter
from tests.local.running import Json, complete
from tests.local.test_chat import Script


def texts(prompt: Any, **request: Any) -> list[str]:
    choices = complete(prompt, **request).body["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    return [choice["text"] for choice in choices]


def test_a_plain_answer() -> None:
    answer = complete("hi")
    assert answer.body["id"].startswith("cmpl-")
    assert answer.body["object"] == "text_completion"
    assert answer.body["choices"] == [{"text": "hi", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert (answer.usage.prompt, answer.usage.completion) == (2, 2)
    assert answer.body["usage"]["total_tokens"] == 4


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ab", ["ab"]),
        (["ab", "c"], ["ab", "c"]),
        ([97, 98], ["ab"]),
        ([[97], [98, 99]], ["a", "bc"]),
        ("", [""]),
        ("x" * 20, ["x" * 16]),
    ],
)
def test_every_form_of_prompt(prompt: Any, expected: list[str]) -> None:
    assert texts(prompt) == expected


def test_choices_are_ordered_by_prompt() -> None:
    assert texts(["a", "b"], n=2) == ["a", "a", "b", "b"]
    answer = complete(["a", "bc"], n=2)
    assert (answer.usage.prompt, answer.usage.completion) == (3, 6)


def test_many_prompts_at_once() -> None:
    prompts = [f"prompt {number}" for number in range(100)]
    assert texts(prompts) == prompts


def test_the_same_seed_for_the_same_choice_of_every_prompt() -> None:
    engine = Script("x")
    complete(["a", "b"], n=2, seed=5, engine=engine)
    assert sorted((prompt, sampling.seed) for prompt, sampling, _ in engine.asked) == [
        ("a", 5),
        ("a", 6),
        ("b", 5),
        ("b", 6),
    ]


def test_echo_and_logprobs_go_from_the_prompts_beginning() -> None:
    (choice,) = complete("ab", echo=True, logprobs=1).body["choices"]
    assert choice["text"] == "abab"
    assert choice["logprobs"] == {
        "tokens": ["a", "b", "a", "b"],
        "token_logprobs": [None, 0.0, 0.0, 0.0],
        "top_logprobs": [None, {"b": 0.0}, {"a": 0.0}, {"b": 0.0}],
        "text_offset": [0, 1, 2, 3],
    }
    (choice,) = complete("ab", logprobs=0).body["choices"]
    assert choice["logprobs"] == {
        "tokens": ["a", "b"],
        "token_logprobs": [0.0, 0.0],
        "top_logprobs": None,
        "text_offset": [2, 3],
    }


def test_scoring_alone() -> None:
    answer = complete("ab", echo=True, logprobs=1, max_tokens=0)
    (choice,) = answer.body["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("ab", "length")
    assert choice["logprobs"]["tokens"] == ["a", "b"]
    assert (answer.usage.prompt, answer.usage.completion) == (2, 0)


def test_the_best_come_back_and_all_are_counted() -> None:
    answer = complete("abc", best_of=4, n=2)
    assert [choice["text"] for choice in answer.body["choices"]] == ["abc", "abc"]
    assert answer.usage.completion == 12


def test_best_of_goes_by_the_mean_logprob() -> None:
    from collections.abc import AsyncGenerator, Sequence

    from homeport.backends.text import Constraint, Piece, Sampling, TokenLogprob

    class Rated(Echo):
        async def generate(
            self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
        ) -> AsyncGenerator[Piece, None]:
            seed = sampling.seed or 0
            rating = {1: -5.0, 2: -1.0, 3: -3.0}[seed]
            tokens = tuple(TokenLogprob("x", rating, b"x", ()) for _ in range(seed))
            yield Piece(str(seed), tokens, finish="stop", completion_tokens=seed)

    answer = complete("abc", best_of=3, n=2, seed=1, engine=Rated())
    assert [(choice["index"], choice["text"]) for choice in answer.body["choices"]] == [(0, "2"), (1, "3")]
    assert answer.body["choices"][0]["logprobs"] is None
    assert answer.usage.completion == 6


def test_a_stream() -> None:
    answer = complete("one two", stream=True, echo=True, logprobs=0, stream_options={"include_usage": True})
    *chunks, last = answer.body
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["one twoone ", "two"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "stop"]
    offsets = [offset for chunk in chunks for offset in chunk["choices"][0]["logprobs"]["text_offset"]]
    assert offsets == list(range(14))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == answer.usage.completion == 7


def test_a_stream_of_several() -> None:
    answer = complete(["a b", "c"], stream=True, n=2)
    said = dict.fromkeys(range(4), "")
    for chunk in answer.body:
        (choice,) = chunk["choices"]
        said[choice["index"]] += choice["text"]
    assert list(said.values()) == ["a b", "a b", "c", "c"]
    assert answer.usage.prompt == 4


def test_the_beginning_of_a_text_where_there_is_no_prompt() -> None:
    engine = Script("x")
    engine._card = type(engine.card)(100, eos="<end>")
    answer = complete(None, engine=engine)
    assert engine.asked[0][0] == "<end>"
    assert answer.usage.prompt == 5
    engine._card = type(engine.card)(100, bos="<s>", add_bos=True)
    complete("ab", echo=True, logprobs=0, engine=engine)
    assert engine.asked[1][0] == "<s>ab"
    (choice,) = complete("ab", echo=True, logprobs=0, engine=engine).body["choices"]
    assert choice["text"] == "abx"
    assert choice["logprobs"]["tokens"] == ["a", "b"]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"suffix": "tail"}, "suffix"),
        ({"logit_bias": {"9": 1}}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
    ],
)
def test_refusals_name_the_parameter(request_: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        complete(**request_)
    assert caught.value.param == param


def test_an_engine_without_logprobs_cannot_rank() -> None:
    class Silent(Echo):
        def refuses(self, sampling: Any, constraint: Any) -> str | None:
            return "logprobs" if sampling.top_logprobs is not None else None

    for request, param in (({"best_of": 2}, "best_of"), ({"logprobs": 1}, "logprobs")):
        with pytest.raises(UnsupportedParameter) as caught:
            complete(engine=Silent(), **request)
        assert caught.value.param == param


def test_too_long_is_told_with_the_numbers() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        complete(["short", "x" * 8190], max_tokens=10)
    assert caught.value.message == (
        "This model's maximum context length is 8192 tokens, however you requested 8200 tokens (8190 in your prompt; "
        "10 for the completion). Please reduce your prompt; or completion length."
    )
    assert caught.value.param == "prompt"


def test_ids_outside_the_vocabulary_are_the_prompts_fault() -> None:
    with pytest.raises(InvalidRequest) as caught:
        complete([55296])
    assert caught.value.param == "prompt"
