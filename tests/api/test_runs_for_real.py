"""Runs that are worked on: the SDK's helpers against models that answer and call tools, all the way through."""

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.beta.threads import Message, Run
from openai.types.beta.threads.runs import RunStep

from homeport.jobs.worker import Event
from homeport.settings import DEFAULT_MODEL
from tests import talkers
from tests.api.assistants import DEPRECATED
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, png, until
from tests.talkers import call, outputs, says, turns
from tests.upstreams.faults import status
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
PATIENCE = 90.0
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {"jobs": {"poll_seconds": 0.1}, "assistants": {"poll_after_ms": 20, "max_turns": 4}}
    with relaying(tmp_path_factory.mktemp("runs"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def ran(client: openai.OpenAI, model: str, *said: str, tools: Any = (), **more: Any) -> Run:
    """As far as it comes."""
    messages: Any = [{"role": "user", "content": one} for one in said or ("Hello!",)]
    assistant = client.beta.assistants.create(model=model, tools=tools, instructions="Be brief.")
    thread = client.beta.threads.create(messages=messages)
    return client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, **more)


def submitted(client: openai.OpenAI, run: Run, *outputs: str) -> Run:
    assert run.required_action is not None
    calls = run.required_action.submit_tool_outputs.tool_calls
    answers: Any = [{"tool_call_id": one.id, "output": out} for one, out in zip(calls, outputs, strict=True)]
    return client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=answers
    )


def messages(client: openai.OpenAI, run: Run) -> list[Message]:
    """In their order."""
    return [*client.beta.threads.messages.list(run.thread_id, order="asc")]


def last(client: openai.OpenAI, run: Run) -> str:
    (part,) = messages(client, run)[-1].content
    assert part.type == "text"
    return part.text.value


