"""The older completions endpoint, through the official SDK."""

import openai
import pytest


def test_a_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="once upon a time", max_tokens=100)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.model == "echo"
    assert answer.choices[0].text == "once upon a time"


def test_the_default_is_sixteen_tokens(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt="x" * 100)
    assert answer.choices[0].text == "x" * 16
    assert answer.choices[0].finish_reason == "length"


def test_prompts_in_every_form(client: openai.OpenAI) -> None:
    texts = client.completions.create(model="echo", prompt=["ab", "cd"], n=2)
    assert [(choice.index, choice.text) for choice in texts.choices] == [(0, "ab"), (1, "ab"), (2, "cd"), (3, "cd")]
    assert client.completions.create(model="echo", prompt=[97, 98]).choices[0].text == "ab"
    lists = client.completions.create(model="echo", prompt=[[97], [98, 99]])
    assert [choice.text for choice in lists.choices] == ["a", "bc"]


def test_echo_puts_the_prompt_first(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt="ab", echo=True)
    assert answer.choices[0].text == "abab"


def test_logprobs_have_offsets(client: openai.OpenAI) -> None:
    logprobs = client.completions.create(model="echo", prompt="abc", logprobs=1).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["a", "b", "c"]
    assert logprobs.text_offset == [0, 1, 2] or logprobs.text_offset == [3, 4, 5]


def test_best_of_counts_all_and_returns_one(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt="abc", best_of=3)
    assert len(answer.choices) == 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 9


def test_a_stream(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="echo", prompt="one two three", stream=True, max_tokens=50))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "one two three"


@pytest.mark.parametrize(
    ("arguments", "param"),
    [({"logprobs": 6}, "logprobs"), ({"best_of": 1, "n": 2}, "best_of"), ({"suffix": "tail"}, "suffix")],
)
def test_refusals(client: openai.OpenAI, arguments: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="echo", prompt="abc", **arguments)  # type: ignore[call-overload]
    assert refused.value.param == param


def test_too_long(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="echo", prompt="x" * 8190, max_tokens=10)
    assert refused.value.code == "context_length_exceeded"
