"""The same code over real weights: the protocol, and facts only where this small model is known to be right."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from homeport.backends.generation import LocalText
from homeport.backends.text import TextEngine
from tests.local.running import Json, call_of

pytest.importorskip("xllamacpp")
pytest.importorskip("homeport.backends.engines.llama_cpp")

CITY: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}


def choice_of(engine: TextEngine, text: str, **request: Any) -> Any:
    async def run() -> Any:
        model = LocalText("smollm2", engine)
        await model.start()
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 100, **request}
        async with aclosing(model.chat(call_of(body))) as frames:
            (frame,) = [frame async for frame in frames]
        return json.loads(frame.data)["choices"][0]

    return asyncio.run(run())


def test_it_knows_the_capital_of_france(smollm2: TextEngine) -> None:
    assert "Paris" in choice_of(smollm2, "What is the capital of France?")["message"]["content"]


def test_a_forced_call_has_valid_arguments(smollm2: TextEngine) -> None:
    tool = {"type": "function", "function": {"name": "city", "parameters": CITY}}
    choice = choice_of(smollm2, "Tell me about Paris.", tools=[tool], tool_choice="required", max_tokens=200)
    assert choice["finish_reason"] == "tool_calls"
    assert set(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])) == {"city", "population"}


def test_a_schema_is_followed(smollm2: TextEngine) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    choice = choice_of(smollm2, "Describe Paris.", response_format=form, max_tokens=200)
    assert choice["finish_reason"] == "stop"
    assert set(json.loads(choice["message"]["content"])) == {"city", "population"}


def test_a_clients_control_tokens_stay_characters(smollm2: TextEngine) -> None:
    async def run() -> tuple[int, int]:
        await smollm2.start()
        control = await smollm2.tokenize("<|im_start|>", special=True)
        plain = await smollm2.tokenize("<|im_start|>", special=False)
        return len(control), len(plain)

    control, plain = asyncio.run(run())
    assert control == 1
    assert plain > 1
