"""Items as rows, and as what a model is told."""

from typing import Any

import pytest

from homeport.control.items import as_item, as_messages, named, values
from homeport.errors import InvalidRequest
from homeport.wire.items import Item, read

ASKED: Any = {"role": "user", "content": "weather?"}
CALL: Any = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
OTHER: Any = {"type": "function_call", "call_id": "call_2", "name": "time", "arguments": "{}"}
SUNNY: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
NOON: Any = {"type": "function_call_output", "call_id": "call_2", "output": "noon"}
SEARCH: Any = {
    "type": "file_search_call",
    "queries": ["cats"],
    "results": [
        {"file_id": "file-1", "filename": "cats.md", "text": "Cats purr.", "score": 1},
        {"file_id": "file-2", "text": "Dogs bark."},
    ],
}
CODE: Any = {
    "type": "code_interpreter_call",
    "container_id": "cntr_1",
    "code": "print(1)",
    "outputs": [{"type": "logs", "logs": "1"}, {"type": "image", "url": "https://x/"}],
}
THOUGHT: Any = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"}


def items(*given: Any) -> list[Item]:
    return named(read([*given], "input"), {})


def told(*given: Any) -> list[dict[str, Any]]:
    return as_messages(items(*given))


def test_a_text_is_what_the_user_says() -> None:
    assert as_messages(named(read("hello", "input"), {})) == [{"role": "user", "content": "hello"}]


def test_every_item_becomes_a_row_and_an_item_again() -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "phase": "commentary"}
    cited = {
        "type": "output_text",
        "text": "purr",
        "annotations": [
            {"type": "file_citation", "file_id": "f", "index": 1, "filename": "a"},
            {"type": "url_citation", "url": "u", "start_index": 0, "end_index": 1, "title": "t"},
            {"type": "file_path", "file_id": "f", "index": 1},
            {
                "type": "container_file_citation",
                "container_id": "c",
                "file_id": "f",
                "start_index": 0,
                "end_index": 1,
                "filename": "a",
            },
        ],
        "logprobs": [{"token": "p", "logprob": -0.5, "bytes": [112], "top_logprobs": []}],
    }
    pictured = {**SUNNY, "output": [{"type": "input_image", "file_id": "file-1", "detail": "original"}]}
    said = {"role": "assistant", "content": [cited]}
    for item in items(ASKED, refusal, said, CALL, SUNNY, pictured, SEARCH, CODE, THOUGHT):
        assert as_item(values(item)) == item


def test_parts_of_messages() -> None:
    parts = [
        {"type": "input_text", "text": "what is it?", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_image", "image_url": "https://x/", "detail": "original"},
        {"type": "input_image", "image_url": "https://y/"},
    ]
    (message,) = told({"role": "user", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "what is it?", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": "https://x/", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://y/"}},
    ]
    answers = [{"type": "output_text", "text": "a "}, {"type": "output_text", "text": "cat"}]
    refusal = {"type": "refusal", "refusal": "no"}
    assert told({"role": "system", "content": "be kind"}, {"role": "assistant", "content": [*answers, refusal]}) == [
        {"role": "system", "content": "be kind"},
        {"role": "assistant", "content": "a cat", "refusal": "no"},
    ]


def shape(messages: list[dict[str, Any]]) -> list[Any]:
    """Roles; of calls whose, of outputs which."""
    return [
        [call["id"] for call in one["tool_calls"]] if "tool_calls" in one else one.get("tool_call_id", one["role"])
        for one in messages
    ]


@pytest.mark.parametrize(
    ("given", "shaped"),
    [
        ([ASKED, CALL, OTHER, SUNNY, NOON], ["user", ["call_1", "call_2"], "call_1", "call_2"]),
        ([ASKED, CALL, OTHER, NOON, SUNNY], ["user", ["call_1", "call_2"], "call_1", "call_2"]),
        ([ASKED, CALL, SUNNY, OTHER, NOON], ["user", ["call_1"], "call_1", ["call_2"], "call_2"]),
        ([ASKED, CALL, ASKED, SUNNY], ["user", ["call_1"], "call_1", "user"]),
        ([ASKED, THOUGHT, CALL, SUNNY, THOUGHT], ["user", ["call_1"], "call_1"]),
        ([SUNNY, CALL], [["call_1"], "call_1"]),
        ([{"role": "assistant", "content": "let me look"}, CALL, SUNNY], [["call_1"], "call_1"]),
    ],
)
def test_calls_stand_before_their_outputs(given: list[Any], shaped: list[Any]) -> None:
    assert shape(told(*given)) == shaped


def test_what_was_said_before_a_call_is_one_message_with_it() -> None:
    message, output = told({"role": "assistant", "content": "let me look"}, CALL, SUNNY)
    function = {"name": "weather", "arguments": "{}"}
    assert message == {
        "role": "assistant",
        "content": "let me look",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    assert output == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}


def test_hosted_tools_are_told_with_what_came_of_them() -> None:
    search, found, code, logs = told(SEARCH, ASKED, CODE)[0:2] + told(CODE)
    (call,) = search["tool_calls"]
    assert call["function"] == {"name": "file_search", "arguments": '{"queries":["cats"]}'}
    assert len(call["id"]) <= 40
    assert found == {
        "role": "tool",
        "tool_call_id": call["id"],
        "content": "[cats.md]\nCats purr.\n\n[file-2]\nDogs bark.",
    }
    assert code["tool_calls"][0]["function"] == {"name": "code_interpreter", "arguments": '{"code":"print(1)"}'}
    assert logs["content"] == "1"
    assert told({**SEARCH, "results": None})[1]["content"] == "Nothing was found."


def test_pictures_of_outputs_follow_them() -> None:
    """A tool's message has text alone."""
    parts = [{"type": "input_text", "text": "a map:"}, {"type": "input_image", "image_url": "https://x/"}]
    *_, output, other, pictures = told(CALL, OTHER, {**SUNNY, "output": parts}, NOON)
    assert (output["content"], other["content"]) == ("a map:", "noon")
    assert pictures == {
        "role": "user",
        "content": [
            {"type": "text", "text": "What weather gave:"},
            {"type": "image_url", "image_url": {"url": "https://x/"}},
        ],
    }


def test_an_output_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidRequest, match="No tool output found for function call call_1"):
        told(ASKED, CALL)
    with pytest.raises(InvalidRequest, match="No tool call found for function call output with call_id call_1"):
        told(ASKED, SUNNY)
    with pytest.raises(InvalidRequest, match="call_1"):
        told(CALL, SUNNY, SUNNY)
