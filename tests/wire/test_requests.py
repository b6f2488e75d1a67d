"""Requests are decoded as OpenAI's service does: the same types and ranges, the same words, the same `param`."""

import json
from typing import Any

import msgspec
import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from homeport.errors import InvalidRequest
from homeport.wire.base import decode
from homeport.wire.chat import CreateChatCompletionRequest
from homeport.wire.completions import CreateCompletionRequest
from tests import openapi

CHAT = msgspec.json.Decoder(CreateChatCompletionRequest)
COMPLETION = msgspec.json.Decoder(CreateCompletionRequest)
USER = {"role": "user", "content": "x"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL = {"type": "function", "function": {"name": "f"}}

GOOD: list[dict[str, Any]] = [
    {},
    {"temperature": None, "stop": None, "tools": None, "user": None},
    {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant")]},
    {"messages": [USER, ASKED, {"role": "tool", "tool_call_id": "call_1", "content": "42"}]},
    {"messages": [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]},
    {"messages": [{"role": "function", "name": "f", "content": "42"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]}]},
    {"messages": [{"role": "assistant", "content": "x", "refusal": None, "annotations": [], "audio": None}]},
    {"stop": "a"},
    {"stop": ["a", "b", "c", "d"]},
    {"n": 128, "top_p": 0, "temperature": 2, "presence_penalty": -2, "frequency_penalty": 2},
    {"logprobs": True, "top_logprobs": 20},
    {"logit_bias": {"50256": -100, "1": 2.5}},
    {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    },
    {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "as JSON"}]},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"seed": -1, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto"},
]

