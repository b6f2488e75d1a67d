"""What programs of the Assistants API do, as OpenAI's guides and its cookbook showed it: whole programs, each in one
piece, unchanged but for their `base_url`. Upstream models that behave answer them; files and code are real."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AssistantEventHandler, AsyncAssistantEventHandler
from openai.types.beta import Thread
from openai.types.beta.threads import Run

from tests.api.assistants import DEPRECATED
from tests.fake_upstream import Visit
from tests.sandbox.conftest import needs_bubblewrap
from tests.talkers import call, outputs, says, then, turns
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
CODE: Any = {"type": "code_interpreter"}
SEARCH: Any = {"type": "file_search"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "jobs": {"poll_seconds": 0.1},
        "vector_stores": {"embedding_model": "echo"},
        "code_interpreter": {"seconds": 300},
    }
    with relaying(tmp_path_factory.mktemp("examples"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def asked(visit: Visit) -> str:
    """The last thing that the user has said."""
    said: str = [one["content"] for one in visit.json["messages"] if one["role"] == "user"][-1]
    return said


# A tutor: create everything by hand, look again until the run is over, read what is new.


def wait_on_run(client: openai.OpenAI, run: Run, thread: Thread) -> Run:
    while run.status in ("queued", "in_progress"):
        run = client.beta.threads.runs.retrieve(thread_id=thread.id, run_id=run.id)
        time.sleep(0.02)
    return run


def submit_message(client: openai.OpenAI, assistant_id: str, thread: Thread, said: str) -> Run:
    client.beta.threads.messages.create(thread_id=thread.id, role="user", content=said)
    return client.beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant_id)


def create_thread_and_run(client: openai.OpenAI, assistant_id: str, said: str) -> tuple[Thread, Run]:
    thread = client.beta.threads.create()
    return thread, submit_message(client, assistant_id, thread, said)


def get_response(client: openai.OpenAI, thread: Thread) -> list[str]:
    messages: Any = client.beta.threads.messages.list(thread_id=thread.id, order="asc")
    return [f"{one.role}: {one.content[0].text.value}" for one in messages]


def solves(visit: Visit) -> None:
    if found := re.search(r"3x \+ 11 = (\d+)", asked(visit)):
        says("x is ", str((int(found[1]) - 11) // 3), ".")(visit)
    else:
        says("You are welcome.")(visit)


def test_a_tutor_is_polled(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["tutor"] = solves
    assistant = client.beta.assistants.create(
        name="Tutor", instructions="Solve equations. One sentence.", model="tutor"
    )
    thread = client.beta.threads.create()
    message = client.beta.threads.messages.create(
        thread_id=thread.id, role="user", content="I need to solve 3x + 11 = 14. Can you help?"
    )
    run = client.beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "queued"
    run = wait_on_run(client, run, thread)
    assert run.status == "completed"
    assert get_response(client, thread) == ["user: I need to solve 3x + 11 = 14. Can you help?", "assistant: x is 1."]

    message = client.beta.threads.messages.create(thread_id=thread.id, role="user", content="And 3x + 11 = 17?")
    run = client.beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant.id)
    wait_on_run(client, run, thread)
    news: Any = client.beta.threads.messages.list(thread_id=thread.id, order="asc", after=message.id)
    (answer,) = news.data
    assert answer.content[0].text.value == "x is 2."
    assert (answer.run_id, answer.assistant_id, answer.thread_id) == (run.id, assistant.id, thread.id)


def test_several_threads_at_once_and_one_of_them_goes_on(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["tutor"] = solves
    assistant = client.beta.assistants.create(name="Tutor", instructions="Solve equations.", model="tutor")
    begun = [create_thread_and_run(client, assistant.id, f"Solve 3x + 11 = {right}.") for right in (14, 17, 20)]
    for thread, run in begun:
        assert wait_on_run(client, run, thread).status == "completed"
    assert [get_response(client, thread)[-1] for thread, _ in begun] == [
        "assistant: x is 1.",
        "assistant: x is 2.",
        "assistant: x is 3.",
    ]
    thread = begun[-1][0]
    assert wait_on_run(client, submit_message(client, assistant.id, thread, "Thank you!"), thread).status == "completed"
    assert get_response(client, thread)[1:] == ["assistant: x is 3.", "user: Thank you!", "assistant: You are welcome."]


@needs_bubblewrap
def test_an_assistant_learns_to_run_code_and_shows_its_steps(relay: Relay, client: openai.OpenAI) -> None:
    fibonacci = "a, b = 0, 1\nfor _ in range(20):\n    print(a, end=' ')\n    a, b = b, a + b"
    relay.fake.by_model["coding-tutor"] = turns(
        says(call("code_interpreter", {"code": fibonacci})), then(lambda visit: says("They are: ", outputs(visit)[-1]))
    )
    assistant = client.beta.assistants.create(name="Tutor", instructions="Solve it.", model="coding-tutor")
    assistant = client.beta.assistants.update(assistant.id, tools=[CODE])
    thread, run = create_thread_and_run(client, assistant.id, "Generate the first 20 Fibonacci numbers with code.")
    run = wait_on_run(client, run, thread)
    assert get_response(client, thread)[-1].startswith("assistant: They are: 0 1 1 2 3 5 8 13 21")
    run_steps = client.beta.threads.runs.steps.list(thread_id=thread.id, run_id=run.id, order="asc")
    details = [json.loads(step.step_details.model_dump_json()) for step in run_steps.data]
    assert [one["type"] for one in details] == ["tool_calls", "message_creation"]
    (called,) = details[0]["tool_calls"]
    assert called["code_interpreter"]["input"] == fibonacci
    (logs,) = called["code_interpreter"]["outputs"]
    assert logs["type"] == "logs"
    assert logs["logs"].split()[-1] == "4181"


# A quiz: a function with a nested schema, whose output is what a person has answered.

QUIZ: Any = {
    "name": "display_quiz",
    "description": "Shows a quiz to the student, and returns what the student has answered.",
    "parameters": {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "questions": {
                "type": "array",
                "description": "Each question, in order.",
                "items": {
                    "type": "object",
                    "properties": {
                        "question_text": {"type": "string"},
                        "question_type": {"type": "string", "enum": ["MULTIPLE_CHOICE", "FREE_RESPONSE"]},
                        "choices": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["question_text"],
                },
            },
        },
        "required": ["title", "questions"],
    },
}


def display_quiz(title: str, questions: list[dict[str, Any]]) -> list[str]:
    assert title == "Sums"
    return ["a" if one["question_type"] == "MULTIPLE_CHOICE" else "I don't know." for one in questions]


def test_a_quiz_waits_for_the_student(relay: Relay, client: openai.OpenAI) -> None:
    questions = [
        {"question_text": "One and one?", "question_type": "MULTIPLE_CHOICE", "choices": ["2", "3"]},
        {"question_text": "Why?", "question_type": "FREE_RESPONSE"},
    ]
    relay.fake.by_model["quiz"] = turns(
        says(call("display_quiz", {"title": "Sums", "questions": questions})),
        then(lambda visit: says("You said: ", ", ".join(json.loads(outputs(visit)[-1])))),
    )
    assistant = client.beta.assistants.create(
        name="Tutor", model="quiz", tools=[{"type": "function", "function": QUIZ}]
    )
    assert assistant.tools[0].type == "function"
    assert assistant.tools[0].function.parameters == QUIZ["parameters"]
    thread, run = create_thread_and_run(client, assistant.id, "Make a quiz of two questions. Then grade it.")
    run = wait_on_run(client, run, thread)
    assert run.status == "requires_action"
    assert run.required_action is not None
    (tool_call,) = run.required_action.submit_tool_outputs.tool_calls
    assert tool_call.function.name == "display_quiz"
    responses = display_quiz(**json.loads(tool_call.function.arguments))
    run = client.beta.threads.runs.submit_tool_outputs(
        thread_id=thread.id,
        run_id=run.id,
        tool_outputs=[{"tool_call_id": tool_call.id, "output": json.dumps(responses)}],
    )
    assert run.status == "queued"
    assert wait_on_run(client, run, thread).status == "completed"
    assert get_response(client, thread)[-1] == "assistant: You said: a, I don't know."


# A weather bot: parallel calls of strict functions, polled and streamed.

WEATHER: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "City and state."},
                    **({"unit": {"type": "string", "enum": ["Celsius", "Fahrenheit"]}} if unit else {}),
                },
                "required": ["location", "unit"] if unit else ["location"],
                "additionalProperties": False,
            },
        },
    }
    for name, unit in (("get_current_temperature", True), ("get_rain_probability", False))
]
FOUND = {"get_current_temperature": "57", "get_rain_probability": "0.06"}
FORECAST = turns(
    says(
        call("get_current_temperature", {"location": "San Francisco, CA", "unit": "Fahrenheit"}),
        call("get_rain_probability", {"location": "San Francisco, CA"}, at=1),
    ),
    then(lambda visit: says("It is ", outputs(visit)[0], " degrees; rain: ", outputs(visit)[1], ".")),
)


def test_functions_called_in_parallel_and_polled(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["weather"] = FORECAST
    assistant = client.beta.assistants.create(instructions="Use the functions.", model="weather", tools=WEATHER)
    thread = client.beta.threads.create()
    client.beta.threads.messages.create(thread_id=thread.id, role="user", content="San Francisco today?")
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "requires_action"
    assert run.required_action is not None
    tool_outputs: Any = [
        {"tool_call_id": tool.id, "output": FOUND[tool.function.name]}
        for tool in run.required_action.submit_tool_outputs.tool_calls
    ]
    run = client.beta.threads.runs.submit_tool_outputs_and_poll(
        thread_id=thread.id, run_id=run.id, tool_outputs=tool_outputs
    )
    assert run.status == "completed"
    assert get_response(client, thread)[-1] == "assistant: It is 57 degrees; rain: 0.06."


class Forecaster(AssistantEventHandler):
    """Answers calls while it is called with events, by another stream with a handler of its kind."""

    def __init__(self, client: openai.OpenAI, said: list[str]) -> None:
        super().__init__()
        self.client, self.said = client, said

    def on_event(self, event: Any) -> None:
        if event.event == "thread.run.requires_action":
            tool_outputs: Any = [
                {"tool_call_id": tool.id, "output": FOUND[tool.function.name]}
                for tool in event.data.required_action.submit_tool_outputs.tool_calls
            ]
            assert self.current_run is not None
            with self.client.beta.threads.runs.submit_tool_outputs_stream(
                thread_id=self.current_run.thread_id,
                run_id=self.current_run.id,
                tool_outputs=tool_outputs,
                event_handler=Forecaster(self.client, self.said),
            ) as stream:
                self.said.extend(stream.text_deltas)


def test_functions_called_in_a_stream_and_answered_in_its_handler(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["weather"] = FORECAST
    assistant = client.beta.assistants.create(instructions="Use the functions.", model="weather", tools=WEATHER)
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "San Francisco today?"}])
    said: list[str] = []
    with client.beta.threads.runs.stream(
        thread_id=thread.id, assistant_id=assistant.id, event_handler=Forecaster(client, said)
    ) as stream:
        stream.until_done()
    assert "".join(said) == "It is 57 degrees; rain: 0.06."
    (run,) = client.beta.threads.runs.list(thread_id=thread.id)
    assert run.status == "completed"


class AsyncForecaster(AsyncAssistantEventHandler):
    def __init__(self, client: openai.AsyncOpenAI, said: list[str]) -> None:
        super().__init__()
        self.client, self.said = client, said

    async def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        self.said.append(delta.value)

    async def on_event(self, event: Any) -> None:
        if event.event == "thread.run.requires_action":
            calls = event.data.required_action.submit_tool_outputs.tool_calls
            async with self.client.beta.threads.runs.submit_tool_outputs_stream(
                thread_id=event.data.thread_id,
                run_id=event.data.id,
                tool_outputs=[{"tool_call_id": one.id, "output": FOUND[one.function.name]} for one in calls],
                event_handler=AsyncForecaster(self.client, self.said),
            ) as stream:
                await stream.until_done()


def test_the_same_with_the_async_client(relay: Relay) -> None:
    relay.fake.by_model["weather"] = FORECAST
    said: list[str] = []

    async def forecast() -> None:
        async with relay.async_client() as client:
            assistant = await client.beta.assistants.create(model="weather", tools=WEATHER)
            thread = await client.beta.threads.create(messages=[{"role": "user", "content": "San Francisco today?"}])
            async with client.beta.threads.runs.stream(
                thread_id=thread.id, assistant_id=assistant.id, event_handler=AsyncForecaster(client, said)
            ) as stream:
                await stream.until_done()

    asyncio.run(forecast())
    assert "".join(said) == "It is 57 degrees; rain: 0.06."


def test_a_run_without_a_helper_is_a_stream_of_events(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["tutor"] = solves
    assistant = client.beta.assistants.create(model="tutor")
    stream = client.beta.threads.create_and_run(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "3x + 11 = 14"}]}, stream=True
    )
    said = ""
    for event in stream:
        if event.event == "thread.message.delta":
            for part in event.data.delta.content or []:
                if part.type == "text" and part.text:
                    said += part.text.value or ""
    assert said == "x is 1."


# Code that draws, in a stream whose handler shows the code while it is written.


class Terminal(AssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.shown = ""
        self.images: list[str] = []

    def on_text_created(self, text: Any) -> None:
        self.shown += "\nassistant > "

    def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        self.shown += delta.value or ""

    def on_image_file_done(self, image_file: Any) -> None:
        self.images.append(image_file.file_id)

    def on_tool_call_created(self, tool_call: Any) -> None:
        self.shown += f"\nassistant > {tool_call.type}\n"

    def on_tool_call_delta(self, delta: Any, snapshot: Any) -> None:
        if delta.type == "code_interpreter":
            self.shown += delta.code_interpreter.input or ""
            for output in delta.code_interpreter.outputs or []:
                if output.type == "logs":
                    self.shown += f"\noutput >\n{output.logs}"


@needs_bubblewrap
def test_a_picture_that_code_draws_is_downloaded(relay: Relay, client: openai.OpenAI, tmp_path: Path) -> None:
    code = f"""import base64, csv
