"""What programs of the Responses API do, as OpenAI's guides and its cookbook show it: whole programs, each in one
piece, unchanged but for their `base_url`. Upstream models that behave answer them; files and code are real."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.fake_upstream import Visit
from tests.sandbox.conftest import needs_bubblewrap
from tests.talkers import call, outputs, says, then, turns
from tests.upstreams.homeports import Relay, relaying

JOKE = "tell me a joke"


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


def jokes(visit: Visit) -> None:
    """Tells one, explains it, and knows which it was."""
    said = [one["content"] for one in visit.json["messages"]]
    if said[-1] == JOKE:
        says(f"Joke {said.count(JOKE)}.")(visit)
    else:
        told = [one["content"] for one in visit.json["messages"] if one["role"] == "assistant"]
        says("It is funny, because it is ", told[-1])(visit)


def test_a_conversation_goes_on_and_forks(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["jokes"] = jokes
    response = client.responses.create(model="jokes", input=JOKE)
    assert response.output_text == "Joke 1."
    fetched: Any = client.responses.retrieve(response_id=response.id)
    assert fetched.output[0].content[0].text == "Joke 1."
    two = client.responses.create(model="jokes", input=JOKE, previous_response_id=response.id)
    assert two.output_text == "Joke 2."
    forked = client.responses.create(model="jokes", input="Why is it funny?", previous_response_id=response.id)
    assert forked.output_text == "It is funny, because it is Joke 1."


def test_a_history_that_the_client_keeps(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["jokes"] = jokes
    history: Any = [{"role": "user", "content": JOKE}]
    response = client.responses.create(model="jokes", input=history, store=False)
    history += [{"role": one.role, "content": one.content} for one in response.output if one.type == "message"]
    history.append({"role": "user", "content": "Why is it funny?"})
    second = client.responses.create(model="jokes", input=history, store=False)
    assert second.output_text == "It is funny, because it is Joke 1."
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_a_conversation_that_the_server_keeps(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["jokes"] = jokes
    conversation = client.conversations.create()
    client.responses.create(model="jokes", input=[{"role": "user", "content": JOKE}], conversation=conversation.id)
    second = client.responses.create(model="jokes", input="Why is it funny?", conversation=conversation.id)
    assert second.output_text == "It is funny, because it is Joke 1."
    items: Any = client.conversations.items.list(conversation.id, order="asc")
    assert [(one.role, one.content[0].text) for one in items] == [
        ("user", JOKE),
        ("assistant", "Joke 1."),
        ("user", "Why is it funny?"),
        ("assistant", "It is funny, because it is Joke 1."),
    ]


TOOLS: Any = [
    {
        "type": "function",
        "name": name,
        "description": f"{name}, of now.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    for name in ("get_weather", "get_time")
]


def call_function(name: str, arguments: dict[str, str]) -> str:
    return json.dumps({"get_weather": "14 degrees", "get_time": "noon"}[name] + f" in {arguments['location']}")


def test_functions_are_called_until_there_is_an_answer(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["caller"] = turns(
        says(call("get_weather", {"location": "Paris"}), call("get_weather", {"location": "Oslo"}, at=1)),
        says(call("get_time", {"location": "Paris"})),
        then(lambda visit: says(", ".join(json.loads(one) for one in outputs(visit)))),
    )
    input_list: Any = [{"role": "user", "content": "Paris and Oslo, please."}]
    rounds = 0
    while True:
        response = client.responses.create(model="caller", tools=TOOLS, input=input_list, parallel_tool_calls=True)
        input_list += response.output
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        rounds += 1
        for item in calls:
            output = call_function(item.name, json.loads(item.arguments))
            input_list.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
    assert rounds == 2
    assert response.output_text == "14 degrees in Paris, 14 degrees in Oslo, noon in Paris"


def test_calls_in_a_stream_are_put_together(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["caller"] = turns(
        says(
            call("get_weather", '{"location": '), {"tool_calls": [{"index": 0, "function": {"arguments": '"Paris"}'}}]}
        ),
        then(lambda visit: says("It has ", json.loads(outputs(visit)[-1]))),
    )
    final_tool_calls: dict[int, Any] = {}
    for event in client.responses.create(model="caller", input="Paris?", tools=TOOLS, stream=True):
        if event.type == "response.output_item.added":
            final_tool_calls[event.output_index] = event.item
        elif event.type == "response.function_call_arguments.delta":
            final_tool_calls[event.output_index].arguments += event.delta
        elif event.type == "response.completed":
            response_id = event.response.id
    (called,) = final_tool_calls.values()
    output = call_function(called.name, json.loads(called.arguments))
    with client.responses.stream(
        model="caller",
        previous_response_id=response_id,
        input=[{"type": "function_call_output", "call_id": called.call_id, "output": output}],
        tools=TOOLS,
    ) as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert said == final.output_text == "It has 14 degrees in Paris"


def test_files_are_searched_and_results_included(relay: Relay, client: openai.OpenAI) -> None:
    def cites(visit: Visit) -> Any:
        (marker,) = re.findall("^【.*】$", outputs(visit)[-1], re.MULTILINE)
        return says("Deep research is an agent ", marker, ".")

    relay.fake.by_model["librarian"] = turns(says(call("file_search", {"queries": ["deep research"]})), then(cites))
    store = client.vector_stores.create(name="knowledge_base")
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("deep.md", b"Deep research is an agent that reads for minutes.")
    )
    assert file.status == "completed", file.last_error
    response = client.responses.create(
        model="librarian",
        input="What is deep research?",
        tools=[{"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 2}],
        include=["file_search_call.results"],
    )
    search, message = response.output
    assert search.type == "file_search_call"
    assert search.results is not None
    assert [one.filename for one in search.results] == ["deep.md"]
    assert "for minutes" in (search.results[0].text or "")
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    (annotation,) = part.annotations
    assert annotation.type == "file_citation"
    assert (annotation.file_id, annotation.filename) == (file.id, "deep.md")
    assert part.text[: annotation.index] == "Deep research is an agent"
    found = client.vector_stores.search(vector_store_id=store.id, query="deep research")
    assert [one.filename for one in found] == ["deep.md"]


@needs_bubblewrap
def test_code_is_run_and_its_file_is_fetched(relay: Relay, client: openai.OpenAI) -> None:
    code = "numbers = open('/mnt/data/numbers.csv').read().split(',')\nopen('sum.txt', 'w').write(str(len(numbers)))"
    relay.fake.by_model["coder"] = turns(
        says(call("code_interpreter", {"code": code})), says("Here: [sum](sandbox:/mnt/data/sum.txt)")
    )
    file = client.files.create(file=("numbers.csv", b"1,2,3"), purpose="user_data")
    response = client.responses.create(
        model="coder",
        tools=[{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file.id]}}],
        instructions="Write and run code.",
        input="How many numbers are there?",
    )
    called, message = response.output
    assert called.type == "code_interpreter_call"
    assert (called.status, called.code) == ("completed", code)
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    (annotation,) = part.annotations
    assert annotation.type == "container_file_citation"
    assert annotation.container_id == called.container_id
    made = client.containers.files.content.retrieve(annotation.file_id, container_id=annotation.container_id)
    assert made.read() == b"3"


class CalendarEvent(BaseModel):
    name: str
    date: str
    participants: list[str]


def test_answers_are_parsed(relay: Relay, client: openai.OpenAI) -> None:
    event = CalendarEvent(name="Science fair", date="Friday", participants=["Alice", "Bob"])
    relay.fake.by_model["parsed"] = says(event.model_dump_json())
    said: Any = [
        {"role": "system", "content": "Extract the event."},
        {"role": "user", "content": "Alice and Bob are going to a science fair on Friday."},
    ]
    response = client.responses.parse(model="parsed", input=said, text_format=CalendarEvent)
    assert response.output_parsed == event
    sent = relay.fake.received_for("parsed")[0].json["response_format"]["json_schema"]
    assert (sent["strict"], sent["schema"]["required"]) == (True, ["name", "date", "participants"])
    with client.responses.stream(model="parsed", input=said, text_format=CalendarEvent) as stream:
        stream.until_done()
        assert stream.get_final_response().output_parsed == event


def test_in_the_background(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["novelist"] = says("A very ", "long ", "novel.")
    response = client.responses.create(model="novelist", input="Write a very long novel.", background=True)
    while response.status in ("queued", "in_progress"):
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    assert (response.status, response.output_text) == ("completed", "A very long novel.")

    begun = client.responses.create(model="novelist", input="Another.", background=True, stream=True)
    with begun:
        first = next(iter(begun))
    assert first.type == "response.created"
    followed = client.responses.retrieve(first.response.id, stream=True, starting_after=first.sequence_number)
    events = [*followed]
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "A very long novel."
    assert client.responses.cancel(response.id).status == "completed", "it has ended"
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_pictures_are_seen(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["seer"] = says("A dot.")
    picture = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    content: Any = [
        {"type": "input_text", "text": "What is in this image?"},
        {"type": "input_image", "image_url": picture},
    ]
    response = client.responses.create(model="seer", input=[{"role": "user", "content": content}])
    assert response.output_text == "A dot."
    (message,) = relay.fake.received_for("seer")[0].json["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"] == picture


def test_what_was_asked_can_be_read_again(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["jokes"] = jokes
    response = client.responses.create(model="jokes", input=JOKE, metadata={"topic": "jokes"})
    items: Any = client.responses.input_items.list(response.id)
    assert [(one.role, one.content[0].text) for one in items] == [("user", JOKE)]
    assert client.responses.retrieve(response.id).metadata == {"topic": "jokes"}
