"""Responses by the model that comes with Homeport: our grammar makes it call tools and answer in JSON."""

import json
from typing import Any

import openai
from pydantic import BaseModel

from homeport.settings import DEFAULT_MODEL
from tests.api.responding import WEATHER


class City(BaseModel):
    city: str


def test_it_calls_a_function_and_goes_on(real_client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
    tools: Any = [{**WEATHER, "parameters": schema}]
    with real_client.responses.stream(
        model=DEFAULT_MODEL,
        input="How is the weather in Rome?",
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_output_tokens=100,
    ) as stream:
        first = stream.get_final_response()
    call: Any = first.output[-1]
    assert (call.type, call.name) == ("function_call", "weather")
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 25 degrees."}
    second = real_client.responses.create(
        model=DEFAULT_MODEL, input=[output], previous_response_id=first.id, temperature=0, max_output_tokens=32
    )
    assert second.output_text
    assert second.usage is not None
    assert second.usage.output_tokens <= 32


def test_it_answers_as_it_is_told(real_client: openai.OpenAI) -> None:
    parsed = real_client.responses.parse(
        model=DEFAULT_MODEL, input="Name a city.", text_format=City, temperature=0, max_output_tokens=64
    )
    assert parsed.output_parsed is not None
    assert parsed.output_parsed.city
