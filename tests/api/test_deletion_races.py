"""What something is in is deleted while somebody changes it: one waits for the other, and nobody in a circle.

Each works as its worker does, a transaction at a time, beside the deletion; a server cannot tell the two apart in time.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import numpy as np
import openai
import pytest
import sqlalchemy as sa

from homeport.control import response_states, vector_store_states
from homeport.control.container_work import ContainerWork, Made
from homeport.control.owners import Owner
from homeport.control.response_states import Used
from homeport.jobs.response import _Keeping
from homeport.jobs.run_scribe import RunScribe
from homeport.loop import turns
from homeport.loop.response_scribe import Said
from homeport.settings import CodeInterpreter
from homeport.store.queue import Job, LeaseLost
from homeport.store.tables import containers, responses, vector_store_files, vector_stores
from homeport.wire.items import Message, OutputText
from tests.api.assistants import DEPRECATED
from tests.api.crowds import Act, at_once, by_hand, in_loop, replicas
from tests.api.owners import client_of
from tests.control import databases
from tests.fine_tuning import drive
from tests.runs import SETTINGS, Worker, call, jobs_of
from tests.server import Running

pytestmark = DEPRECATED
#: Pairs at once, of those who work and those who delete.
CROWD = 8
SAID: Any = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module", params=databases.KINDS)
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Running]]:
    with replicas(request, tmp_path_factory, SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def client(servers: Sequence[Running]) -> Iterator[openai.OpenAI]:
    with client_of(servers[0]) as made:
        yield made


def gone(act: Act) -> Act:
    """The same, where it may be gone already."""

    async def tried(other: openai.AsyncOpenAI) -> Any:
        with suppress(openai.NotFoundError):
            return await act(other)

    return tried


def in_pairs(servers: Sequence[Running], works: Sequence[Act], deletes: Sequence[Act]) -> None:
    """Side by side, whoever of a pair is asked first."""
    pairs = zip(works, deletes, strict=True)
    at_once(servers, *[act for at, pair in enumerate(pairs) for act in (pair if at % 2 else pair[::-1])])


# Threads, and the runs in them


class Scribing:
    """A worker that has a run, in the server's loop: its model has said something."""

    def __init__(self, server: Running, worker: Worker) -> None:
        self._server = server
        self._worker = worker
        self._open = AsyncExitStack()

    async def begin(self) -> None:
        durable, run = self._server.app.durable, self._worker.run
        events = durable._assisting._run_events
        telling = await self._open.enter_async_context(events.telling(run["seq"], 10, self._worker.job))
        self._scribe = RunScribe(durable.queue, self._worker.job, run, telling)
        await self._scribe.text("Hello!", ())
        await self._scribe.message_ended("")

    async def turn(self) -> None:
        async with self._open:
            with suppress(LeaseLost):
                await self._scribe.turn_ended([], turns.Used(10, 2))


def turn(server: Running, worker: Worker) -> Act:
    scribing = Scribing(server, worker)
    server.begin(scribing.begin()).result(timeout=60)
    return in_loop(server, scribing.turn)


#: What a run's worker does.
RUNS: dict[str, Callable[[Running, Worker], Act]] = {
    "it ends": lambda _, worker: by_hand(lambda: worker.ends("completed")),
    "it fails": lambda _, worker: by_hand(lambda: worker.ends("failed")),
    "it waits for outputs": lambda _, worker: by_hand(lambda: worker.requires(call())),
    "it ends a turn": turn,
}


@pytest.mark.parametrize("what", RUNS)
def test_a_thread_is_deleted_while_its_run_goes_on(
    servers: Sequence[Running], client: openai.OpenAI, what: str
) -> None:
    assistant = client.beta.assistants.create(model="echo").id
    runs = [client.beta.threads.create_and_run(assistant_id=assistant, thread=SAID) for _ in range(CROWD)]
    works = [RUNS[what](servers[0], Worker(servers[0], run.id)) for run in runs]
    in_pairs(servers, works, [_delete_thread(run.thread_id) for run in runs])
    assert [jobs_of(servers[0], run) for run in runs] == [0] * CROWD


@pytest.mark.parametrize("begun", [False, True])
def test_a_thread_is_deleted_while_its_run_is_cancelled(
    servers: Sequence[Running], client: openai.OpenAI, begun: bool
) -> None:
    assistant = client.beta.assistants.create(model="echo").id
    runs = [client.beta.threads.create_and_run(assistant_id=assistant, thread=SAID) for _ in range(CROWD)]
    if begun:
        for run in runs:
            Worker(servers[0], run.id)
    in_pairs(servers, [_cancel_run(run) for run in runs], [_delete_thread(run.thread_id) for run in runs])
    assert [jobs_of(servers[0], run) for run in runs] == [0] * CROWD


def _delete_thread(thread: str) -> Act:
    return lambda other: other.beta.threads.delete(thread)


