"""What a fine-tuning job tells: in pages, and as it comes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from homeport.control import fine_tuning_events
from homeport.control import fine_tuning_states as states
from homeport.wire import sse
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.fake_upstream import until
from tests.fine_tuning import begin, create, settings, step, succeed
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("events")
    chosen = settings(folder)
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        chosen["database_url"] = postgres.create("fine_tuning_events")
    with running(folder, chosen) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


class Stream:
    """Events as they come, in a thread of its own."""

    def __init__(self, server: Running, job: str, *, key: str = KEY, query: str = "") -> None:
        self.connection = raw.connect(server)
        request = f"GET /v1/fine_tuning/jobs/{job}/events?stream=true{query} HTTP/1.1\r\nHost: test\r\n"
        self.connection.sendall(f"{request}Authorization: Bearer {key}\r\n\r\n".encode())
        self.received = b""
        self.ended = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        while part := self.connection.recv(65536):
            self.received += part
            if part.endswith(b"0\r\n\r\n"):
                break
        self.ended.set()

    @property
    def head(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[0].lower()

    @property
    def events(self) -> list[Any]:
        return raw.events(self.received)

    @property
    def told(self) -> list[str]:
        return [one if isinstance(one, str) else one["message"] for one in self.events]

    def close(self) -> None:
        self.connection.shutdown(2)
        self._reading.join()
        self.connection.close()


@contextmanager
def following(server: Running, job: str, **more: Any) -> Iterator[Stream]:
    stream = Stream(server, job, **more)
    try:
        yield stream
    finally:
        stream.close()


def test_the_newest_come_first(server: Running, client: openai.OpenAI) -> None:
    job = create(client).id
    begin(server, job)
    for number in range(1, 4):
        assert step(server, job, number)
    page = client.fine_tuning.jobs.list_events(job, limit=2)
    assert ([one.message for one in page.data], page.has_more) == (
        ["Step 3/30: training loss=0.33", "Step 2/30: training loss=0.50"],
        True,
    )
    last = page.data[0]
    assert last.id.startswith("ftevent-")
    assert (last.object, last.level, last.type) == ("fine_tuning.job.event", "info", "metrics")
    data: Any = last.data
    assert (data["step"], data["train_loss"]) == (3, 1 / 3)
    everything = [one.message for one in client.fine_tuning.jobs.list_events(job, limit=2)]
    assert everything[2:] == [
        "Step 1/30: training loss=1.00",
        "Fine-tuning job started",
        "Files validated, moving job to queued state (100 tokens an epoch)",
        f"Validating training file: {client.fine_tuning.jobs.retrieve(job).training_file}",
        f"Created fine-tuning job: {job}",
    ]


def test_a_stream_tells_what_was_what_is_and_the_end(server: Running, client: openai.OpenAI) -> None:
    job = create(client).id
    begin(server, job)
    with following(server, job) as stream:
        assert until(lambda: len(stream.told) == 4)
        assert stream.head.startswith(b"http/1.1 200")
        assert b"content-type: text/event-stream" in stream.head
        for number in (1, 2, 3):
            step(server, job, number)
            assert until(lambda number=number: len(stream.told) == 4 + number)  # type: ignore[misc]
        assert not stream.ended.is_set()
        succeed(server, job, f"ft:house:homeport::{job[-8:]}")
        assert stream.ended.wait(60)
        listed = [one.model_dump() for one in client.fine_tuning.jobs.list_events(job, limit=100)][::-1]
        assert stream.events == [*listed, "[DONE]"]


def test_the_stream_of_a_job_that_has_ended_ends_at_once(server: Running, client: openai.OpenAI) -> None:
    job = create(client).id
    client.fine_tuning.jobs.cancel(job)
    with following(server, job) as stream:
        assert stream.ended.wait(60)
        assert stream.told == [*(one.message for one in [*client.fine_tuning.jobs.list_events(job)][::-1]), "[DONE]"]


def test_a_stream_goes_on_after_an_event(server: Running, client: openai.OpenAI) -> None:
    job = create(client).id
    newest = client.fine_tuning.jobs.list_events(job).data[0].id
    client.fine_tuning.jobs.cancel(job)
    with following(server, job, query=f"&after={newest}") as stream:
        assert stream.ended.wait(60)
        assert stream.told == ["The job was cancelled", "[DONE]"]


def test_long_histories_come_whole(server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning_events, "_SOME", 3)
    job = create(client).id
    begin(server, job)
    for number in range(1, 9):
        step(server, job, number)
    client.fine_tuning.jobs.cancel(job)
    with following(server, job) as stream:
        assert stream.ended.wait(60)
        assert len(stream.told) == 4 + 8 + 1 + 1
        assert stream.told[-1] == "[DONE]"


def test_one_tells_after_the_other(server: Running, client: openai.OpenAI) -> None:
    """Or a follower would pass by what is numbered first, and committed last."""
    job = create(client).id
    database = server.app.books.database

    async def tell(message: str) -> None:
        async with database.write() as connection:
            await states.tell(connection, job, message)

    async def both() -> None:
        async with database.write() as connection:
            await states.tell(connection, job, "first")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await tell("too early")
        await tell("second")

    server.begin(both()).result(timeout=60)
    assert [one.message for one in client.fine_tuning.jobs.list_events(job, limit=2)][:2] == ["second", "first"]


def test_what_a_stream_is_not_asked_with(server: Running, client: openai.OpenAI) -> None:
    path = f"/v1/fine_tuning/jobs/{create(client).id}/events"
    for query, param in (("stream=true&limit=3", "limit"), ("stream=true&after=x", "after"), ("stream=1", "stream")):
        answer = raw.ask(server, "GET", f"{path}?{query}")
        assert (answer.status, answer.error["param"]) == (400, param)
    head = raw.ask(server, "HEAD", f"{path}?stream=true")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


def test_whoever_hears_nothing_hears_that_it_is_alive(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning_events, "QUIET_SECONDS", 0.0)
    with following(server, create(client).id) as stream:
        assert until(lambda: stream.received.count(sse.KEEP_ALIVE) >= 2)
        assert len(stream.told) == 2


def test_a_client_that_leaves_costs_nothing(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    further = fine_tuning_events._further

    async def counted(connection: Any, job_id: str, last: int) -> Any:
        looks.append(job_id)
        return await further(connection, job_id, last)

    monkeypatch.setattr(fine_tuning_events, "_further", counted)
    monkeypatch.setattr(fine_tuning_events, "LOOK_SECONDS", 0.01)
    job = create(client).id
    with following(server, job) as stream:
        assert until(lambda: len(looks) > 3)
        assert len(stream.told) == 2

    def is_quiet() -> bool:
        before = len(looks)
        threading.Event().wait(0.2)
        return len(looks) == before

    assert until(is_quiet)


def test_a_stream_ends_with_the_key(server: Running) -> None:
    project = new_project(server, "passing")
    key = new_key(server, project)
    with client_of(server, key) as passing:
        job = create(passing).id
    with following(server, job, key=key) as stream:
        assert until(lambda: len(stream.told) == 2)
        keys = raw.ask(server, "GET", f"/v1/organization/projects/{project}/api_keys").json["data"]
        raw.ask(server, "DELETE", f"/v1/organization/projects/{project}/api_keys/{keys[0]['id']}")
        assert stream.ended.wait(60)
        assert "[DONE]" not in stream.told


def test_a_server_that_ends_waits_for_no_stream(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("draining")
    with running(folder, settings(folder, server={"drain_seconds": 600})) as ending, client_of(ending) as client:
        stream = Stream(ending, create(client).id)
        assert until(lambda: len(stream.told) == 2)
        ending.app.drain()
        assert stream.ended.wait(60)
        assert "[DONE]" not in stream.told
        stream.close()
