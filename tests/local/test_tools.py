"""Tools, and the older functions, as the clients of `POST /chat/completions` see them."""

from typing import Any

import pytest

from homeport.backends.text import ToolCalls
from homeport.errors import HomeportError, InvalidRequest, UnsupportedParameter
from tests.local.running import Json, chat
from tests.local.test_chat import PERSON, Script, schema_of


def function(name: str, *, strict: bool = False) -> Json:
    schema: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    if strict:
        schema["additionalProperties"] = False
    return {"name": name, "parameters": schema, "strict": strict}


def tool(name: str, *, strict: bool = False) -> Json:
    return {"type": "function", "function": function(name, strict=strict)}


TOOLS = [tool("weather"), tool("time")]
ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
OSLO = '<tool_call>\n{"name": "time", "arguments": {"city":"Oslo"}}\n</tool_call>'


def calls_of(body: Json) -> list[tuple[str, str]]:
    calls = body["choices"][0]["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(call["id"].startswith("call_") and call["type"] == "function" for call in calls)
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "time"}}])
def test_a_forced_call(choice: Any) -> None:
    (got,) = chat(tools=TOOLS, tool_choice=choice).body["choices"]
    (call,) = got["message"]["tool_calls"]
    assert call["function"] == {"name": "weather" if choice == "required" else "time", "arguments": '{"city": ""}'}
    assert got["message"]["content"] is None
    assert got["finish_reason"] == "tool_calls"


def test_a_call_out_of_free_text() -> None:
    body = chat(tools=TOOLS, engine=Script("Let me see.\n", ROME[:20], ROME[20:], "\n", OSLO)).body
    assert body["choices"][0]["message"]["content"] == "Let me see."
    assert calls_of(body) == [("weather", '{"city": "Rome"}'), ("time", '{"city":"Oslo"}')]
    assert body["choices"][0]["finish_reason"] == "tool_calls"


def test_text_that_is_no_call_stays_text() -> None:
    for text in ("<tool_call>{oops}</tool_call>", ROME.replace("weather", "nobody"), "a < b <tool"):
        (choice,) = chat(tools=TOOLS, engine=Script(*text)).body["choices"]
        assert choice["message"]["content"] == text
        assert "tool_calls" not in choice["message"]
        assert choice["finish_reason"] == "stop"


def test_a_call_in_a_stream_comes_as_openai_sends_it() -> None:
    engine = Script(ROME[:45], ROME[45:], OSLO, certain=True)
    chunks = chat(tools=TOOLS, tool_choice="required", stream=True, engine=engine).body
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    assert deltas[-1] == {}
    calls = [delta["tool_calls"] for delta in deltas[1:-1]]
    assert all(len(delta) == 1 for delta in calls)
    (opening,) = calls[0]
    assert opening == {
        "index": 0,
        "id": opening["id"],
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    arguments = {0: "", 1: ""}
    for (delta,) in calls:
        arguments[delta["index"]] += delta["function"]["arguments"]
    assert arguments == {0: '{"city": "Rome"}', 1: '{"city":"Oslo"}'}
    assert sum("id" in delta for (delta,) in calls) == 2
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_engine_is_told_what_to_force() -> None:
    engine = Script(OSLO, certain=True)
    chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "time"}}, engine=engine)
    constraint = engine.asked[0][2]
    assert isinstance(constraint, ToolCalls)
    assert list(constraint.tools) == ["time"]
    assert constraint.required
    assert not constraint.parallel, "a named function is called once"
    engine = Script("no", certain=True)
    chat(tools=TOOLS, parallel_tool_calls=False, engine=engine)
    constraint = engine.asked[0][2]
    assert isinstance(constraint, ToolCalls)
    assert not constraint.required
    assert not constraint.parallel
    engine = Script(OSLO, certain=True)
    chat(tools=TOOLS, tool_choice="required", engine=engine)
    constraint = engine.asked[0][2]
    assert isinstance(constraint, ToolCalls)
    assert constraint.parallel