def _cancel_run(run: Any) -> Act:
    return gone(lambda other: other.beta.threads.runs.cancel(run.id, thread_id=run.thread_id))


# Conversations, and the responses in them


class Responding:
    """A worker that has a response, in the server's loop: each method is one of its commits."""

    def __init__(self, server: Running, response_id: str) -> None:
        self._server = server
        self._id = response_id
        self._queue = server.app.durable.queue
        self._open = AsyncExitStack()

    async def claim(self) -> None:
        for job in await self._queue.claim({response_states.KIND: 1000}, "by hand"):
            if job.subject == self._id:
                self._job: Job = job
            else:
                async with self._queue.database.write() as connection:
                    await self._queue.later(connection, job, run_in=0)

    async def begin(self) -> None:
        events = self._server.app.durable._assisting._response_events
        with suppress(LeaseLost):
            async with self._queue.database.write() as connection:
                begun = await response_states.begin(connection, self._id)
                if begun is None:
                    return
                await events.tell(connection, begun.row["seq"], [("response.in_progress", b"{}")])
                await self._queue.hold(connection, self._job)
            row = begun.row
            telling = await self._open.enter_async_context(events.telling(row["seq"], 5, self._job))
            owner = Owner(row["project_id"], row["key_id"])
            self._keeping = _Keeping(self._queue, self._job, owner, row, telling, ())

    async def turn(self) -> None:
        message = Message(
            id=f"msg_{self._id}", status="completed", role="assistant", content=[OutputText(text="Hi.", annotations=[])]
        )
        async with self._open:
            with suppress(LeaseLost):
                await self._keeping.turn(Said("Hi.", [], {}), [message], Used(1, 1))

    async def end(self) -> None:
        async with self._open:
            with suppress(LeaseLost):
                await self._keeping.end(response_states.Ended("completed"))


def _delete_conversation(response: Any) -> Act:
    return gone(lambda other: other.conversations.delete(response.conversation.id))


def _delete_response(response: Any) -> Act:
    return lambda other: other.responses.delete(response.id)


@pytest.mark.parametrize("delete", [_delete_conversation, _delete_response])
@pytest.mark.parametrize("what", ["begin", "turn", "end"])
def test_a_conversation_or_its_response_is_deleted_while_that_goes_on(
    servers: Sequence[Running], client: openai.OpenAI, what: str, delete: Callable[[Any], Act]
) -> None:
    made = [_response(client) for _ in range(CROWD)]
    workers = [Responding(servers[0], one.id) for one in made]
    for worker in workers:
        servers[0].begin(worker.claim()).result(timeout=60)
        if what != "begin":
            servers[0].begin(worker.begin()).result(timeout=60)
    works = [in_loop(servers[0], getattr(worker, what)) for worker in workers]
    in_pairs(servers, works, [delete(one) for one in made])
    conversations = [conversation for (_, conversation) in _rows(servers[0], made)]
    assert conversations == ([None] * CROWD if delete is _delete_conversation else [])


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_conversation_is_deleted_while_its_response_is(
    servers: Sequence[Running], client: openai.OpenAI, how: str
) -> None:
    made = [_response(client) for _ in range(CROWD)]
    acts = [_cancel_response(one) if how == "cancel" else _delete_response(one) for one in made]
    in_pairs(servers, acts, [_delete_conversation(one) for one in made])
    assert _rows(servers[0], made) == ([("cancelled", None)] * CROWD if how == "cancel" else [])


@pytest.mark.parametrize("which", [_delete_conversation, _delete_response])
def test_what_has_ended_is_deleted_with_its_conversation(
    servers: Sequence[Running], client: openai.OpenAI, which: Callable[[Any], Act]
) -> None:
    """With items that both have."""
    made = []
    for _ in range(CROWD):
        conversation = client.conversations.create().id
        for number in range(2):
            made.append(client.responses.create(model="echo", input=f"hi {number}", conversation=conversation))
    first, second = made[::2], made[1::2]
    in_pairs(servers, [_delete_response(one) for one in first], [which(one) for one in second])
    assert _rows(servers[0], first) == []


def _response(client: openai.OpenAI) -> Any:
    conversation = client.conversations.create(items=[{"role": "user", "content": "hello", "type": "message"}]).id
    return client.responses.create(model="echo", input="hi", conversation=conversation, background=True)


def _cancel_response(response: Any) -> Act:
    return lambda other: other.responses.cancel(response.id)


def _rows(server: Running, made: Sequence[Any]) -> list[tuple[str, int | None]]:
    """Status and conversation of those that there are."""
    query = sa.select(responses.c.status, responses.c.conversation_seq)
    query = query.where(responses.c.id.in_([one.id for one in made]))

    async def read(connection: Any, _: Any) -> list[tuple[str, int | None]]:
        return [(row.status, row.conversation_seq) for row in await connection.execute(query)]

    return drive(server, read)


