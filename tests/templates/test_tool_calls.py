"""Text, cut anywhere, becomes the same content and the same calls."""

import json

import pytest

from homeport.backends.templates.formats import HERMES, LLAMA3, MISTRAL, ToolFormat
from homeport.backends.templates.tool_calls import Arguments, CallBegan, Text, ToolCallParser

A = '{"name": "f", "arguments": {"x": "}</tool_call>\\"{"}}'
B = '{"name": "g", "arguments": {}}'
ARGS = '{"x": "}</tool_call>\\"{"}'


def admits(name: str, arguments: dict[str, object]) -> bool:
    return name in ("f", "g")


def parse(
    text: str, form: ToolFormat, *, size: int = 1, certain: bool = False, limit: int | None = None
) -> tuple[str, list[tuple[str, str]]]:
    parser = ToolCallParser(form, admits, certain=certain, limit=limit)
    events = [e for at in range(0, len(text), size) for e in parser.feed(text[at : at + size])] + parser.finish()
    content, calls = "", list[tuple[str, str]]()
    for event in events:
        match event:
            case Text(text):
                content += text
            case CallBegan(name):
                calls.append((name, ""))
            case Arguments(text):
                calls[-1] = (calls[-1][0], calls[-1][1] + text)
    return content, calls


CASES: dict[str, tuple[ToolFormat, str, str, list[tuple[str, str]]]] = {
    "text alone": (HERMES, "Hello <b>you</b> <tool", "Hello <b>you</b> <tool", []),
    "white space is kept": (HERMES, "  a \n b  \n", "  a \n b  \n", []),
    "one call": (HERMES, f"<tool_call>\n{A}\n</tool_call>", "", [("f", ARGS)]),
    "two calls": (
        HERMES,
        f"<tool_call>\n{A}\n</tool_call>\n<tool_call>\n{B}\n</tool_call>\n",
        "",
        [("f", ARGS), ("g", "{}")],
    ),
    "text and a call": (HERMES, f"Let me see.\n\n<tool_call>{B}</tool_call>", "Let me see.", [("g", "{}")]),
    "no end mark": (HERMES, f"<tool_call>{B}", "", [("g", "{}")]),
    "text behind": (HERMES, f"<tool_call>{B}</tool_call> Done.", " Done.", [("g", "{}")]),
    "a call of nothing known": (
        HERMES,
        'x <tool_call>{"name": "h", "arguments": {}}</tool_call>',
        'x <tool_call>{"name": "h", "arguments": {}}</tool_call>',
        [],
    ),
    "broken json": (HERMES, "<tool_call>\n{oops}\n</tool_call>", "<tool_call>\n{oops}\n</tool_call>", []),
    "cut short": (HERMES, 'Yes <tool_call>{"name": "f", "arg', 'Yes <tool_call>{"name": "f", "arg', []),
    "a true call behind a broken one": (HERMES, f"<tool_call>{{x}}<tool_call>{B}", "<tool_call>{x}", [("g", "{}")]),
    "arguments first": (HERMES, '<tool_call>{"arguments": {"a": 1}, "name": "f"}', "", [("f", '{"a": 1}')]),
    "arguments as a string": (HERMES, '<tool_call>{"name": "f", "arguments": "{\\"a\\":1}"}', "", [("f", '{"a":1}')]),
    "no arguments": (HERMES, '<tool_call>{"name": "f"}', "", [("f", "{}")]),
    "llama": (LLAMA3, '{"name": "f", "parameters": {"a": 1}}', "", [("f", '{"a": 1}')]),
    "llama, tagged": (LLAMA3, '<|python_tag|>{"name": "f", "parameters": {"a": 1}}', "", [("f", '{"a": 1}')]),
    "llama, two": (LLAMA3, f"{A}; {B}", "", [("f", ARGS), ("g", "{}")]),
    "llama, a json answer": (LLAMA3, '{"answer": 42}', '{"answer": 42}', []),
    "llama, braces in text": (LLAMA3, f"see {B}", f"see {B}", []),
    "mistral": (MISTRAL, f"[TOOL_CALLS] [{A}, {B}]", "", [("f", ARGS), ("g", "{}")]),
    "mistral, forced twice": (MISTRAL, f"[TOOL_CALLS] [{A}][TOOL_CALLS] [{B}]", "", [("f", ARGS), ("g", "{}")]),
    "mistral, a list": (MISTRAL, "[TOOL_CALLS] [1, 2]", "[TOOL_CALLS] [1, 2]", []),
}


@pytest.mark.parametrize(("form", "text", "content", "calls"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_however_the_text_arrives(
    form: ToolFormat, text: str, content: str, calls: list[tuple[str, str]], size: int
) -> None:
    assert parse(text, form, size=size) == (content, calls)


@pytest.mark.parametrize("form", [HERMES, LLAMA3, MISTRAL], ids=lambda f: f.name)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_we_force_we_understand(form: ToolFormat, size: int) -> None:
    call = json.dumps({"name": "f", form.argument_key: {"a": [1, {"b": "}"}]}})
    text = form.separator.join([form.opening + call + form.closing] * 2)
    assert parse(text, form, size=size, certain=True) == ("", [("f", '{"a": [1, {"b": "}"}]}')] * 2)


def test_certain_arguments_flow_on_and_stay_when_cut_short() -> None:
    parser = ToolCallParser(HERMES, admits, certain=True)
    assert parser.feed('<tool_call>\n{"name": "f", "arguments": {"a": "lo') == [CallBegan("f"), Arguments('{"a": "lo')]
    assert parser.feed("ng") == [Arguments("ng")]
    assert parser.finish() == []


def test_uncertain_arguments_wait_until_they_prove_true() -> None:
    parser = ToolCallParser(HERMES, admits)
    assert parser.feed('<tool_call>\n{"name": "f", "arguments": {"a": "lo') == []
    assert parser.feed('ng"}}') == [CallBegan("f"), Arguments('{"a": "long"}')]


def test_behind_the_limit_all_is_text() -> None:
    two = f"<tool_call>{B}</tool_call><tool_call>{B}</tool_call>"
    assert parse(two, HERMES, limit=1) == (f"<tool_call>{B}</tool_call>", [("g", "{}")])
