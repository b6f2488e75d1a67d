"""Responses in the background: created, followed, cancelled, and what happens to their streams."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import sqlalchemy as sa

from homeport.control import items, response_states
from homeport.control.owners import Owner
from homeport.control.response_states import Used
from homeport.loop.response_scribe import Said
from homeport.store.tables import jobs
from homeport.wire.items import Message, OutputText
from tests import talkers
from tests.api import raw
from tests.api.owners import client_of
from tests.api.responding import WEATHER
from tests.control import databases
from tests.fake_upstream import fake_upstream, until
from tests.server import running
from tests.store.servers import PostgresServer
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

PATH = "/v1/responses"


class Held:
    """Answers nobody until it is told how."""

    def __init__(self) -> None:
        self._then: Callable[[Any], None] = talkers.says("")
        self._told = threading.Event()

    def __call__(self, visit: Any) -> None:
        assert self._told.wait(60)
        self._then(visit)

    def go(self, then: Callable[[Any], None]) -> None:
        self._then = then
        self._told.set()


@pytest.fixture(scope="module", params=databases.KINDS)
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings: dict[str, Any] = {}
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        settings["database_url"] = postgres.create("background")
    with relaying(tmp_path_factory.mktemp("background"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


def ended(client: openai.OpenAI, made: Any) -> Any:
    def there() -> bool:
        return client.responses.retrieve(made.id).status not in ("queued", "in_progress")

    assert until(there, 60)
    return client.responses.retrieve(made.id)


def test_it_is_answered_later(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["later"] = talkers.says("Done.")
    made = client.responses.create(model="later", input="hello", background=True)
    assert (made.status, made.background, made.output, made.usage) == ("queued", True, [], None)
    done = ended(client, made)
    assert (done.status, done.output_text, done.usage.total_tokens, done.model) == (
        "completed",
        "Done.",
        30,
        "later-2024",
    )
    assert done.completed_at is not None
    assert client.responses.cancel(made.id) == done, "what has ended is left as it is"
    further = client.responses.create(model="later", input="and?", previous_response_id=made.id)
    assert further.output_text == "Done."
    assert [one["content"] for one in relay.fake.received_for("later")[-1].json["messages"]] == [
        "hello",
        "Done.",
        "and?",
    ]


def test_its_events_are_kept(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["kept"] = talkers.turns(
        talkers.says("I look.", talkers.call("nobody", {})), talkers.says("Do", "ne.")
    )
    with client.responses.create(model="kept", input="hello", tools=[WEATHER], background=True, stream=True) as stream:
        events = [*stream]
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == [*range(len(events))]
    last: Any = events[-1]
    assert last.response == client.responses.retrieve(last.response.id)
    again = client.responses.retrieve(last.response.id, stream=True)
    assert [event.to_dict() for event in again] == [event.to_dict() for event in events]
    rest = client.responses.retrieve(last.response.id, stream=True, starting_after=5)
    assert [event.sequence_number for event in rest] == [*range(6, len(events))]
    with client.responses.stream(response_id=last.response.id, starting_after=5) as helped:
        assert helped.get_final_response().output_text == "I look.Done."


def test_a_watcher_that_leaves_does_not_end_it(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["watched"] = hold = Held()
    with client.responses.create(model="watched", input="hello", background=True, stream=True) as stream:
        made: Any = next(stream)
        assert until(lambda: bool(relay.fake.received_for("watched")), 60)
    hold.go(talkers.says("Still here."))
    assert ended(client, made.response).output_text == "Still here."


def test_cancelling(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["cancelled"] = talkers.turns(
        talkers.says("I look.", talkers.call("nobody", {})), faults.silence
    )
    with client.responses.create(
        model="cancelled", input="hello", tools=[WEATHER], background=True, stream=True
    ) as stream:
        made: Any = next(stream)
        assert until(lambda: len(relay.fake.received_for("cancelled")) == 2, 60)
        cancelled = client.responses.cancel(made.response.id)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", "I look.")
        rest = [event.type for event in stream]
    assert not {"response.completed", "response.failed", "response.incomplete"} & {*rest}
    assert relay.fake.received_for("cancelled")[1].left.wait(60), "nobody asks the model any more"
    assert client.responses.retrieve(made.response.id) == cancelled
    assert client.responses.cancel(made.response.id) == cancelled


def test_cancelling_what_is_about_to_end(relay: Relay, client: openai.OpenAI) -> None:
    """It is the one or the other, for everybody who looks."""
    relay.fake.by_model["raced"] = talkers.says("Done.")

    async def race() -> list[Any]:
        async def one(client: openai.AsyncOpenAI, number: int) -> Any:
            made = await client.responses.create(model="raced", input="hello", background=True)
            for _ in range(number):
                await client.responses.retrieve(made.id)
            return await client.responses.cancel(made.id)

        async with relay.async_client() as client, asyncio.TaskGroup() as group:
            racing = [group.create_task(one(client, number % 6)) for number in range(24)]
        return [await each for each in racing]

    for cancelled in asyncio.run(race()):
        assert cancelled.status in ("completed", "cancelled")
        assert client.responses.retrieve(cancelled.id) == cancelled
        kinds = [event.type for event in client.responses.retrieve(cancelled.id, stream=True)]
        assert (kinds[-1] == "response.completed") == (cancelled.status == "completed")
        assert cancelled.output_text == ("Done." if cancelled.status == "completed" else cancelled.output_text)


def test_deleting_what_is_worked_on(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["deleted"] = faults.silence
    made = client.responses.create(model="deleted", input="hello", background=True)
    assert until(lambda: bool(relay.fake.received_for("deleted")), 60)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    assert relay.fake.received_for("deleted")[0].left.wait(60)


def test_a_conversation_waits_for_it(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["talking"] = hold = Held()
    conversation = client.conversations.create()
    made = client.responses.create(model="talking", input="one", conversation=conversation.id, background=True)
    with pytest.raises(openai.ConflictError) as locked:
        client.responses.create(model="talking", input="two", conversation=conversation.id)
    assert locked.value.code == "conversation_locked"
    with pytest.raises(openai.BadRequestError, match="Wait until it has ended"):
        client.responses.create(model="talking", input="two", previous_response_id=made.id)
    client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "meanwhile"}])
    hold.go(talkers.says("Aha."))
    ended(client, made)
    listed: Any = client.conversations.items.list(conversation.id, order="asc")
    texts = [item.content[0].text for item in listed]
    assert texts == ["meanwhile", "one", "Aha."]


def test_it_fails_as_it_would_in_a_request(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["refused"] = faults.status(400)
    failed = ended(client, client.responses.create(model="refused", input="hello", background=True))
    assert (failed.status, failed.error.code, failed.error.message) == (
        "failed",
        "invalid_prompt",
        "The words of the upstream.",
    )
    stream = client.responses.retrieve(failed.id, stream=True)
    assert [event.type for event in stream][-1] == "response.failed"
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        client.responses.create(
            model="refused",
            input=[{"type": "function_call_output", "call_id": "call_1", "output": "x"}],
            background=True,
        )


def test_it_waits_for_a_model_that_has_no_time(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.script.append(faults.status(429, **{"retry-after-ms": "1"}))
    relay.fake.by_model["patient"] = talkers.says("Now.")
    made = client.responses.create(model="patient", input="hello", background=True)
    assert ended(client, made).output_text == "Now."
    assert len(relay.fake.received_for("patient")) == 2


def test_a_server_that_ends_hands_it_back(tmp_path: Path) -> None:
    with fake_upstream() as fake:
        settings = {"upstreams": {"far": {"base_url": fake.base_url, "api_key": "sk-of-the-upstream"}}}
        fake.by_model["handed"] = faults.quiet_after(faults.begun)
        with running(tmp_path, settings) as server, client_of(server) as client:
            made = client.responses.create(model="handed", input="hello", background=True)
            for event in client.responses.retrieve(made.id, stream=True):
                if event.type == "response.output_text.delta":
                    break
        fake.by_model["handed"] = talkers.says("Done.")
        with running(tmp_path, settings) as server, client_of(server) as client:
            assert ended(client, made).output_text == "Done."
            events: Any = [*client.responses.retrieve(made.id, stream=True)]
            items = [event.item.status for event in events if event.type == "response.output_item.done"]
            assert items == ["incomplete", "completed"]


@pytest.mark.parametrize("cut", ["", "max_tokens"])
def test_whose_last_turn_had_ended_only_ends(tmp_path: Path, cut: str) -> None:
    """Its worker was killed between the two."""
    with fake_upstream() as fake:
        settings: dict[str, Any] = {"upstreams": {"far": {"base_url": fake.base_url, "api_key": "sk-of-the-upstream"}}}
        with running(tmp_path, {**settings, "jobs": {"in_server": False}}) as server, client_of(server) as client:
            made = client.responses.create(model="ended", input="hello", background=True)
            message = Message(id="msg_1", role="assistant", content=[OutputText(text="Done.")])
            said = {"said": msgspec.to_builtins([Said("Done.", [], {}, cut)])}

            async def turn() -> None:
                async with server.app.books.database.write() as connection:
                    begun = await response_states.begin(connection, made.id)
                    assert begun is not None
                    seq, owner = begun.row["seq"], Owner(begun.row["project_id"], "")
                    await response_states.use(connection, seq, Used(20, 10))
                    await items.add(connection, owner, [message], response_seq=seq, output=True)
                    await connection.execute(sa.update(jobs).where(jobs.c.subject == made.id).values(checkpoint=said))

            server.begin(turn()).result(60)
        with running(tmp_path, settings) as server, client_of(server) as client:
            done = ended(client, made)
            assert (done.output_text, done.usage.total_tokens) == ("Done.", 30)
            assert done.status == ("incomplete" if cut else "completed")
            assert [*client.responses.retrieve(made.id, stream=True)][-1].type == f"response.{done.status}"
        assert not fake.received_for("ended")


def test_what_was_told_long_ago_is_forgotten(relay: Relay, client: openai.OpenAI) -> None:
    relay.fake.by_model["old"] = talkers.says("Done.")
    made = client.responses.create(model="old", input="hello", background=True)
    done = ended(client, made)
    rules = relay.homeport.app.durable._assisting._responses
    relay.homeport.begin(rules.forget_told(3600)).result(60)
    assert [*client.responses.retrieve(made.id, stream=True)][-1].type == "response.completed"
    relay.homeport.begin(rules.forget_told(-10)).result(60)
    with pytest.raises(openai.BadRequestError) as forgotten:
        client.responses.retrieve(made.id, stream=True)
    assert forgotten.value.code == "events_not_kept"
    assert client.responses.retrieve(made.id) == done


@pytest.mark.parametrize("query", ["stream=true&include[]=nothing", "starting_after=1", "stream=maybe", "shoe=1"])
def test_what_cannot_be_asked(relay: Relay, client: openai.OpenAI, query: str) -> None:
    answer = raw.ask(relay.homeport, "GET", f"{PATH}/resp_1?{query}")
    assert answer.status == 400
