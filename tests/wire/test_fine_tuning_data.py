"""Lines of files that are learnt from: what is wrong is told by where it stands, and never by what was said."""

import json
from typing import Any

import pytest

from homeport.errors import InvalidRequest
from homeport.wire import fine_tuning_data

Json = dict[str, Any]

SECRET = "the colour of the safe is green"
USER: Json = {"role": "user", "content": SECRET}
SAYS: Json = {"role": "assistant", "content": SECRET}
TOOL: Json = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
CALLS: Json = {"role": "assistant", "tool_calls": [CALL]}
ANSWERS: Json = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
FUNCTION: Json = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


def chat(*messages: Json, **more: Any) -> Json:
    return {"messages": list(messages), **more}


def pair(*messages: Json, preferred: Any = None, other: Any = None, **more: Any) -> Json:
    rejected = {"role": "assistant", "content": "no"}
    return {
        "input": {"messages": list(messages or (USER,)), **more},
        "preferred_output": [SAYS] if preferred is None else preferred,
        "non_preferred_output": [rejected] if other is None else other,
    }


GOOD: dict[str, Json] = {
    "one turn": chat(USER, SAYS),
    "instructions": chat({"role": "system", "content": "Be brief."}, USER, SAYS),
    "a developer's": chat({"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, USER, SAYS),
    "several turns, one of them learnt": chat(USER, {**SAYS, "weight": 0}, USER, {**SAYS, "weight": 1}),
    "the assistant begins": chat(SAYS),
    "parts": chat(USER, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}),
    "a refusal": chat(USER, {"role": "assistant", "refusal": "I cannot."}),
    "names": chat({**USER, "name": "Ann"}, {**SAYS, "name": "Bob"}),
    "it ends with a call": chat(USER, CALLS, tools=[TOOL], parallel_tool_calls=False),
    "calls that were answered": chat(USER, CALLS, ANSWERS, SAYS, tools=[TOOL]),
    "functions": chat(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "sunny"},
        SAYS,
        functions=[FUNCTION],
    ),
    "nothing was asked": chat({"role": "user", "content": ""}, SAYS),
    "nulls": chat({**USER, "name": None}, {**SAYS, "tool_calls": None}, tools=None, parallel_tool_calls=None),
}
BAD: dict[str, tuple[Json | list[Any] | str, str | None, str]] = {
    "no JSON": (f'{{"messages": [{{"role": "user", "content": "{SECRET}', None, "not a JSON object"),
    "no object": ([USER, SAYS], None, "not a JSON object"),
    "no messages": ({}, "messages", "Missing required parameter"),
    "none at all": (chat(), "messages", "empty array"),
    "a key that nobody knows": (
        chat(USER, SAYS, secret=SECRET),
        None,
        "Unrecognized request argument supplied: secret",
    ),
    "one in a message": (chat({**USER, "mood": SECRET}, SAYS), "messages[0].mood", "Unknown parameter"),
    "a role that nobody has": (chat({**USER, "role": "bot"}, SAYS), "messages[0].role", "Invalid value: 'bot'"),
    "no role": (chat({"content": SECRET}, SAYS), "messages[0].role", "Missing required parameter"),
    "no text": (chat(USER, {"role": "assistant"}), "messages[1].content", "Missing required parameter"),
    "a user's is missing": (chat({"role": "user"}, SAYS), "messages[0].content", "Missing required parameter"),
    "a number": (chat({"role": "user", "content": 7}, SAYS), "messages[0].content", "Invalid type"),
    "an empty answer": (chat(USER, {"role": "assistant", "content": ""}), "messages[1].content", "empty string"),
    "an empty part": (
        chat(USER, {"role": "assistant", "content": [{"type": "text", "text": ""}]}),
        "messages[1].content",
        "empty string",
    ),
    "no parts": (chat(USER, {"role": "assistant", "content": []}), "messages[1].content", "empty array"),
    "a user has the last word": (chat(USER, SAYS, USER), "messages[2].role", "last message must be from the assistant"),
    "nothing is learnt": (chat(USER, {**SAYS, "weight": 0}), "messages", "nothing to learn"),
    "half a weight": (chat(USER, {**SAYS, "weight": 0.5}), "messages[1].weight", "Invalid type"),
    "another weight": (chat(USER, {**SAYS, "weight": 2}), "messages[1].weight", "Invalid value"),
    "a user's weight": (chat({**USER, "weight": 1}, SAYS), "messages[0].weight", "Unknown parameter"),
    "an answer to no call": (chat(USER, ANSWERS, SAYS), "messages[1].role", "must be a response to a preceding"),
    "a call without an answer": (chat(USER, CALLS, SAYS), "messages[2].role", "must be followed by tool messages"),
    "a call without arguments": (
        chat(USER, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "weather"}}]}),
        "messages[1].tool_calls[0].function.arguments",
        "Missing required parameter",
    ),
    "no calls": (chat(USER, {"role": "assistant", "tool_calls": []}), "messages[1].tool_calls", "empty array"),
    "tools and functions": (chat(USER, SAYS, tools=[TOOL], functions=[FUNCTION]), "functions", "cannot both be given"),
    "a tool without a name": (
        chat(USER, SAYS, tools=[{"type": "function", "function": {}}]),
        "tools[0].function.name",
        "Missing required parameter",
    ),
    "a choice": (chat(USER, SAYS, tool_choice="auto"), None, "Unrecognized request argument supplied: tool_choice"),
    "prompt and completion": ({"prompt": SECRET, "completion": SECRET}, "prompt", "completion models"),
    "a pair": (pair(), "preferred_output", "the method `dpo`"),
}
BAD_PAIRS: dict[str, tuple[Json, str | None, str]] = {
    "an example": (chat(USER, SAYS), "messages", "the method `supervised`"),
    "prompt and completion": ({"prompt": SECRET, "completion": SECRET}, "prompt", "completion models"),
    "two answers": (pair(preferred=[SAYS, SAYS]), "preferred_output", "too long"),
    "no answer": (pair(other=[]), "non_preferred_output", "empty array"),
    "a user answers": (pair(preferred=[USER]), "preferred_output[0].role", "Invalid value: 'user'"),
    "an empty answer": (
        pair(other=[{"role": "assistant", "content": ""}]),
        "non_preferred_output[0].content",
        "empty string",
    ),
    "an answer has a weight": (pair(preferred=[{**SAYS, "weight": 1}]), "preferred_output[0].weight", "Unknown"),
    "an answer to no call": (pair(USER, ANSWERS), "input.messages[1].role", "must be a response to a preceding"),
    "an answer that says nothing": (
        pair(USER, {"role": "assistant"}, USER),
        "input.messages[1].content",
        "Missing required parameter: 'input.messages[1].content'",
    ),
    "one is missing": ({"input": {"messages": [USER]}, "preferred_output": [SAYS]}, "non_preferred_output", "Missing"),
}


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD.keys())
def test_what_can_be_learnt(line: Json) -> None:
    assert len(fine_tuning_data.example(json.dumps(line).encode()).messages) == len(line["messages"])