def steps(client: openai.OpenAI, run: Run) -> list[RunStep]:
    return [*client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc")]


def asked(relay: Relay, model: str) -> list[Any]:
    return [visit.json for visit in relay.fake.received_for(model)]


def test_a_thread_is_answered(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["plain"] = says("Good ", "day.")
    run = ran(client, "plain", "Hello!", temperature=0.5)
    assert run.status == "completed"
    assert last(client, run) == "Good day."
    assert run.usage is not None
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens) == (20, 10, 30)
    (request,) = asked(relay, "plain")
    assert request == {
        "model": "plain",
        "temperature": 0.5,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    again = client.beta.threads.runs.create_and_poll(
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        instructions="",
        additional_messages=[{"role": "user", "content": "More."}],
    )
    assert again.status == "completed"
    assert [one["content"] for one in asked(relay, "plain")[1]["messages"]] == ["Hello!", "Good day.", "More."]


def test_functions_are_called_and_their_outputs_answered(relay: Relay, client: openai.OpenAI) -> None:
    both = [call("weather", {"city": "Kiel"}), call("weather", {"city": "Rome"}, at=1)]
    relay.fake.by_model["caller"] = turns(says("Let me see.", *both), says("Rain, and sun."))
    run = ran(client, "caller", tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    assert run.status == "requires_action"
    assert run.required_action is not None
    calls = run.required_action.submit_tool_outputs.tool_calls
    assert [one.function.arguments for one in calls] == ['{"city": "Kiel"}', '{"city": "Rome"}']
    run = submitted(client, run, "rain", "sun")
    assert run.status == "completed"
    assert last(client, run) == "Rain, and sun."
    assert run.usage is not None
    assert run.usage.total_tokens == 60

    first, second = asked(relay, "caller")
    assert first["tool_choice"] == "required"
    assert first["parallel_tool_calls"] is False
    assert "tool_choice" not in second
    assert first["tools"][0]["function"]["parameters"] == WEATHER["function"]["parameters"]
    assistant, *said = second["messages"][2:]
    assert assistant["content"] == "Let me see."
    assert [one["id"] for one in assistant["tool_calls"]] == [one.id for one in calls]
    assert said == [
        {"role": "tool", "tool_call_id": one.id, "content": output}
        for one, output in zip(calls, ["rain", "sun"], strict=True)
    ]
    assert [(one.type, one.status) for one in steps(client, run)] == [
        ("message_creation", "completed"),
        ("tool_calls", "completed"),
        ("message_creation", "completed"),
    ]


def test_wrong_calls_are_told_to_the_model_and_the_run_goes_on(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["clumsy"] = turns(
        says(call("weather", '{"city": "Ki')),
        says(call("wetter", {})),
        says(call("weather", {"city": "Kiel"})),
        says("Rain."),
    )
    run = ran(client, "clumsy", tools=[WEATHER])
    assert run.status == "requires_action"
    run = submitted(client, run, "rain")
    assert run.status == "completed"
    told = outputs(relay.fake.received_for("clumsy")[-1])
    assert told[0].startswith("The arguments are no JSON object.")
    assert told[1].startswith("There is no tool 'wetter'.")
    assert told[2] == "rain"


def test_a_run_of_too_many_turns_fails(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["endless"] = says(call("nothing", {}))
    run = ran(client, "endless")
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code == "server_error"
    assert "assistants.max_turns" in run.last_error.message
    assert len(asked(relay, "endless")) == 4


def test_an_answer_that_is_cut_makes_the_run_incomplete(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["long"] = says("A long st", finish="length")
    run = ran(client, "long", max_completion_tokens=256)
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_completion_tokens"
    message = messages(client, run)[-1]
    assert message.status == "incomplete"
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "max_tokens"
    assert asked(relay, "long")[0]["max_completion_tokens"] == 256


def test_tokens_are_counted_over_all_turns(relay: Relay, client: openai.OpenAI) -> None:
    counted = {"prompt_tokens": 300, "completion_tokens": 200}
    relay.fake.by_model["frugal"] = turns(
        says(call("weather", {"city": "Kiel"}), usage=counted), says("Rain.", usage=counted)
    )
    limits: Any = {"max_prompt_tokens": 500, "max_completion_tokens": 1000}
    run = submitted(client, ran(client, "frugal", tools=[WEATHER], **limits), "rain")
    assert run.status == "completed"
    assert [one["max_completion_tokens"] for one in asked(relay, "frugal")] == [1000, 800]
    run = submitted(client, ran(client, "frugal", tools=[WEATHER], max_prompt_tokens=300), "rain")
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_prompt_tokens"


def test_the_last_messages_are_sent_and_pictures_with_them(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["seeing"] = says("I see.")
    picture = client.files.create(file=("house.png", png()), purpose="vision").id
    table = client.files.create(file=("table.csv", b"a,b\n1,2\n"), purpose="assistants").id
    thread = client.beta.threads.create(
        messages=[
            {"role": "user", "content": "Left out."},
            {"role": "assistant", "content": "This, too."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_file", "image_file": {"file_id": picture, "detail": "low"}},
                ],
                "attachments": [{"file_id": table, "tools": [{"type": "code_interpreter"}]}],
            },
        ]
    )
    assistant = client.beta.assistants.create(model="seeing")
    truncation: Any = {"type": "last_messages", "last_messages": 1}
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread.id,
        assistant_id=assistant.id,
        truncation_strategy=truncation,
        response_format={"type": "json_object"},
    )
    assert run.status == "completed", run.last_error
    (request,) = asked(relay, "seeing")
    assert request["response_format"] == {"type": "json_object"}
    (message,) = request["messages"]
    question, image, attached = message["content"]
    assert question == {"type": "text", "text": "What is it?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert image["image_url"]["detail"] == "low"
    assert attached["text"] == f"[Attached: table.csv ({table})]"


def test_whoever_is_busy_for_a_moment_is_asked_again(relay: Relay, client: openai.OpenAI) -> None:
    times: list[int] = []

    def busy(visit: Visit) -> None:
        times.append(1)
        (status(429, retry_after_ms="1") if len(times) < 3 else says("At last."))(visit)

    relay.fake.by_model["busy"] = busy
    run = ran(client, "busy")
    assert run.status == "completed"
    assert len(times) == 3


@pytest.mark.parametrize(
    ("model", "answer", "code"),
    [
        ("busy-for-long", status(429, retry_after="100000"), "rate_limit_exceeded"),
        ("picky", status(400), "invalid_prompt"),
        ("broken", status(501), "server_error"),
    ],
)
def test_what_the_model_refuses_fails_the_run(
    relay: Relay, client: openai.OpenAI, model: str, answer: Any, code: str
) -> None:
    relay.fake.by_model[model] = answer
    run = ran(client, model)
    assert run.status == "failed"
    assert run.failed_at is not None
    assert run.last_error is not None
    assert run.last_error.code == code
    assert run.last_error.message
    again = client.beta.threads.messages.create(run.thread_id, role="user", content="The thread is free.")
    assert again.thread_id == run.thread_id


class Talking:
    """A model that begins to speak, and goes on when it is told to. began: somebody is listening."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.goes_on = threading.Event()

    def __call__(self, visit: Visit) -> None:
        first, second, *rest = talkers.answer(visit, ["Once ", "upon a time."])
        visit.send(STREAM_HEAD + chunked(first) + chunked(second))
        self.began.set()
        if self.goes_on.wait(PATIENCE):
            visit.send(b"".join(map(chunked, rest)) + b"0\r\n\r\n")


def begun(client: openai.OpenAI, model: str) -> Run:
    assistant = client.beta.assistants.create(model=model)
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "A story!"}])
    return client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)


def over(client: openai.OpenAI, run: Run) -> Run:
    return client.beta.threads.runs.poll(run.id, thread_id=run.thread_id)


def test_a_cancelled_run_ends_and_its_half_message_with_it(relay: Relay, client: openai.OpenAI) -> None:
    talking = relay.fake.by_model["story"] = Talking()
    run = begun(client, "story")
    assert talking.began.wait(PATIENCE)
    cancelled = client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert cancelled.status == "cancelling"
    ended: list[Run] = []

    def has_ended() -> bool:
        ended[:] = [client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)]
        return ended[0].status == "cancelled"

    assert until(has_ended, PATIENCE), ended
    talking.goes_on.set()
    message = messages(client, run)[-1]
    assert message.role == "assistant"
    assert message.status == "incomplete"
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "run_cancelled"
    assert last(client, run) == "Once upon a time."
    assert [(one.type, one.status) for one in steps(client, run)] == [("message_creation", "cancelled")]


def test_a_run_whose_thread_is_deleted_ends_quietly(relay: Relay, client: openai.OpenAI) -> None:
    talking = relay.fake.by_model["deleted"] = Talking()
    run = begun(client, "deleted")
    assert talking.began.wait(PATIENCE)
    client.beta.threads.delete(run.thread_id)
    counts = relay.homeport.app.durable.counts
    assert until(lambda: counts[Event("runs", "run", "lost")] == 1, PATIENCE), counts
    talking.goes_on.set()
    relay.fake.by_model["after"] = says("Still here.")
    assert ran(client, "after").status == "completed"


def test_turns_are_paid_for_as_requests_are(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["paid"] = turns(says(call("weather", {"city": "Kiel"})), says("Rain."))
    assert submitted(client, ran(client, "paid", tools=[WEATHER]), "rain").status == "completed"
    rows = relay.rows("paid", 2)
    assert [(row["prompt_tokens"], row["completion_tokens"], row["stream"]) for row in rows] == [(20, 10, 1)] * 2
    assert len({row["request_id"] for row in rows}) == 2


def test_the_echo_calls_what_it_must_and_says_the_output(relay: Relay, client: openai.OpenAI) -> None:
    run = ran(client, "echo", tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}})
    assert run.status == "requires_action", run.last_error
    run = submitted(client, run, "It rains.")
    assert run.status == "completed"
    assert last(client, run) == "It rains."
    assert last(client, ran(client, "echo", "Say it again.")) == "Say it again."


def test_the_embedded_model_calls_by_our_grammar(real_client: openai.OpenAI) -> None:
    run = ran(
        real_client,
        DEFAULT_MODEL,
        "What is the weather in Kiel?",
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_completion_tokens=256,
    )
    assert run.status == "requires_action", run.last_error
    assert run.required_action is not None
    (called,) = run.required_action.submit_tool_outputs.tool_calls
    assert called.function.name == "weather"
    run = submitted(real_client, run, "Rain, 9 degrees.")
    assert run.status in ("completed", "requires_action", "incomplete"), run.last_error
