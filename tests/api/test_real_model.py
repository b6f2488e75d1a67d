"""The default model behind the official SDK: the protocol over real weights, and facts only where it is known to be
right."""

import json
import re
import sqlite3
import time
from contextlib import closing
from typing import Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from homeport.settings import DEFAULT_MODEL
from tests.api.raw import connect, request_bytes
from tests.server import Running

FRANCE: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
STORY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a story about the sea."}]


class Climate(BaseModel):
    summer: Literal["warm", "mild", "cold"]
    days_of_rain: int


class City(BaseModel):
    """Its JSON schema has a `$ref`, as those of nested models have."""

    name: str
    climate: Climate


def test_existing_code_gets_an_answer_and_learns_what_ran(real_client: openai.OpenAI) -> None:
    answer = real_client.chat.completions.create(model="gpt-4o-mini", messages=FRANCE, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == DEFAULT_MODEL
    assert answer.system_fingerprint is not None


def test_a_stream_is_the_same_text(real_client: openai.OpenAI) -> None:
    plain = real_client.chat.completions.create(model="gpt-4", messages=FRANCE, temperature=0)
    *chunks, counted = real_client.chat.completions.create(
        model="gpt-4", messages=FRANCE, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    assert counted.usage is not None
    assert plain.usage is not None
    assert counted.usage.completion_tokens == plain.usage.completion_tokens
    assert counted.usage.prompt_tokens == plain.usage.prompt_tokens


def test_the_same_seed_gives_the_same_text(real_client: openai.OpenAI) -> None:
    texts = [
        real_client.chat.completions.create(model="gpt-4", messages=STORY, seed=seed, max_tokens=24)
        .choices[0]
        .message.content
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_several_choices_are_counted_together(real_client: openai.OpenAI) -> None:
    answer = real_client.chat.completions.create(model="gpt-4", messages=STORY, n=3, max_tokens=8, seed=1)
    assert [choice.finish_reason for choice in answer.choices] == ["length"] * 3
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24


def test_parse_gives_a_valid_object(real_client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Describe Paris as JSON."}]
    answer = real_client.chat.completions.parse(
        model="gpt-4o", messages=messages, response_format=City, temperature=0, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_required_tool_is_called(real_client: openai.OpenAI) -> None:
    answer = real_client.chat.completions.create(
        model="gpt-4o",
        messages=FRANCE,
        tools=[openai.pydantic_function_tool(City)],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=200,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].type == "function"
    City.model_validate_json(choice.message.tool_calls[0].function.arguments)


def test_logprobs_of_the_likeliest_tokens(real_client: openai.OpenAI) -> None:
    answer = real_client.chat.completions.create(
        model="gpt-4", messages=FRANCE, temperature=0, logprobs=True, top_logprobs=3, max_tokens=6
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 6
    assert "".join(token.token for token in logprobs.content) == answer.choices[0].message.content
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token
        assert token.logprob <= 0


def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(real_client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError) as refused:
        real_client.chat.completions.create(model="gpt-4", messages=messages, stream=True)
    assert refused.value.code == "context_length_exceeded"
    assert "20" in refused.value.message


def test_completions_score_their_prompt(real_client: openai.OpenAI) -> None:
    answer = real_client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="The capital of France is", max_tokens=0, echo=True, logprobs=1
    )
    assert answer.choices[0].text == "The capital of France is"
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert "".join(logprobs.tokens or []) == "The capital of France is"
    assert [value is None or value <= 0 for value in logprobs.token_logprobs] == [True] * len(logprobs.tokens or [])


def test_a_completion_goes_on_with_the_text(real_client: openai.OpenAI) -> None:
    answer = real_client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="The capital of France is", max_tokens=5, temperature=0
    )
    assert "Paris" in answer.choices[0].text


def test_a_client_that_leaves_ends_its_request(real_server: Running) -> None:
    """The ledger's row says `left` once the generation has let go; 1,500 tokens would take many times as long."""
    body = {"model": "gpt-4", "messages": STORY, "stream": True, "max_tokens": 1500, "logit_bias": {"2": -100}}
    seen = b""
    with connect(real_server) as leaver:
        leaver.sendall(request_bytes(body))
        while seen.count(b"data: ") < 3:
            seen += leaver.recv(65536)
    found = re.search(rb"x-request-id: (\S+)", seen)
    assert found is not None
    assert outcome_of(real_server, found[1].decode()) == "left"


def outcome_of(server: Running, request_id: str) -> str | None:
    """What the usage log says of a request; None after 5 s without a row."""
    deadline = time.monotonic() + 5
    with closing(sqlite3.connect(server.data / "usage.db")) as log:
        while time.monotonic() < deadline:
            row = log.execute("SELECT outcome FROM usage WHERE request_id = ?", (request_id,)).fetchone()
            if row is not None:
                return str(row[0])
            time.sleep(0.02)
    return None


def test_json_mode_is_one_object(real_client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Describe Paris in JSON, shortly."}]
    answer = real_client.chat.completions.create(
        model="gpt-4", messages=messages, response_format={"type": "json_object"}, seed=3, max_tokens=400
    )
    choice = answer.choices[0]
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content or ""), dict)
    else:
        assert choice.finish_reason == "length"
