"""Chat completions as programs use them: through the official SDK, on `echo`, where every answer is known."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.server import KEY, Running

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello brave new world"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "echo"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "hello brave new world"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_openai_name_tells_what_ran(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="gpt-4o", messages=HELLO).model == "echo"


def test_a_stream_has_the_role_first_and_one_finish_reason(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="echo", messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello brave new world"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_last_when_it_is_asked_for(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="echo", messages=HELLO)
    *chunks, last = client.chat.completions.create(
        model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage == plain.usage
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_the_stream_helper_puts_it_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="echo", messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("content.done") == 1
    assert final.choices[0].message.content == "hello brave new world"


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


def test_parse_gives_an_object(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="echo", messages=HELLO, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_json_mode(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "answer in json"}]
    answer = client.chat.completions.create(model="echo", messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_raw_responses_have_the_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="echo", messages=HELLO, extra_headers={"X-Team": "blue"}
    )
    assert raw.headers["x-team"] == "blue"
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == "hello brave new world"


def test_a_required_tool_is_called(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO, tools=[WEATHER], tool_choice="required")
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_a_named_tool_in_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="echo",
            messages=HELLO,
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            stream=True,
        )
    )
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].id is not None
    assert deltas[0].function is not None
    assert deltas[0].function.name == "get_weather"
    assert all(delta.id is None for delta in deltas[1:])
    arguments = "".join(delta.function.arguments or "" for delta in deltas if delta.function)
    assert set(json.loads(arguments)) == {"city"}
    assert chunks[-1].choices[0].finish_reason in ("tool_calls", "stop")


def test_tool_results_go_back_into_the_conversation(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    messages: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = client.chat.completions.create(model="echo", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "rain"


def test_the_older_functions_end_with_function_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo",
        messages=HELLO,
        functions=[
            {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
        ],
        function_call={"name": "get_weather"},
    )
    choice = answer.choices[0]
    assert choice.finish_reason in ("function_call", "stop")
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "get_weather"


def test_several_choices_count_the_prompt_once(client: openai.OpenAI) -> None:
    one = client.chat.completions.create(model="echo", messages=HELLO)
    three = client.chat.completions.create(model="echo", messages=HELLO, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert one.usage is not None
    assert three.usage is not None
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_limits_and_stops(client: openai.OpenAI) -> None:
    cut = client.chat.completions.create(model="echo", messages=HELLO, max_completion_tokens=5)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("hello", "length")
    stopped = client.chat.completions.create(model="echo", messages=HELLO, stop=["new", "zebra"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("hello brave ", "stop")


def test_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO, logprobs=True, top_logprobs=2, max_tokens=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [token.token for token in logprobs.content] == ["h", "e", "l"]
    assert bytes(logprobs.content[0].bytes or []) == b"h"


def test_utf8_is_never_torn(client: openai.OpenAI) -> None:
    text = "naïve 世界 🏡🇳🇴 e\u0301 " * 20
    chunks = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": text}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_an_image_without_vision_is_refused_by_name(client: openai.OpenAI) -> None:
    parts: list[Any] = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": parts}])
    assert refused.value.param is not None
    assert refused.value.param.startswith("messages[0].content[1]")


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (openai.BadRequestError, {"temperature": 5}),
        (openai.BadRequestError, {"top_logprobs": 30, "logprobs": True}),
        (openai.BadRequestError, {"stop": ["a", "b", "c", "d", "e"]}),
        (openai.BadRequestError, {"messages": []}),
        (openai.BadRequestError, {"tool_choice": "required"}),
        (openai.NotFoundError, {"model": "nobody"}),
    ],
)
def test_the_sdk_raises_its_own_errors(
    client: openai.OpenAI, error: type[openai.APIStatusError], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error) as raised:
        client.chat.completions.create(**{"model": "echo", "messages": HELLO, **arguments})
    assert raised.value.body is not None


def test_a_wrong_key(echo_server: Running) -> None:
    with (
        openai.OpenAI(base_url=echo_server.base_url, api_key="sk-nobody-knows-this-one") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_async_clients_and_many_at_once(echo_server: Running) -> None:
    async def ask_all() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=echo_server.base_url, api_key=KEY) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": f"word {n}"}])
                    for n in range(50)
                )
            )
            return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(ask_all()) == [f"word {n}" for n in range(50)]


def test_async_streams(echo_server: Running) -> None:
    async def collect() -> str:
        async with openai.AsyncOpenAI(base_url=echo_server.base_url, api_key=KEY) as client:
            stream = await client.chat.completions.create(model="echo", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(collect()) == "hello brave new world"
