"""What requests for assistants and messages may say, and what is kept of it."""

from typing import Any

import msgspec
import pytest

from homeport.errors import InvalidRequest
from homeport.wire import base
from homeport.wire.assistants import CreateAssistantRequest, shown_format, shown_tools
from homeport.wire.threads import CreateMessageRequest

_assistant = msgspec.json.Decoder(CreateAssistantRequest)
_message = msgspec.json.Decoder(CreateMessageRequest)


def assistant(**said: Any) -> CreateAssistantRequest:
    return base.decode(_assistant, msgspec.json.encode({"model": "m", **said}))


def message(content: Any) -> CreateMessageRequest:
    return base.decode(_message, msgspec.json.encode({"role": "user", "content": content}))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"type": "code_interpreter"}, {"type": "code_interpreter"}),
        (
            {"type": "file_search"},
            {
                "type": "file_search",
                "file_search": {"ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}},
            },
        ),
        (
            {
                "type": "file_search",
                "file_search": {
                    "max_num_results": 50,
                    "ranking_options": {"score_threshold": 0.5, "ranker": "auto"},
                },
            },
            {
                "type": "file_search",
                "file_search": {
                    "max_num_results": 50,
                    "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
                },
            },
        ),
        (
            {"type": "function", "function": {"name": "f"}},
            {"type": "function", "function": {"name": "f", "strict": False}},
        ),
        (
            {"type": "function", "function": {"name": "f", "strict": None, "parameters": {}, "description": ""}},
            {"type": "function", "function": {"name": "f", "strict": False, "parameters": {}, "description": ""}},
        ),
    ],
)
def test_a_tool_is_kept_with_openais_values_for_what_nobody_said(said: Any, kept: Any) -> None:
    assert shown_tools(assistant(tools=[said]).tools or ()) == [kept]


@pytest.mark.parametrize(
    "form",
    [
        "auto",
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "point", "schema": {"type": "object"}}},
    ],
)
def test_a_form_is_kept_as_it_was_said(form: Any) -> None:
    assert shown_format(assistant(response_format=form).response_format) == form
    assert shown_format(assistant().response_format) is None


def test_a_messages_parts_are_kept_with_what_nobody_said() -> None:
    parts = [
        {"type": "text", "text": ""},
        {"type": "image_file", "image_file": {"file_id": "file-x"}},
        {"type": "image_url", "image_url": {"url": "http://[::1]:80/a.png"}},
    ]
    assert msgspec.to_builtins(message(parts).shown_content) == [
        {"type": "text", "text": {"value": "", "annotations": []}},
        {"type": "image_file", "image_file": {"file_id": "file-x", "detail": "auto"}},
        {"type": "image_url", "image_url": {"url": "http://[::1]:80/a.png", "detail": "auto"}},
    ]


@pytest.mark.parametrize(
    "url",
    ["", "a.png", "file:///etc/passwd", "https://", "https://[", "data:,x", "https://a\0b/", "ftp://a/b", "//a/b"],
)
def test_what_is_no_address_of_a_picture(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        message([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}])
    assert refused.value.param == "content[1].image_url.url"
