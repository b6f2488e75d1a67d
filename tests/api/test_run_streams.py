"""Runs as the SDK's helpers stream them, over models that answer and call tools, on both databases."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AssistantEventHandler, AsyncAssistantEventHandler
from openai.types.beta import AssistantStreamEvent

from homeport.control.run_watching import STOPS
from homeport.wire.assistant_events import EVENTS
from tests import openapi
from tests.api import raw
from tests.api.assistants import DEPRECATED
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, until
from tests.store.servers import PostgresServer
from tests.talkers import answer, call, says, turns
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
PATIENCE = 90.0
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
BEGUN = ["thread.run.created", "thread.run.queued", "thread.run.in_progress"]
STEP = ["thread.run.step.created", "thread.run.step.in_progress"]
MESSAGE = [*STEP, "thread.message.created", "thread.message.in_progress"]
SAID = ["thread.message.completed", "thread.run.step.completed"]
SCHEMAS = {
    "thread": "ThreadObject",
    "thread.run": "RunObject",
    "thread.run.step": "RunStepObject",
    "thread.run.step.delta": "RunStepDeltaObject",
    "thread.message": "MessageObject",
    "thread.message.delta": "MessageDeltaObject",
}
_numbers = count()


@pytest.fixture(scope="module", params=databases.KINDS)
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings: dict[str, Any] = {"jobs": {"poll_seconds": 0.1}}
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        settings["database_url"] = postgres.create(f"run_streams_{next(_numbers)}")
    with relaying(tmp_path_factory.mktemp("streams"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


class Seen:
    """What a handler is called with."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.called: list[str] = []
        self.text = ""

    def event(self, event: AssistantStreamEvent) -> None:
        self.events.append(event.event)
        assert event.event in EVENTS
        if event.event != "error":
            assert event.data is not None
            openapi.validate(SCHEMAS[event.data.object], event.data.to_dict())


