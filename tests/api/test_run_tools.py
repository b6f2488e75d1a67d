"""Runs whose models search files and run code: what they are told, and what the SDK sees of it. The code runs in real
cells."""

import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai.types.beta.threads import Message, Run, TextContentBlock

from homeport import clock
from homeport.store.tables import container_files, containers, vector_stores
from tests.api import raw
from tests.api.assistants import DEPRECATED
from tests.api.searched import add, new_store
from tests.fake_upstream import Visit
from tests.sandbox.conftest import needs_bubblewrap
from tests.talkers import call, outputs, says, then, turns
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
SEARCH: Any = {"type": "file_search"}
CODE: Any = {"type": "code_interpreter"}
FOXES = ["the quick brown fox jumps over the fence", "a lazy dog sleeps all day"]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "jobs": {"poll_seconds": 0.1},
        "assistants": {"poll_after_ms": 20},
        "vector_stores": {"embedding_model": "echo"},
        "code_interpreter": {"seconds": 300},
    }
    with relaying(tmp_path_factory.mktemp("tools"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def ran(client: openai.OpenAI, assistant: str, thread: str, **more: Any) -> Run:
    return client.beta.threads.runs.create_and_poll(thread_id=thread, assistant_id=assistant, **more)


def newest(client: openai.OpenAI, thread: str) -> Message:
    return client.beta.threads.messages.list(thread, limit=1).data[0]


def text_of(message: Message) -> TextContentBlock:
    (part,) = [one for one in message.content if isinstance(one, TextContentBlock)]
    return part


def tool_call(client: openai.OpenAI, run: Run, **more: Any) -> Any:
    """The first, and the only one of its step."""
    steps = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc", **more)
    (found,) = next(one.step_details.tool_calls for one in steps if one.step_details.type == "tool_calls")
    return found


def cites(visit: Visit) -> Any:
    """Every passage that it was told."""
    markers = re.findall("^【.*】$", outputs(visit)[-1], re.MULTILINE)
    return says("Füchse ", *(f"sind {one[:3]}" + one[3:] + ", " for one in markers), "und 【9:9†nobody】.")


def test_what_is_found_is_cited(relay: Relay, client: openai.OpenAI) -> None:
    store = new_store(relay.homeport, client, foxes=FOXES)
    relay.fake.by_model["searcher"] = turns(says(call("file_search", {"queries": ["quick fox"]})), then(cites))
    tools: Any = [{**SEARCH, "file_search": {"max_num_results": 5}}]
    resources: Any = {"file_search": {"vector_store_ids": [store]}}
    assistant = client.beta.assistants.create(model="searcher", tools=tools, tool_resources=resources).id
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Foxes?"}])
    other = new_store(relay.homeport, client)
    file = add(relay.homeport, client, other, ["the fox is red"], name="of the thread.txt")
    client.beta.threads.update(thread.id, tool_resources={"file_search": {"vector_store_ids": [other]}})
    run = ran(client, assistant, thread.id)
    assert run.status == "completed", run.last_error

    text = text_of(newest(client, thread.id)).text
    assert text.value.startswith("Füchse sind 【")
    assert text.value.endswith("und 【9:9†nobody】.")
    cited = {}
    for one in text.annotations:
        assert one.type == "file_citation"
        assert text.value[one.start_index : one.end_index] == one.text
        cited[one.text.rpartition("†")[2]] = one.file_citation.file_id
    assert set(cited) == {"foxes.txt】", "of the thread.txt】"}
    assert cited["of the thread.txt】"] == file
    assert len(text.annotations) == 3

    found = tool_call(client, run)
    assert found.type == "file_search"
    assert found.file_search.ranking_options.ranker == "default_2024_08_21"
    assert {one.file_name for one in found.file_search.results} == {"foxes.txt", "of the thread.txt"}
    assert all(0 <= one.score <= 1 and not one.content for one in found.file_search.results)
    include: Any = ["step_details.tool_calls[*].file_search.results[*].content"]
    results = tool_call(client, run, include=include).file_search.results
    assert {one.content[0].text for one in results} == {*FOXES, "the fox is red"}


def test_markers_of_one_run_are_not_those_of_another(relay: Relay, client: openai.OpenAI) -> None:
    store = new_store(relay.homeport, client, foxes=FOXES[:1])
    relay.fake.by_model["again"] = turns(says(call("file_search", {"queries": ["fox"]})), then(cites))
    resources: Any = {"file_search": {"vector_store_ids": [store]}}
    assistant = client.beta.assistants.create(model="again", tools=[SEARCH], tool_resources=resources).id
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Foxes?"}]).id
    markers = []
    for _ in range(2):
        assert (
            ran(client, assistant, thread, additional_messages=[{"role": "user", "content": "?"}]).status == "completed"
        )
        (found,) = text_of(newest(client, thread)).text.annotations
        markers.append(found.text)
    assert markers[0] != markers[1]


def test_a_store_that_has_expired_fails_the_run_and_says_why(relay: Relay, client: openai.OpenAI) -> None:
    store = new_store(relay.homeport, client, foxes=FOXES)
    relay.fake.by_model["late"] = turns(says(call("file_search", {"queries": ["fox"]})), says("never"))
    resources: Any = {"file_search": {"vector_store_ids": [store]}}
    assistant = client.beta.assistants.create(model="late", tools=[SEARCH], tool_resources=resources).id
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Foxes?"}]).id
    write(relay, sa.update(vector_stores).where(vector_stores.c.id == store).values(expires_at=int(clock.now()) - 1))
    run = ran(client, assistant, thread)
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.message == f"Vector store '{store}' has expired."


@needs_bubblewrap
def test_code_runs_and_what_it_makes_is_there(relay: Relay, client: openai.OpenAI) -> None:
    code = f"""
import base64
table = open('/mnt/data/numbers.csv').read()
open('/mnt/data/sum.txt', 'w').write(str(sum(map(int, table.split(',')))))
open('/mnt/data/dot.png', 'wb').write(base64.b64decode('{PNG}'))
print('summed')
"""
    link = "sandbox:/mnt/data/sum.txt"
    relay.fake.by_model["coder"] = turns(says(call("code_interpreter", {"code": code})), says("[Here]", f"({link})."))
    file = client.files.create(file=("numbers.csv", b"1,2,3"), purpose="assistants").id
    assistant = client.beta.assistants.create(model="coder", tools=[CODE]).id
    attachment: Any = {"file_id": file, "tools": [CODE]}
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Sum", "attachments": [attachment]}]).id
    run = ran(client, assistant, thread)
    assert run.status == "completed", run.last_error

    first = relay.fake.received_for("coder")[0].json["tools"][0]["function"]
    assert first["name"] == "code_interpreter"
    assert "numbers.csv" in first["description"]
    found = tool_call(client, run)
    assert found.code_interpreter.input == code
    logs, image = found.code_interpreter.outputs
    assert (logs.type, logs.logs) == ("logs", "summed\n")
    assert client.files.content(image.image.file_id).read().startswith(b"\x89PNG")
    message = newest(client, thread)
    assert message.content[0].type == "image_file"
    assert message.content[0].image_file.file_id == image.image.file_id
    text = text_of(message).text
    (path,) = text.annotations
    assert path.type == "file_path"
    assert (path.text, text.value[path.start_index : path.end_index]) == (link, link)
    made = client.files.retrieve(path.file_path.file_id)
    assert (made.filename, made.purpose) == ("sum.txt", "assistants_output")
    assert client.files.content(made.id).read() == b"6"

    relay.fake.by_model["coder"] = turns(
        says(call("code_interpreter", {"code": "print(table, open('/mnt/data/sum.txt').read())"})),
        then(lambda visit: says(outputs(visit)[-1], f" {link}")),
    )
    client.beta.threads.messages.create(thread, role="user", content="And again?")
    assert ran(client, assistant, thread).status == "completed"
    again = text_of(newest(client, thread)).text
    assert again.value == f"1,2,3 6 {link}"
    (other,) = again.annotations
    assert other.type == "file_path"
    assert other.file_path.file_id == made.id

    client.beta.threads.delete(thread)
    assert rows(relay, containers) == rows(relay, container_files) == 0


@needs_bubblewrap
def test_code_that_fails_is_told_and_the_run_goes_on(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["clumsy"] = turns(
        says(call("code_interpreter", "{'code': ")),
        says(call("code_interpreter", {"code": "1 / 0"})),
        then(lambda visit: says(" | ".join(one.splitlines()[-1] for one in outputs(visit)))),
    )
    assistant = client.beta.assistants.create(model="clumsy", tools=[CODE]).id
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Divide"}]).id
    assert ran(client, assistant, thread).status == "completed"
    text = text_of(newest(client, thread)).text.value
    assert re.fullmatch(r"SyntaxError: .* \| ZeroDivisionError: division by zero", text)


def test_where_no_code_can_run_it_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    off = {"code_interpreter": {"enabled": False}}
    with relaying(tmp_path_factory.mktemp("off"), off) as relay, relay.client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.beta.assistants.create(model="any", tools=[CODE])
        assert (caught.value.code, caught.value.param) == ("code_interpreter_unavailable", "tools[0].type")
        assert "switched off" in caught.value.message
        body = {"model": "any", "input": "hi", "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}
        answer = raw.ask(relay.homeport, "POST", "/v1/responses", body)
        assert (answer.status, answer.error["code"]) == (400, "code_interpreter_unavailable")


def write(relay: Relay, statement: Any) -> None:
    async def write() -> None:
        async with relay.homeport.app.books.database.write() as connection:
            await connection.execute(statement)

    relay.homeport.begin(write()).result(60)


def rows(relay: Relay, table: sa.Table) -> int:
    async def read() -> int:
        async with relay.homeport.app.books.database.read() as connection:
            return await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    return relay.homeport.begin(read()).result(60)
