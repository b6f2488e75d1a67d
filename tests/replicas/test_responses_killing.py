"""kill -9 in the middle of a response in the background: the turns that had ended are not done again, the one in hand
is, and whoever follows it elsewhere sees how it goes on."""

import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.store.tables import jobs
from tests import talkers
from tests.api.responding import WEATHER
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, until
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed, read
from tests.replicas.processes import Replica
from tests.replicas.test_batches_killing import client_of
from tests.store.servers import PostgresServer, RedisServer
from tests.stores import put
from tests.upstreams import faults

PATIENCE = 90.0
SETTINGS = """
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
"""


class Model:
    """Calls a tool that there is not; then it says half of a sentence, and nothing more, until it is asked again."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def __call__(self, visit: Visit) -> None:
        turn = talkers.spoken(visit)
        self.turns.append(turn)
        if turn == 0:
            talkers.says("I look. ", talkers.call("nobody", {}))(visit)
        elif self.turns.count(1) == 1:
            half, *_ = talkers.answer(visit, ["Half of "])
            visit.send(STREAM_HEAD + chunked(half))
            visit.wait_until_left()
        else:
            talkers.says("All of ", "it.")(visit)


class Watching:
    """Events of a response, in a thread of its own, until there are no more."""

    def __init__(self, replica: Replica, response_id: str) -> None:
        self.events: list[Any] = []
        self._replica = replica
        self._response = response_id
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        with client_of(self._replica) as client:
            for event in client.responses.retrieve(self._response, stream=True):
                self.events.append(event)

    def has_half(self) -> bool:
        return any(event.type == "response.output_text.delta" and event.delta == "Half of " for event in self.events)


def begin(house: House, model: Model) -> str:
    house.fake.by_model["talker"] = model
    with client_of(house.first) as client:
        made = client.responses.create(model="talker", input="look", tools=[WEATHER], background=True)
    return made.id


def check(replica: Replica, response_id: str, model: Model) -> None:
    with client_of(replica) as client:
        assert until(lambda: client.responses.retrieve(response_id).status == "completed", PATIENCE)
        done = client.responses.retrieve(response_id)
        assert done.output_text == "I look. All of it."
        assert done.usage is not None
        assert done.usage.total_tokens == 60
        assert model.turns == [0, 1, 1]
        events: list[Any] = [*client.responses.retrieve(response_id, stream=True)]
        numbers = [event.sequence_number for event in events]
        assert numbers == sorted({*numbers})
        last = events[-1]
        assert (last.type, last.response) == ("response.completed", done)
        items = [event.item.status for event in events if event.type == "response.output_item.done"]
        assert items == ["completed", "incomplete", "incomplete", "completed"], "the call, and the half of a sentence"
        with client.responses.stream(response_id=response_id, starting_after=0) as stream:
            assert stream.get_final_response().output_text == done.output_text


def test_on_sqlite(tmp_path: Path) -> None:
    """While a tool is at work: the call is made again, and not the turn."""
    settings = SETTINGS + '[vector_stores]\nembedding_model = "far-embeddings"\n'
    turns: list[int] = []

    def searcher(visit: Visit) -> None:
        turns.append(talkers.spoken(visit))
        if turns[-1] == 0:
            talkers.says(talkers.call("file_search", {"queries": ["tide"]}))(visit)
        else:
            talkers.says(f"It says: {'High tide' in talkers.outputs(visit)[0]}")(visit)

    with housed(tmp_path, settings=settings) as house:
        house.fake.by_model["searcher"] = searcher
        with client_of(house.first) as client:
            store = client.vector_stores.create().id
            put(client, store, "High tide is at noon.", "tides.txt")
            asked = len(house.fake.received_for("far-embeddings"))
            house.fake.by_model["far-embeddings"] = faults.silence
            search: Any = {"type": "file_search", "vector_store_ids": [store]}
            made = client.responses.create(model="searcher", input="when?", tools=[search], background=True)
            assert until(lambda: len(house.fake.received_for("far-embeddings")) > asked, PATIENCE)
        house.first.kill()
        del house.fake.by_model["far-embeddings"]
        house.first.start()
        with client_of(house.first) as client:
            assert until(lambda: client.responses.retrieve(made.id).status == "completed", PATIENCE)
            done = client.responses.retrieve(made.id, include=["file_search_call.results"])
            assert (done.output_text, turns) == ("It says: True", [0, 1])
            call = done.output[0]
            assert call.type == "file_search_call"
            assert call.results is not None
            assert (call.status, [one.filename for one in call.results]) == ("completed", ["tides.txt"])
            with client.responses.stream(response_id=made.id, starting_after=0) as stream:
                items = [event.item.id for event in stream if event.type == "response.output_item.done"]
            assert items == [item.id for item in done.output]


def test_on_postgresql(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    """Who follows it at one server sees what another does, and who goes on when that is killed."""
    model = Model()
    with housed(tmp_path, replicas=2, settings=SETTINGS, **stores(postgres, redis)) as house:
        response_id = begin(house, model)
        assert until(lambda: model.turns == [0, 1], PATIENCE)
        assert house.database_url is not None
        (row,) = read(house.database_url, sa.select(jobs.c.owner).where(jobs.c.subject == response_id))
        pid = int(row["owner"].rpartition("/")[2])
        processes = [one.process.pid for one in house.replicas if one.process is not None]
        victim, other = house.replicas[processes.index(pid)], house.replicas[1 - processes.index(pid)]
        watching = Watching(other, response_id)
        assert until(watching.has_half, PATIENCE)
        victim.kill()
        watching.thread.join(PATIENCE)
        assert watching.events[-1].type == "response.completed"
        check(other, response_id, model)
        victim.start()