@pytest.mark.parametrize(("line", "param", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_told_by_its_place(line: Any, param: str | None, words: str) -> None:
    raw = line if isinstance(line, str) else json.dumps(line)
    with pytest.raises(InvalidRequest) as caught:
        fine_tuning_data.example(raw.encode())
    assert caught.value.param == param
    assert words in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "more",
    [{}, {"tools": [TOOL]}, {"tools": [], "parallel_tool_calls": True}],
    ids=["alone", "with tools", "as the guide has it"],
)
def test_pairs(more: Json) -> None:
    read = fine_tuning_data.preference(json.dumps(pair(USER, SAYS, USER, **more)).encode())
    assert len(read.input.messages) == 3
    assert read.preferred_output[0].content == SECRET


@pytest.mark.parametrize(("line", "param", "words"), BAD_PAIRS.values(), ids=BAD_PAIRS.keys())
def test_what_is_wrong_with_a_pair(line: Json, param: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fine_tuning_data.preference(json.dumps(line).encode())
    assert caught.value.param == param
    assert words in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe{\x00",
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"messages": ' + b"[" * 100_000,
        b'{"tools": [{"type": "function", "function": {"name": "f", "parameters": ' + b'{"a":' * 100_000,
        b'{"messages": 1e999}',
    ],
    ids=["UTF-16", "no UTF-8", "half a character", "NUL", "deep", "deep below", "deep in a tool", "a large number"],
)
def test_hostile_lines_are_refused_as_others_are(raw: bytes) -> None:
    for read in (fine_tuning_data.example, fine_tuning_data.preference):
        with pytest.raises(InvalidRequest):
            read(raw)


def test_only_known_places_of_the_description_are_read() -> None:
    """The examples of the description itself (FineTuneChatRequestInput, FineTunePreferenceRequestInput)."""
    weather = {
        "messages": [
            {"role": "user", "content": "What is the weather in San Francisco?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_id",
                        "type": "function",
                        "function": {
                            "name": "get_current_weather",
                            "arguments": '{"location": "San Francisco, USA", "format": "celsius"}',
                        },
                    }
                ],
            },
        ],
        "parallel_tool_calls": False,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_current_weather",
                    "description": "Get the current weather",
                    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
                },
            }
        ],
    }
    assert fine_tuning_data.example(json.dumps(weather).encode()).parallel_tool_calls is False
