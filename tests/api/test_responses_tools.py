"""Responses that search files and run code: their items, their events, and their citations."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests import openapi, talkers
from tests.api import raw
from tests.api.responding import said
from tests.api.searched import new_store
from tests.cells import FakeCells
from tests.fake_upstream import until
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/responses"
SCHEMAS = {
    "response.file_search_call.in_progress": "ResponseFileSearchCallInProgressEvent",
    "response.file_search_call.searching": "ResponseFileSearchCallSearchingEvent",
    "response.file_search_call.completed": "ResponseFileSearchCallCompletedEvent",
    "response.code_interpreter_call.in_progress": "ResponseCodeInterpreterCallInProgressEvent",
    "response.code_interpreter_call.interpreting": "ResponseCodeInterpreterCallInterpretingEvent",
    "response.code_interpreter_call.completed": "ResponseCodeInterpreterCallCompletedEvent",
    "response.code_interpreter_call_code.delta": "ResponseCodeInterpreterCallCodeDeltaEvent",
    "response.code_interpreter_call_code.done": "ResponseCodeInterpreterCallCodeDoneEvent",
    "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent",
    "response.output_text.annotation.added": "ResponseOutputTextAnnotationAddedEvent",
    "response.completed": "ResponseCompletedEvent",
}
CODE: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {"vector_stores": {"embedding_model": "echo"}}
    with relaying(tmp_path_factory.mktemp("tools"), settings) as made:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(made.homeport.app.durable._assisting._workplaces, "_cells", FakeCells())
            yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


@pytest.fixture(scope="module")
def store(relay: Relay, client: openai.OpenAI) -> str:
    return new_store(relay.homeport, client, tides=["High tide is at noon.", "Low tide is at six."])


def marker(visit: Any) -> str:
    """Of the first passage that was found."""
    found = talkers.outputs(visit)[0]
    return found[found.index("【") : found.index("】") + 1]


SEARCHER = talkers.turns(
    talkers.says("I look. ", talkers.call("file_search", {"queries": ["high tide"]})),
    talkers.then(lambda visit: talkers.says("At noon", marker(visit)[:4], marker(visit)[4:], ", it says.")),
)


def test_files_are_searched(relay: Relay, client: openai.OpenAI, store: str) -> None:
    relay.fake.by_model["searcher"] = SEARCHER
    search: Any = {"type": "file_search", "vector_store_ids": [store], "max_num_results": 1}
    made = client.responses.create(
        model="searcher", input="when is high tide?", tools=[search], tool_choice={"type": "file_search"}
    )
    assert (made.status, said(made)) == ("completed", ["message", "file_search_call", "message"])
    call, answer = made.output[1:]
    assert call.type == "file_search_call"
    assert (call.status, call.queries, call.results) == ("completed", ["high tide"], None)
    assert answer.type == "message"
    (part,) = answer.content
    assert part.type == "output_text"
    assert part.text == "At noon, it says."
    (annotation,) = part.annotations
    assert annotation.type == "file_citation"
    assert (annotation.index, annotation.filename) == (7, "tides.txt")
    first, second = (visit.json for visit in relay.fake.received_for("searcher"))
    assert first["tool_choice"] == {"type": "function", "function": {"name": "file_search"}}
    assert "tool_choice" not in second, "or it would never end"
    whole = client.responses.retrieve(made.id, include=["file_search_call.results"])
    assert whole.output[1].type == "file_search_call"
    assert whole.output[1].results is not None
    (found,) = whole.output[1].results
    assert (found.text, found.filename) == ("High tide is at noon.", "tides.txt")


def test_how_much_each_half_of_a_search_counts(relay: Relay, client: openai.OpenAI, store: str) -> None:
    relay.fake.by_model["weighing"] = SEARCHER
    weights = {"embedding_weight": 0, "text_weight": 1}
    search: Any = {"type": "file_search", "vector_store_ids": [store], "ranking_options": {"hybrid_search": weights}}
    made = client.responses.create(model="weighing", input="when?", tools=[search])
    assert made.output_text == "I look. At noon, it says."
    assert raw.ask(relay.homeport, "GET", f"{PATH}/{made.id}").json["tools"] == [search]
    weights["text_weight"] = 0
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="weighing", input="when?", tools=[search])
    assert caught.value.param == "tools.ranking_options.hybrid_search"


def test_its_events(relay: Relay, store: str) -> None:
    relay.fake.by_model["told"] = SEARCHER
    search = {"type": "file_search", "vector_store_ids": [store]}
    body = {
        "model": "told",
        "input": "when?",
        "tools": [search],
        "stream": True,
        "include": ["file_search_call.results"],
    }
    events = raw.events(raw.ask(relay.homeport, path=PATH, body=body).body)
    for event in events:
        if event["type"] in SCHEMAS:
            openapi.validate(SCHEMAS[event["type"]], event)
    mine = [event for event in events if event.get("output_index") == 1]
    assert [event["type"].removeprefix("response.") for event in mine] == [
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
    ]
    assert mine[-1]["item"]["results"]
    (cited,) = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert cited["annotation"]["type"] == "file_citation"
    assert "【" not in events[-1]["response"]["output"][2]["content"][0]["text"]


def test_code_is_run(relay: Relay, client: openai.OpenAI) -> None:
    code = "(data / 'sum.txt').write_text('42'); print(40 + 2)"
    relay.fake.by_model["coder"] = talkers.turns(
        talkers.says(talkers.call("code_interpreter", {"code": code})),
        talkers.then(lambda visit: talkers.says("It is 42: ", "[sum](sandbox:/mnt/data/sum.txt)")),
    )
    body = {
        "model": "coder",
        "input": "add",
        "tools": [CODE],
        "stream": True,
        "include": ["code_interpreter_call.outputs"],
    }
    events = raw.events(raw.ask(relay.homeport, path=PATH, body=body).body)
    for event in events:
        if event["type"] in SCHEMAS:
            openapi.validate(SCHEMAS[event["type"]], event)
    mine = [event for event in events if event.get("output_index") == 0]
    assert [event["type"].removeprefix("response.") for event in mine] == [
        "output_item.added",
        "code_interpreter_call.in_progress",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
        "output_item.done",
    ]
    done = mine[-1]["item"]
    assert (done["status"], done["code"], done["outputs"]) == ("completed", code, [{"type": "logs", "logs": "42\n"}])
    made = events[-1]["response"]
    (annotation,) = made["output"][1]["content"][0]["annotations"]
    assert (annotation["type"], annotation["container_id"], annotation["filename"]) == (
        "container_file_citation",
        done["container_id"],
        "sum.txt",
    )
    file = client.containers.files.content.retrieve(annotation["file_id"], container_id=annotation["container_id"])
    assert file.read() == b"42"
    relay.fake.by_model["coder"] = talkers.turns(
        talkers.says(talkers.call("code_interpreter", {"code": "print((data / 'sum.txt').read_text())"})),
        talkers.then(lambda visit: talkers.says(talkers.outputs(visit)[-1])),
    )
    further = client.responses.create(model="coder", input="read", tools=[CODE], previous_response_id=made["id"])
    assert "42" in further.output_text, "the container is the same"


def test_calls_are_counted(relay: Relay, client: openai.OpenAI, store: str) -> None:
    relay.fake.by_model["counted"] = lambda visit: (
        talkers.says(talkers.call("file_search", {"queries": ["tide"]}))
        if visit.json.get("tools")
        else talkers.says("Enough.")
    )(visit)
    search: Any = {"type": "file_search", "vector_store_ids": [store]}
    made = client.responses.create(model="counted", input="search", tools=[search], max_tool_calls=2)
    assert said(made) == ["file_search_call", "file_search_call", "message"]


def test_in_the_background(relay: Relay, client: openai.OpenAI, store: str) -> None:
    relay.fake.by_model["behind"] = SEARCHER
    search: Any = {"type": "file_search", "vector_store_ids": [store]}
    include: Any = ["file_search_call.results"]
    made = client.responses.create(model="behind", input="when?", tools=[search], background=True, include=include)
    assert until(lambda: client.responses.retrieve(made.id).status == "completed", 60)
    done = client.responses.retrieve(made.id)
    assert done.output_text == "I look. At noon, it says."
    assert done.output[1].type == "file_search_call"
    assert done.output[1].results
    last = [*client.responses.retrieve(made.id, stream=True)][-1]
    assert json.loads(last.to_json())["response"] == json.loads(done.to_json())


def test_where_code_cannot_be_walled_in_it_is_refused(
    relay: Relay, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplaces = relay.homeport.app.durable._assisting._workplaces
    monkeypatch.setattr(workplaces, "_cells", FakeCells("There are no walls here."))
    for background in (False, True):
        with pytest.raises(openai.BadRequestError, match="There are no walls here") as refused:
            client.responses.create(model="coder", input="add", tools=[CODE], background=background)
        assert refused.value.code == "code_interpreter_unavailable"


def test_a_store_that_is_not_there(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["lost"] = SEARCHER
    search: Any = {"type": "file_search", "vector_store_ids": ["vs_nobody"]}
    made: Any = client.responses.create(model="lost", input="when?", tools=[search])
    assert (made.status, made.error.code) == ("failed", "invalid_prompt")
    assert "vs_nobody" in made.error.message
    assert [item.status for item in made.output] == ["completed", "incomplete"]
    assert client.responses.retrieve(made.id) == made
    with client.responses.create(model="lost", input="?", tools=[search], stream=True, background=True) as stream:
        events: Any = [*stream]
    assert [event.item.status for event in events if event.type == "response.output_item.done"] == [
        "completed",
        "incomplete",
    ]
    assert events[-1].type == "response.failed"
    assert client.responses.retrieve(events[-1].response.id) == events[-1].response