class Handler(AssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    def on_event(self, event: AssistantStreamEvent) -> None:
        self.seen.event(event)

    def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        self.seen.text += delta.value or ""
        assert snapshot.value == self.seen.text

    def on_text_done(self, text: Any) -> None:
        self.seen.called.append(f"text done: {text.value}")

    def on_message_done(self, message: Any) -> None:
        self.seen.called.append(f"message {message.status}")
        self.seen.text = ""

    def on_tool_call_created(self, tool_call: Any) -> None:
        self.seen.called.append(f"call: {tool_call.function.name}")

    def on_tool_call_done(self, tool_call: Any) -> None:
        self.seen.called.append(f"called: {tool_call.function.arguments}")

    def on_run_step_done(self, run_step: Any) -> None:
        self.seen.called.append(f"step {run_step.status}")


class AsyncHandler(AsyncAssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    async def on_event(self, event: AssistantStreamEvent) -> None:
        self.seen.event(event)


class Talking:
    """Says half of it, and goes on once it is told to."""

    def __init__(self) -> None:
        self.began, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, visit: Visit) -> None:
        first, *rest = answer(visit, ["Once ", "upon a time."])
        visit.send(STREAM_HEAD + chunked(first))
        self.began.set()
        self.goes_on.wait(PATIENCE)
        visit.send(b"".join(map(chunked, rest)) + b"0\r\n\r\n")


def assistant(client: openai.OpenAI, model: str, *tools: Any) -> str:
    return client.beta.assistants.create(model=model, tools=[*tools]).id


def thread(client: openai.OpenAI) -> str:
    return client.beta.threads.create(messages=[{"role": "user", "content": "Hello!"}]).id


def outputs(run: Any, *said: str) -> Any:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": one.id, "output": out} for one, out in zip(calls, said, strict=True)]


def watched(relay: Relay, run: Any, query: str = "") -> list[str]:
    """Names of what a run has told and tells, as its watchers have it."""
    return lines(relay, run, query, "event: ")


def lines(relay: Relay, run: Any, query: str, begin: str) -> list[str]:
    path = f"/v1/threads/{run.thread_id}/runs/{run.id}?stream=true{query}"
    got = raw.ask(relay.homeport, "GET", path, headers={"OpenAI-Beta": "assistants=v2"})
    assert got.status == 200, got.body
    return [line.removeprefix(begin) for line in got.body.decode().splitlines() if line.startswith(begin)]


def test_a_run_that_answers(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["plain"] = says("Good ", "day.")
    handler = Handler()
    begun = client.beta.threads.runs.stream(
        thread_id=thread(client), assistant_id=assistant(client, "plain"), event_handler=handler
    )
    with begun as stream:
        stream.until_done()
        run = stream.get_final_run()
        (message,) = stream.get_final_messages()
        (step,) = stream.get_final_run_steps()
    seen = handler.seen
    assert seen.events == [*BEGUN, *MESSAGE, *["thread.message.delta"] * 2, *SAID, "thread.run.completed"]
    assert seen.called == ["text done: Good day.", "message completed", "step completed"]
    assert (run.status, run.usage and run.usage.total_tokens) == ("completed", 30)
    assert step.type == "message_creation"
    kept = client.beta.threads.messages.retrieve(message.id, thread_id=run.thread_id)
    assert kept.to_dict() == message.to_dict()
    assert watched(relay, run) == [*seen.events, "done"]


def test_functions_their_outputs_and_a_message_before_them(relay: Relay, client: openai.OpenAI) -> None:
    both = [call("weather", '{"city": "Kiel"}'), call("weather", '{"city": "Rome"}', at=1)]
    relay.fake.by_model["caller"] = turns(says("Let me see.", *both), says("Rain, and sun."))
    first, second = Handler(), Handler()
    begun = client.beta.threads.create_and_run_stream(
        assistant_id=assistant(client, "caller", WEATHER),
        thread={"messages": [{"role": "user", "content": "The weather?"}]},
        event_handler=first,
    )
    with begun as stream:
        run = stream.get_final_run()
        said, called = stream.get_final_run_steps()
    calls = ["thread.run.step.delta"] * 4
    assert first.seen.events == [
        "thread.created",
        *BEGUN,
        *MESSAGE,
        "thread.message.delta",
        *SAID,
        *STEP,
        *calls,
        "thread.run.requires_action",
    ]
    details: Any = called.step_details
    assert [one.function.arguments for one in details.tool_calls] == ['{"city": "Kiel"}', '{"city": "Rome"}']
    assert said.type == "message_creation"
    assert first.seen.called[-4:] == [
        "call: weather",
        'called: {"city": "Kiel"}',
        "call: weather",
        'called: {"city": "Rome"}',
    ]
    going = client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs(run, "rain", "sun"), event_handler=second
    )
    with going as stream:
        assert stream.get_final_run().status == "completed"
    assert second.seen.events == [
        "thread.run.step.completed",
        *BEGUN[1:],
        *MESSAGE,
        "thread.message.delta",
        *SAID,
        "thread.run.completed",
    ]
    assert watched(relay, run) == [*first.seen.events, *second.seen.events, "done"]


@pytest.mark.filterwarnings("ignore:use `stream` instead:DeprecationWarning")
def test_async(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["async"] = turns(says(call("weather", "{}")), says("Rain."))
    made, where = assistant(client, "async", WEATHER), thread(client)
    first, second = AsyncHandler(), AsyncHandler()

    async def stream() -> None:
        async with relay.async_client() as later:
            runs = later.beta.threads.runs
            async with runs.create_and_stream(thread_id=where, assistant_id=made, event_handler=first) as begun:
                run = await begun.get_final_run()
            going = runs.submit_tool_outputs_stream(
                run_id=run.id, thread_id=where, tool_outputs=outputs(run, "rain"), event_handler=second
            )
            async with going as streamed:
                pieces = [piece async for piece in streamed.text_deltas]
            assert pieces == ["Rain."]

    asyncio.run(stream())
    assert first.seen.events[-1] == "thread.run.requires_action"
    assert second.seen.events[-1] == "thread.run.completed"


def test_events_without_a_helper(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["bare"] = says("Yes.")
    made = assistant(client, "bare")
    events = [*client.beta.threads.create_and_run(assistant_id=made, stream=True)]
    assert [event.event for event in events][:2] == ["thread.created", "thread.run.created"]
    assert events[-1].event == "thread.run.completed"


def test_a_run_that_fails_is_told_so_and_raised(relay: Relay, client: openai.OpenAI) -> None:
    def breaks_off(visit: Visit) -> None:
        visit.send(STREAM_HEAD + chunked(answer(visit, ["Once "])[0]))
        visit.close()

    relay.fake.by_model["broken"] = breaks_off
    handler = Handler()
    begun = client.beta.threads.runs.stream(
        thread_id=thread(client), assistant_id=assistant(client, "broken"), event_handler=handler
    )
    with begun as stream, pytest.raises(openai.APIError):
        stream.until_done()
    assert handler.seen.events == [
        *BEGUN,
        *MESSAGE,
        "thread.message.delta",
        "thread.message.incomplete",
        "thread.run.step.failed",
        "thread.run.failed",
    ]
    run = handler.current_run
    assert run is not None
    assert run.last_error is not None
    assert run.last_error.code == "server_error"
    assert watched(relay, run)[-2:] == ["error", "done"]


def test_an_answer_that_is_cut_off(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["cut"] = says("Once upon", finish="length")
    handler = Handler()
    begun = client.beta.threads.runs.stream(
        thread_id=thread(client), assistant_id=assistant(client, "cut"), event_handler=handler
    )
    with begun as stream:
        assert stream.get_final_run().status == "incomplete"
    assert handler.seen.events[-3:] == [
        "thread.message.incomplete",
        "thread.run.step.completed",
        "thread.run.incomplete",
    ]


def test_a_run_that_is_cancelled_in_the_middle(relay: Relay, client: openai.OpenAI) -> None:
    talking = relay.fake.by_model["story"] = Talking()
    handler = Handler()
    begun = client.beta.threads.runs.stream(
        thread_id=thread(client), assistant_id=assistant(client, "story"), event_handler=handler
    )
    with begun as stream:
        for event in stream:
            if event.event == "thread.message.delta":
                run = handler.current_run
                assert run is not None
                client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
        (message,) = stream.get_final_messages()
        assert stream.get_final_run().status == "cancelled"
    talking.goes_on.set()
    assert handler.seen.events == [
        *BEGUN,
        *MESSAGE,
        "thread.message.delta",
        "thread.run.cancelling",
        "thread.message.incomplete",
        "thread.run.step.cancelled",
        "thread.run.cancelled",
    ]
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "run_cancelled"
    assert handler.seen.called == ["text done: Once ", "message incomplete", "step cancelled"]


def test_a_client_that_leaves_does_not_stop_a_run_and_others_watch_it(relay: Relay, client: openai.OpenAI) -> None:
    talking = relay.fake.by_model["left"] = Talking()
    begun = client.beta.threads.runs.create(thread(client), assistant_id=assistant(client, "left"), stream=True)
    with begun as stream:
        run: Any = next(iter(stream)).data
        assert talking.began.wait(PATIENCE)
    talking.goes_on.set()
    runs = client.beta.threads.runs
    assert until(lambda: runs.retrieve(run.id, thread_id=run.thread_id).status == "completed", PATIENCE)
    every = watched(relay, run)
    assert every == [*BEGUN, *MESSAGE, *["thread.message.delta"] * 2, *SAID, "thread.run.completed", "done"]
    assert watched(relay, run, "&starting_after=8") == every[9:]
    assert lines(relay, run, "&starting_after=8", "id: ") == ["9", "10", "11"]
    assert watched(relay, run, "&starting_after=11") == ["done"]


def test_a_stream_ends_with_the_key(relay: Relay) -> None:
    talking = relay.fake.by_model["revoked"] = Talking()
    project = new_project(relay.homeport, "passing")
    with client_of(relay.homeport, new_key(relay.homeport, project)) as passing:
        made, where = assistant(passing, "revoked"), thread(passing)
        names = []
        with passing.beta.threads.runs.create(where, assistant_id=made, stream=True) as stream:
            for event in stream:
                names.append(event.event)
                if event.event == "thread.message.delta":
                    keys = raw.ask(relay.homeport, "GET", f"/v1/organization/projects/{project}/api_keys").json["data"]
                    raw.ask(relay.homeport, "DELETE", f"/v1/organization/projects/{project}/api_keys/{keys[0]['id']}")
    talking.goes_on.set()
    assert names == [*BEGUN, *MESSAGE, "thread.message.delta"]


def test_a_server_that_ends_lets_watchers_go(tmp_path: Path) -> None:
    with relaying(tmp_path, {"server": {"drain_seconds": 600}}) as ending, ending.client() as client:
        talking = ending.fake.by_model["story"] = Talking()
        names = []
        begun = client.beta.threads.runs.create(thread(client), assistant_id=assistant(client, "story"), stream=True)
        with begun as stream:
            for event in stream:
                names.append(event.event)
                if event.event == "thread.message.delta":
                    ending.homeport.app.drain()
        talking.goes_on.set()
    assert names[: len(BEGUN) + 5] == [*BEGUN, *MESSAGE, "thread.message.delta"]
    assert not {*names} & STOPS