# (what is added to a good request, param, code, words of the message)
BAD: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value", "Expected a value <= 2, but got 2.1 instead."),
    ({"temperature": -1}, "temperature", "decimal_below_min_value", "Expected a value >= 0, but got -1 instead."),
    ({"temperature": "hot"}, "temperature", "invalid_type", "expected a decimal, but got a string instead."),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value", "<= 1"),
    ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value", "<= 2"),
    ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value", ">= -2"),
    ({"n": 0}, "n", "integer_below_min_value", ">= 1, but got 0"),
    ({"n": 129}, "n", "integer_above_max_value", "<= 128"),
    ({"n": 1.5}, "n", "invalid_type", "expected an integer, but got a decimal instead."),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value", ">= 1"),
    ({"max_completion_tokens": "x"}, "max_completion_tokens", "invalid_type", "expected an integer"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", "invalid_value", "Send one of them"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "integer_above_max_value", "<= 20"),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value", "only allowed when 'logprobs' is enabled"),
    ({"stop": list("abcde")}, "stop", "array_above_max_length", "maximum length 4, but got an array with length 5"),
    ({"stop": 1}, "stop", "invalid_type", "expected one of a string or array"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value", "Invalid key in 'logit_bias': x."),
    ({"logit_bias": {"1": 101}}, "logit_bias", "decimal_above_max_value", "<= 100, but got 101"),
    ({"stream": "yes"}, "stream", "invalid_type", "expected a boolean"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None, "only allowed when 'stream' is enabled"),
    ({"seed": 1.5}, "seed", "invalid_type", "expected an integer"),
    ({"seed": 2**63}, "seed", "integer_above_max_value", ""),
    ({"user": 1}, "user", "invalid_type", "expected a string, but got an integer"),
    ({"metadata": {"a": 1}}, "metadata", "invalid_type", "expected a string"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties", "with 17 properties"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length", "maximum length 512"),
    ({"safety_identifier": "x" * 65}, "safety_identifier", "string_above_max_length", "maximum length 64"),
    (
        {"reasoning_effort": "huge"},
        "reasoning_effort",
        "invalid_value",
        "Invalid value: 'huge'. Supported values are: ",
    ),
    ({"model": 1}, "model", "invalid_type", "expected a string, but got an integer"),
    ({"messages": []}, "messages", "empty_array", "empty array. Expected an array with minimum length 1"),
    ({"messages": "x"}, "messages", "invalid_type", "expected an array, but got a string"),
    ({"messages": [1]}, "messages[0]", "invalid_type", "expected an object, but got an integer"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter", "Missing required parameter"),
    (
        {"messages": [{"role": "robot", "content": "x"}]},
        "messages[0].role",
        "invalid_value",
        "Invalid value: 'robot'. Supported values are: 'system', 'developer', 'user', 'assistant', 'tool', and "
        "'function'.",
    ),
    ({"messages": [USER, {"role": "user"}]}, "messages[1].content", "missing_required_parameter", ""),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type", "but got null instead"),
    ({"messages": [{"role": "assistant"}]}, "messages[0].content", "missing_required_parameter", ""),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty_array", ""),
    ({"messages": [{**USER, "colour": 1}]}, "messages[0].colour", "unknown_parameter", "Unknown parameter"),
    (
        {"messages": [{"role": "user", "content": [{"type": "film"}]}]},
        "messages[0].content[0].type",
        "invalid_value",
        "Supported values are: 'text', 'image_url', 'input_audio', and 'file'.",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].image_url.url",
        "missing_required_parameter",
        "",
    ),
    (
        {"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]},
        "messages[0].role",
        None,
        "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
    ),
    (
        {"messages": [USER, ASKED, USER]},
        "messages[2].role",
        None,
        "The following tool_call_ids did not have response messages: call_1",
    ),
    ({"messages": [USER, ASKED]}, "messages[2].role", None, "must be followed by tool messages"),
    ({"tools": [{}]}, "tools[0].type", "missing_required_parameter", ""),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter", ""),
    (
        {"tools": [{"type": "function", "function": {"name": "two words"}}]},
        "tools[0].function.name",
        "invalid_value",
        "does not match pattern",
    ),
    ({"tool_choice": "auto"}, "tool_choice", None, "'tool_choice' is only allowed when 'tools' are specified."),
    ({"parallel_tool_calls": True}, "parallel_tool_calls", None, "only allowed when 'tools' are specified"),
    ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice", "invalid_value", "'auto', 'none', and 'required'"),
    ({"function_call": "auto"}, "function_call", None, "only allowed when 'functions' are specified"),
    ({"tools": [TOOL], "functions": [{"name": "f"}]}, "functions", None, "cannot both be given"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value", "Invalid value: 'xml'."),
    ({"response_format": {"type": "json_object"}}, "messages", None, "must contain the word 'json'"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter", ""),
    ({"temprature": 1}, None, None, "Unrecognized request argument supplied: temprature"),
]


def chat(changes: dict[str, Any]) -> CreateChatCompletionRequest:
    return decode(CHAT, json.dumps({"model": "m", "messages": [USER], **changes}).encode())


@pytest.mark.parametrize("changes", GOOD, ids=lambda changes: ",".join(changes))
def test_good_requests_are_taken(changes: dict[str, Any]) -> None:
    chat(changes)


@pytest.mark.parametrize(
    ("changes", "param", "code", "words"), BAD, ids=[f"{number}-{','.join(bad[0])}" for number, bad in enumerate(BAD)]
)
def test_bad_requests_are_refused_by_name(
    changes: dict[str, Any], param: str | None, code: str | None, words: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat(changes)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert words in refused.value.message
    assert "`" not in refused.value.message  # none of the decoder's own words


@pytest.mark.parametrize(
    "body",
    [b"", b"nul", b"[1]", b'"x"', b'{"model": NaN}', b'{"model": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "cut", "array", "string", "nan", "utf8", "deep-array", "deep-object"],
)
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(CHAT, body)


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2], [[1], [2, 3]], "", None])
def test_prompts_in_every_form(prompt: object) -> None:
    decode(COMPLETION, json.dumps({"model": "m", "prompt": prompt}).encode())


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"logprobs": 6}, "logprobs"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_bad_completion_requests(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(COMPLETION, json.dumps({"model": "m", "prompt": "x", **changes}).encode())
    assert refused.value.param == param


@pytest.mark.parametrize("edition", [openapi.NEWEST, openapi.OF_2024])
@pytest.mark.parametrize("schema", [CreateChatCompletionRequest, CreateCompletionRequest])
def test_no_parameter_of_the_description_is_forgotten(schema: type[msgspec.Struct], edition: str) -> None:
    ours = {field.encode_name for field in msgspec.structs.fields(schema)}
    assert openapi.properties(schema.__name__, edition) <= ours


def test_no_parameter_of_the_sdk_is_forgotten() -> None:
    """Of either major version: what they add to a request is taken."""
    chat_ours = set(CreateChatCompletionRequest.__struct_fields__)
    assert set(chat_create_params.CompletionCreateParamsBase.__annotations__) <= chat_ours
    ours = set(CreateCompletionRequest.__struct_fields__)
    assert set(completion_create_params.CompletionCreateParamsBase.__annotations__) <= ours