rows = list(csv.reader(open('/mnt/data/sales.csv')))
open('/mnt/data/chart.png', 'wb').write(base64.b64decode('{PNG}'))
csv.writer(open('/mnt/data/sorted.csv', 'w')).writerows(sorted(rows, key=lambda row: int(row[1])))
print(len(rows), 'rows')"""
    link = "sandbox:/mnt/data/sorted.csv"
    relay.fake.by_model["artist"] = turns(
        says("I ", "draw.", call("code_interpreter", {"code": code})), says("Here is the [table](", f"{link}).")
    )
    file = client.files.create(file=("sales.csv", b"May,30\nJune,20\n"), purpose="assistants")
    assistant = client.beta.assistants.create(
        name="Artist",
        model="artist",
        tools=[CODE],
        tool_resources={"code_interpreter": {"file_ids": [file.id]}},
    )
    thread = client.beta.threads.create(
        messages=[
            {"role": "user", "content": "Draw it.", "attachments": [{"file_id": file.id, "tools": [CODE]}]},
        ]
    )
    terminal = Terminal()
    with client.beta.threads.runs.stream(
        thread_id=thread.id, assistant_id=assistant.id, instructions="Call me Jane.", event_handler=terminal
    ) as stream:
        stream.until_done()
    assert terminal.shown == (
        f"\nassistant > I draw.\nassistant > code_interpreter\n{code}\noutput >\n2 rows\n"
        f"\nassistant > Here is the [table]({link})."
    )
    messages: Any = client.beta.threads.messages.list(thread_id=thread.id)
    picture, text = messages.data[0].content
    assert (picture.type, text.type) == ("image_file", "text")
    assert terminal.images == [picture.image_file.file_id]
    chart = tmp_path / "chart.png"
    client.files.content(picture.image_file.file_id).write_to_file(chart)
    assert chart.read_bytes().startswith(b"\x89PNG")
    (annotation,) = text.text.annotations
    assert annotation.text == link
    assert client.files.content(annotation.file_path.file_id).read().split() == [b"June,20", b"May,30"]


# Files that are searched: a batch into a store, one in a message, and citations as footnotes.


def cites(visit: Visit) -> Any:
    """The first passage of each file, by its name."""
    markers = {one.rpartition("†")[2]: one for one in re.findall("^【.*】$", outputs(visit)[-1], re.MULTILINE)[::-1]}
    return says(*(f"As it says{markers[name]}. " for name in sorted(markers)))


class Footnotes(AssistantEventHandler):
    def __init__(self, client: openai.OpenAI) -> None:
        super().__init__()
        self.client = client
        self.tools: list[str] = []
        self.said = ""
        self.notes: list[str] = []

    def on_tool_call_created(self, tool_call: Any) -> None:
        self.tools.append(tool_call.type)

    def on_message_done(self, message: Any) -> None:
        self.said, self.notes = footnotes(self.client, message.content[0].text)


def footnotes(client: openai.OpenAI, text: Any) -> tuple[str, list[str]]:
    said, notes = text.value, []
    for index, annotation in enumerate(text.annotations):
        said = said.replace(annotation.text, f"[{index}]")
        if file_citation := getattr(annotation, "file_citation", None):
            notes.append(f"[{index}] {client.files.retrieve(file_citation.file_id).filename}")
    return said, notes


def test_files_are_searched_and_cited_in_footnotes(relay: Relay, client: openai.OpenAI, tmp_path: Path) -> None:
    relay.fake.by_model["analyst"] = turns(says(call("file_search", {"queries": ["cash"]})), then(cites))
    paths = [tmp_path / "2022.md", tmp_path / "2023.md"]
    for path in paths:
        path.write_text(f"In {path.stem} the cash was counted.")
    assistant = client.beta.assistants.create(name="Analyst", model="analyst", tools=[SEARCH])
    store = client.vector_stores.create(name="Statements", expires_after={"anchor": "last_active_at", "days": 7})
    streams = [path.open("rb") for path in paths]
    batch = client.vector_stores.file_batches.upload_and_poll(vector_store_id=store.id, files=streams)
    for one in streams:
        one.close()
    assert (batch.status, batch.file_counts.completed) == ("completed", 2)
    assistant = client.beta.assistants.update(
        assistant_id=assistant.id, tool_resources={"file_search": {"vector_store_ids": [store.id]}}
    )
    filing = client.files.create(file=("own.md", b"Some cash was in a sock."), purpose="assistants")
    attachments: Any = [{"file_id": filing.id, "tools": [SEARCH]}]
    thread = client.beta.threads.create(
        messages=[{"role": "user", "content": "How much cash?", "attachments": attachments}]
    )
    assert thread.tool_resources is not None
    assert thread.tool_resources.file_search is not None
    assert thread.tool_resources.file_search.vector_store_ids

    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    messages: Any = list(client.beta.threads.messages.list(thread_id=thread.id, run_id=run.id))
    said, notes = footnotes(client, messages[0].content[0].text)
    assert said == "As it says[0]. As it says[1]. As it says[2]. "
    assert notes == ["[0] 2022.md", "[1] 2023.md", "[2] own.md"]

    handler = Footnotes(client)
    with client.beta.threads.runs.stream(
        thread_id=thread.id,
        assistant_id=assistant.id,
        additional_messages=[{"role": "user", "content": "Again?"}],
        event_handler=handler,
    ) as stream:
        stream.until_done()
    assert (handler.tools, handler.said, handler.notes) == (["file_search"], said, notes)


# Answers of a schema, and the small change of the documentation.


def test_answers_follow_a_schema(relay: Relay, client: openai.OpenAI) -> None:
    steps = {"steps": ["Subtract 11.", "Divide by 3."], "answer": "1"}
    relay.fake.by_model["structured"] = says(json.dumps(steps))
    schema: Any = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}}, "answer": {"type": "string"}},
        "required": ["steps", "answer"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "reasoning", "schema": schema, "strict": True}}
    assistant = client.beta.assistants.create(model="structured", response_format=form)
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "3x + 11 = 14"}]}
    )
    assert run.status == "completed"
    messages: Any = client.beta.threads.messages.list(run.thread_id, run_id=run.id)
    assert json.loads(messages.data[0].content[0].text.value) == steps
    assert relay.fake.received_for("structured")[0].json["response_format"] == form


def test_a_run_in_words_of_its_own(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["plain"] = says("Done.")
    assistant = client.beta.assistants.create(model="gone-by-now", instructions="Be kind.", tools=WEATHER)
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Old news."}], metadata={"user": "7"})
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread.id,
        assistant_id=assistant.id,
        model="plain",
        instructions="Be brief.",
        additional_instructions="And polite.",
        additional_messages=[
            {"role": "assistant", "content": "Indeed."},
            {"role": "user", "content": "What is new?"},
        ],
        tools=[],
        temperature=0.2,
        top_p=0.9,
        max_prompt_tokens=1000,
        max_completion_tokens=500,
        truncation_strategy={"type": "last_messages", "last_messages": 2},
        tool_choice="none",
        metadata={"run": "1"},
    )
    assert run.status == "completed", run.last_error
    (request,) = [visit.json for visit in relay.fake.received_for("plain")]
    system, *messages = request["messages"]
    assert system["content"].split() == ["Be", "brief.", "And", "polite."]
    assert [one["content"] for one in messages] == ["Indeed.", "What is new?"]
    assert "tools" not in request
    run = client.beta.threads.runs.update(run.id, thread_id=thread.id, metadata={"run": "2"})
    assert run.metadata == {"run": "2"}
    assert run.usage is not None
    assert run.usage.total_tokens == 30


def test_everything_is_listed_and_taken_away(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["tutor"] = solves
    assistants = [client.beta.assistants.create(model="tutor", name=f"Number {at}") for at in range(3)]
    listed = [one.id for one in client.beta.assistants.list(order="desc", limit=2)]
    assert listed[:3] == [one.id for one in assistants[::-1]], "pages are turned"
    thread = client.beta.threads.create()
    thread = client.beta.threads.update(thread.id, metadata={"modified": "true"})
    message = client.beta.threads.messages.create(thread.id, role="user", content="3x + 11 = 14")
    message = client.beta.threads.messages.update(message.id, thread_id=thread.id, metadata={"modified": "true"})
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistants[0].id)
    (step,) = client.beta.threads.runs.steps.list(run.id, thread_id=thread.id)
    assert client.beta.threads.runs.steps.retrieve(step.id, thread_id=thread.id, run_id=run.id) == step
    with pytest.raises(openai.BadRequestError, match="Cannot cancel run with status 'completed'"):
        client.beta.threads.runs.cancel(run.id, thread_id=thread.id)
    assert client.beta.threads.messages.delete(message.id, thread_id=thread.id).deleted
    assert client.beta.threads.delete(thread.id).deleted
    for one in assistants:
        assert client.beta.assistants.delete(one.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.beta.threads.retrieve(thread.id)
    with pytest.raises(openai.NotFoundError):
        client.beta.assistants.retrieve(assistants[0].id)
