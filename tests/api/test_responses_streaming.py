"""Responses as they come: the events, their order, and what the SDK's helpers make of them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests import openapi, talkers
from tests.api import raw
from tests.api.responding import WEATHER
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/responses"
#: Of the description: the schema of each event.
SCHEMAS = {
    "response.created": "ResponseCreatedEvent",
    "response.queued": "ResponseQueuedEvent",
    "response.in_progress": "ResponseInProgressEvent",
    "response.completed": "ResponseCompletedEvent",
    "response.incomplete": "ResponseIncompleteEvent",
    "response.failed": "ResponseFailedEvent",
    "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent",
    "response.content_part.added": "ResponseContentPartAddedEvent",
    "response.content_part.done": "ResponseContentPartDoneEvent",
    "response.output_text.delta": "ResponseTextDeltaEvent",
    "response.output_text.done": "ResponseTextDoneEvent",
    "response.refusal.delta": "ResponseRefusalDeltaEvent",
    "response.refusal.done": "ResponseRefusalDoneEvent",
    "response.reasoning_text.delta": "ResponseReasoningTextDeltaEvent",
    "response.reasoning_text.done": "ResponseReasoningTextDoneEvent",
    "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDeltaEvent",
    "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDoneEvent",
}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("responses")) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def told(relay: Relay, model: str, **more: Any) -> list[dict[str, Any]]:
    """The events, as they stand on the wire."""
    body = {"model": model, "input": "hello", "stream": True, **more}
    answer = raw.ask(relay.homeport, path=PATH, body=body)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = answer.body.decode().split("\n")
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    events = raw.events(answer.body)
    assert names == [event["type"] for event in events], "each event has its name before it"
    return events


def test_the_events_of_a_text(relay: Relay) -> None:
    relay.fake.by_model["text"] = talkers.says("Hi ", "you.")
    events = told(relay, "text")
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == [*range(10)]
    assert [event["delta"] for event in events if "delta" in event] == ["Hi ", "you."]
    assert events[2]["item"]["content"] == []
    assert events[6]["text"] == events[7]["part"]["text"] == events[8]["item"]["content"][0]["text"] == "Hi you."
    assert events[0]["response"]["status"] == events[1]["response"]["status"] == "in_progress"
    last = events[-1]["response"]
    assert (last["status"], last["output"]) == ("completed", [events[8]["item"]])
    assert raw.ask(relay.homeport, "GET", f"{PATH}/{last['id']}").json == last


@pytest.mark.parametrize("end", ["stop", "length"])
def test_events_are_what_the_description_says(relay: Relay, end: str) -> None:
    relay.fake.by_model["all"] = talkers.says(
        {"reasoning_content": "Hm."},
        "Well, ",
        {"refusal": "no."},
        talkers.call("weather", {"city": "Rome"}),
        finish=end,
    )
    events = told(relay, "all", tools=[WEATHER])
    for event in events:
        openapi.validate(SCHEMAS[event["type"]], event)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:-1] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
    ]
    assert kinds[-1] == ("completed" if end == "stop" else "incomplete")
    assert [event["output_index"] for event in events if event["type"].endswith("item.done")] == [0, 1, 2]


class Person(BaseModel):
    name: str


def test_the_sdks_helper(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["helped"] = talkers.says('{"name": ', '"Ada"}')
    with client.responses.stream(model="helped", input="who?", text_format=Person) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ['{"name": ', '{"name": "Ada"}']
    assert final.output_parsed == Person(name="Ada")
    relay.fake.by_model["helped"] = talkers.says(
        talkers.call("weather", '{"city": '), {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]}
    )
    with client.responses.stream(model="helped", input="weather?", tools=[WEATHER]) as stream:
        arguments = [one.snapshot for one in stream if one.type == "response.function_call_arguments.delta"]
    assert arguments == ['{"city": ', '{"city": "Rome"}']


def test_the_sdks_helper_that_waits(relay: Relay) -> None:
    relay.fake.by_model["waited"] = talkers.says("Yes, ", "yes.")

    async def heard() -> str:
        async with relay.async_client() as client:
            async with client.responses.stream(model="waited", input="well?") as stream:
                return (await stream.get_final_response()).output_text

    assert asyncio.run(heard()) == "Yes, yes."


def test_what_breaks_off_is_told_to_have_failed(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["breaks"] = talkers.turns(
        talkers.says("I look. ", talkers.call("nobody", {})), faults.cut_after(faults.begun)
    )
    events = told(relay, "breaks", tools=[WEATHER])
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message"]
    with client.responses.stream(model="breaks", input="hello", tools=[WEATHER]) as stream:
        last = [*stream][-1]
    assert last.type == "response.failed"