def test_calls_without_an_opening_mark_are_read_out_of_free_text() -> None:
    engine = Script('{"name": "time", "parameters": {"city": "Oslo"}}', certain=True)
    engine._card = type(engine.card)(8192, chat_template="{# tools <|python_tag|> #}{{ messages[-1].content }}")
    assert calls_of(chat(tools=TOOLS, engine=engine).body) == [("time", '{"city": "Oslo"}')]
    assert engine.asked[0][2] is None


def test_an_engine_without_grammars_cannot_force_a_call() -> None:
    with pytest.raises(UnsupportedParameter):
        chat(tools=TOOLS, tool_choice="required", engine=Script(ROME))


def test_none_means_that_nothing_is_called_nor_offered() -> None:
    engine = Script(ROME)
    engine._card = type(engine.card)(8192)
    (choice,) = chat(tools=TOOLS, tool_choice="none", engine=engine).body["choices"]
    assert choice["message"]["content"] == ROME
    assert "weather" not in engine.asked[0][0]


def test_allowed_tools_narrow_the_choice() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "time"}}]}
    body = chat(tools=TOOLS, tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).body
    assert calls_of(body) == [("time", '{"city": ""}')]


def test_not_in_parallel_means_one_call() -> None:
    body = chat(tools=TOOLS, parallel_tool_calls=False, engine=Script(ROME, OSLO)).body
    assert calls_of(body) == [("weather", '{"city": "Rome"}')]
    assert OSLO in body["choices"][0]["message"]["content"]


def test_strict_arguments_follow_their_schema_or_are_no_call() -> None:
    wrong = ROME.replace('"Rome"', "7")
    body = chat(tools=[tool("weather", strict=True)], engine=Script(wrong)).body
    assert body["choices"][0]["message"]["content"] == wrong
    with pytest.raises(HomeportError, match="arguments"):
        chat(tools=[tool("weather", strict=True)], tool_choice="required", engine=Script(wrong, certain=True))
    with pytest.raises(HomeportError, match="had to"):
        chat(tools=TOOLS, tool_choice="required", engine=Script("No.", certain=True))


def test_a_call_cut_short_stays_as_far_as_it_came() -> None:
    engine = Script(ROME[:50], finish="length", certain=True)
    body = chat(tools=TOOLS, tool_choice="required", engine=engine).body
    assert calls_of(body) == [("weather", ROME[45:50])]
    assert body["choices"][0]["finish_reason"] == "length"


def test_the_older_functions() -> None:
    functions = [function("weather"), function("time")]
    (choice,) = chat(functions=functions, function_call={"name": "time"}).body["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "function_call": {"name": "time", "arguments": '{"city": ""}'},
    }
    assert choice["finish_reason"] == "function_call"
    chunks = chat(functions=functions, stream=True, engine=Script(ROME)).body
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]] == [
        {"function_call": {"name": "weather", "arguments": ""}},
        {"function_call": {"arguments": '{"city": "Rome"}'}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_logprobs_are_of_the_content_alone() -> None:
    got = chat("ab", tools=TOOLS, logprobs=True).body["choices"][0]["logprobs"]
    assert [entry["token"] for entry in got["content"]] == ["a", "b"]
    got = chat("ab", tools=TOOLS, tool_choice="required", logprobs=True).body["choices"][0]["logprobs"]
    assert got is None


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 7}}}]},
            "tools[0].function.parameters",
        ),
        (
            {"tools": [tool("a"), {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[1].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {**function("f"), "strict": True}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"functions": [function("f")], "function_call": {"name": "nobody"}}, "function_call"),
        ({"tools": TOOLS, "response_format": schema_of(PERSON)}, "response_format"),
    ],
)
def test_refusals_name_the_place(request_: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**request_)
    assert caught.value.param == param