# Vector stores, and the files in them


class Bringing:
    """A file on its way into a store of its own, some of whose chunks are there."""

    def __init__(self, server: Running, client: openai.OpenAI, number: int) -> None:
        self._server = server
        self.file = client.files.create(file=(f"{number}.txt", f"text {number}".encode()), purpose="assistants").id
        self.store = client.vector_stores.create(file_ids=[self.file]).id
        self._seq = drive(server, self._find)
        self._next = 0
        self.bring()

    async def _find(self, connection: Any, _: Any) -> int:
        query = sa.select(vector_store_files.c.seq).where(vector_store_files.c.file_id == self.file)
        found: int = await connection.scalar(query)
        return found

    def bring(self) -> None:
        def row(number: int) -> dict[str, Any]:
            vectors = np.array([1, 0], np.float32).tobytes()
            return {
                "number": number,
                "text": "word",
                "tokens": 1,
                "page": None,
                "begins": number,
                "ends": number + 1,
                "vectors": vectors,
            }

        first, self._next = self._next, self._next + 30

        async def bring(connection: Any, _: Any) -> None:
            work = await vector_store_states.work(connection, self._seq)
            if work is not None:
                rows = [row(number) for number in range(first, first + 30)]
                await vector_store_states.bring_in(connection, work, rows, answered="echo", width=2)

        drive(self._server, bring)

    def ends(self) -> None:
        async def end(connection: Any, _: Any) -> None:
            work = await vector_store_states.work(connection, self._seq)
            if work is not None and not await vector_store_states.complete(connection, work, usage_bytes=1):
                await vector_store_states.forget(connection, self._seq)

        drive(self._server, end)

    def fails(self) -> None:
        fail = vector_store_states.fail
        drive(self._server, lambda connection, _: fail(connection, self._seq, "server_error", "It is broken."))

    def sweeps(self) -> None:
        """The store, which is deleted."""

        async def sweep(connection: Any, _: Any) -> None:
            seq = await connection.scalar(sa.select(vector_stores.c.seq).where(vector_stores.c.id == self.store))
            assert seq is None or await vector_store_states.empty(connection, seq, most=1000)

        drive(self._server, sweep)


def _delete_file(one: Bringing) -> Act:
    return lambda other: other.files.delete(one.file)


@pytest.mark.parametrize("what", ["bring", "ends", "fails"])
def test_a_file_is_deleted_while_it_is_brought_in(servers: Sequence[Running], client: openai.OpenAI, what: str) -> None:
    files = [Bringing(servers[0], client, number) for number in range(CROWD)]
    in_pairs(servers, [by_hand(getattr(one, what)) for one in files], [_delete_file(one) for one in files])
    assert [client.vector_stores.files.list(one.store).data for one in files] == [[]] * CROWD


@pytest.mark.parametrize("what", ["bring", "ends", "fails", "file"])
def test_a_store_is_emptied_meanwhile(servers: Sequence[Running], client: openai.OpenAI, what: str) -> None:
    """While a file comes into it, or is deleted."""
    files = [Bringing(servers[0], client, number) for number in range(CROWD)]
    for one in files:
        client.vector_stores.delete(one.store)
    acts = [_delete_file(one) if what == "file" else by_hand(getattr(one, what)) for one in files]
    in_pairs(servers, acts, [by_hand(one.sweeps) for one in files])
    left = sa.select(sa.func.count()).where(vector_stores.c.id.in_([one.store for one in files]))
    assert drive(servers[0], lambda connection, _: connection.scalar(left)) == 0


# Containers


def test_files_come_into_a_container_from_two_sides(servers: Sequence[Running], client: openai.OpenAI) -> None:
    """From a client, and from code that runs in it."""
    made = [client.containers.create(name="c").id for _ in range(CROWD)]
    owner = _owner(servers[0], made[0])
    durable = servers[0].app.durable
    work = ContainerWork(durable.blobs, durable.files, CodeInterpreter())

    def keeps(container: str) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def keep() -> None:
            async with durable.blobs.staged() as staged:
                await staged.write(container.encode())
                await work.keep(owner, container, [Made("made.txt", staged)], [])

        return keep

    def adds(container: str) -> Act:
        def add(other: openai.AsyncOpenAI) -> Awaitable[Any]:
            return other.containers.files.create(container, file=("added.txt", b"added to " + container.encode()))

        return add

    in_pairs(servers, [in_loop(servers[0], keeps(one)) for one in made], [adds(one) for one in made])
    for one in made:
        assert {file.path for file in client.containers.files.list(one)} == {
            "/mnt/data/made.txt",
            "/mnt/data/added.txt",
        }


def _owner(server: Running, container: str) -> Owner:
    query = sa.select(containers.c.project_id).where(containers.c.id == container)
    return Owner(str(drive(server, lambda connection, _: connection.scalar(query))), "key_1")
