"""Every object on the wire is what OpenAI's description says, the newest and the one of 2024."""

from typing import Any

import pytest

from tests import openapi
from tests.api.raw import Answer, ask, events
from tests.server import Running

COMPLETIONS = "/v1/completions"
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
USER = {"role": "user", "content": "hello brave new world"}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "several": {"n": 3, "user": "u-1", "metadata": {"team": "blue"}},
    "cut": {"max_completion_tokens": 3},
    "logprobs": {"logprobs": True, "top_logprobs": 2, "max_tokens": 5},
    "json": {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "json please"}]},
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY, "strict": True}}
    },
    "tools": {
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": CITY}}],
        "tool_choice": "required",
    },
    "functions": {"functions": [{"name": "weather", "parameters": CITY}], "function_call": {"name": "weather"}},
    "counted": {"stream_options": {"include_usage": True}},
}
TEXTS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "hello there"},
    "several": {"prompt": ["one", "two"], "n": 2},
    "logprobs": {"prompt": "hello", "logprobs": 2},
    "echo": {"prompt": "hello", "logprobs": 2, "echo": True},
    "tokens": {"prompt": [104, 105]},
}


@pytest.fixture(params=[openapi.NEWEST, openapi.OF_2024])
def description(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    openapi.description(name)
    return name


def chat(server: Running, variant: str, *, stream: bool) -> Answer:
    fields = {key: value for key, value in CHATS[variant].items() if stream or key != "stream_options"}
    answer = ask(server, body={"model": "gpt-4o", "messages": [USER], "stream": stream, **fields})
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("variant", CHATS)
def test_chat_completions(echo_server: Running, variant: str, description: str) -> None:
    openapi.validate("CreateChatCompletionResponse", chat(echo_server, variant, stream=False).json, description)


@pytest.mark.parametrize("variant", CHATS)
def test_chunks(echo_server: Running, variant: str, description: str) -> None:
    *chunks, done = events(chat(echo_server, variant, stream=True).body)
    assert done == "[DONE]"
    assert chunks
    for chunk in chunks:
        openapi.validate("CreateChatCompletionStreamResponse", chunk, description)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("variant", TEXTS)
def test_completions(echo_server: Running, variant: str, stream: bool, description: str) -> None:
    answer = ask(echo_server, path=COMPLETIONS, body={"model": "echo", "stream": stream, **TEXTS[variant]})
    assert answer.status == 200, answer.body
    objects = events(answer.body)[:-1] if stream else [answer.json]
    assert objects
    for one in objects:
        openapi.validate("CreateCompletionResponse", without_first_nulls(one), description)


def without_first_nulls(completion: dict[str, Any]) -> dict[str, Any]:
    """Nothing stands before the first token of an echoed prompt: its probability is null. The service says so, the
    description does not."""
    for choice in completion["choices"]:
        logprobs = choice["logprobs"]
        if logprobs and logprobs["token_logprobs"] and logprobs["token_logprobs"][0] is None:
            assert logprobs["top_logprobs"][0] is None
            logprobs["token_logprobs"][0], logprobs["top_logprobs"][0] = 0.0, {}
    return completion


def test_models(echo_server: Running, description: str) -> None:
    openapi.validate("ListModelsResponse", ask(echo_server, "GET", "/v1/models").json, description)
    openapi.validate("Model", ask(echo_server, "GET", "/v1/models/echo").json, description)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "echo"}),
        ("/v1/chat/completions", {"model": "nobody", "messages": [USER]}),
        ("/v1/chat/completions", b"{"),
        (COMPLETIONS, {"model": "echo", "prompt": "x", "temperature": 7}),
        ("/v1/nowhere", {}),
    ],
)
def test_errors(echo_server: Running, path: str, body: Any, description: str) -> None:
    answer = ask(echo_server, path=path, body=body)
    assert answer.status >= 400
    openapi.validate("ErrorResponse", answer.json, description)
