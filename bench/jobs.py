"""The durable queue on SQLite and on PostgreSQL, both of which have everything on disk before they say so.

What is timed: a transaction that enqueues a job, and one that enqueues a hundred; a claim of one job and the
transaction that ends it; a worker with 32 jobs at once that do nothing; from the commit of a job until its handler
begins; and what a worker that has nothing to do takes of a core.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.report import Goal, table
from homeport.jobs.worker import Task, Worker
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.queue import Job, Queue
from tests.store.servers import postgres_server

AT_ONCE = 32
IN_ONE = 100


@dataclass
class Speed:
    """Of one database. Jobs a second: enqueued (one in a transaction, and IN_ONE), claimed and ended (one after the
    other, and AT_ONCE by a worker). begun_ms: from commit to handler. idle: of a core, by a worker with nothing to do.
    """

    enqueued: float
    enqueued_together: float
    ended: float
    ended_at_once: float
    begun_ms: float
    idle: float


@dataclass
class Queues:
    """by: database -> rounds. A database that is not on this machine is left out."""

    by: dict[str, list[Speed]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Medians of the rounds."""

        def cells(name: str, form: str, factor: float = 1.0) -> list[str]:
            return [
                format(statistics.median(getattr(one, name) for one in rounds) * factor, form)
                for rounds in self.by.values()
            ]

        rows = [
            ["enqueued a second, a transaction each", *cells("enqueued", ",.0f")],
            [f"enqueued a second, {IN_ONE} in a transaction", *cells("enqueued_together", ",.0f")],
            ["claimed and ended a second, one after the other", *cells("ended", ",.0f")],
            [f"claimed and ended a second, {AT_ONCE} at once by a worker", *cells("ended_at_once", ",.0f")],
            ["from commit to the handler's beginning, ms", *cells("begun_ms", ".1f")],
            ["of a core, with nothing to do", *cells("idle", ".2%")],
        ]
        return "queue\n" + table(["", *self.by], rows)

    def goals(self) -> list[Goal]:
        return []


class _Nothing:
    """A handler: the job is ended, and that is all. begun: called with it, first."""

    lane = kind = "nothing"
    at_once = AT_ONCE

    def __init__(self, queue: Queue, begun: Callable[[Job], None]) -> None:
        self._queue = queue
        self._begun = begun

    async def run(self, task: Task) -> None:
        self._begun(task.job)
        async with self._queue.database.write() as connection:
            await self._queue.finish(connection, task.job)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        raise AssertionError(error)


def run(folder: Path, *, rounds: int, count: int, seconds: float) -> Queues:
    """count: of jobs, in each measurement. seconds: that a worker is idle."""
    found = Queues()
    for name, url in _databases(folder):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = [runner.run(_measured(url, count, seconds)) for _ in range(rounds)]
        found.by[name] = measured
    return found


def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{folder / 'state.db'}"
    with _postgresql() as url:
        if url is not None:
            yield "PostgreSQL", url


@contextmanager
def _postgresql() -> Iterator[str | None]:
    """None where it is not installed."""
    with ExitStack() as stack:
        url = None
        with suppress(pytest.skip.Exception):
            url = stack.enter_context(postgres_server(fsync=True)).url
        yield url


async def _measured(url: str, jobs: int, seconds: float) -> Speed:
    database = Database(url)
    await migrate(database, "state")
    queue = Queue(database)
    try:
        return Speed(
            enqueued=jobs / await _timed(_enqueue(queue, jobs, 1)),
            ended=jobs / await _timed(_end(queue, jobs)),
            enqueued_together=jobs / await _timed(_enqueue(queue, jobs, IN_ONE)),
            ended_at_once=jobs / await _timed(_work(queue, jobs)),
            begun_ms=await _begun(queue, 20) * 1e3,
            idle=await _idle(queue, seconds),
        )
    finally:
        await database.close()


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _enqueue(queue: Queue, jobs: int, together: int) -> None:
    for _ in range(jobs // together):
        async with queue.database.write() as connection:
            for _ in range(together):
                await queue.enqueue(connection, "nothing", "nothing", "s")


async def _end(queue: Queue, jobs: int) -> None:
    for _ in range(jobs):
        (job,) = await queue.claim({"nothing": 1}, "bench")
        async with queue.database.write() as connection:
            await queue.finish(connection, job)


async def _work(queue: Queue, jobs: int) -> None:
    left = jobs

    def begun(job: Job) -> None:
        nonlocal left
        left -= 1
        if not left:
            worker.drain()

    worker = Worker(queue, [_Nothing(queue, begun)], name="bench")
    await worker.run()


async def _begun(queue: Queue, times: int) -> float:
    """Median."""
    heard = asyncio.Queue[float]()
    worker = Worker(queue, [_Nothing(queue, lambda job: heard.put_nowait(time.perf_counter()))], name="bench")
    taken = []
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        for _ in range(times):
            async with queue.database.write() as connection:
                await queue.enqueue(connection, "nothing", "nothing", "s")
            committed = time.perf_counter()
            queue.told()
            taken.append(await heard.get() - committed)
            await asyncio.sleep(0.05)
        worker.drain()
    return statistics.median(taken)


async def _idle(queue: Queue, seconds: float) -> float:
    worker = Worker(queue, [_Nothing(queue, lambda job: None)], name="bench")
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1.0)
        began = time.process_time()
        await asyncio.sleep(seconds)
        taken = time.process_time() - began
        worker.drain()
    return taken / seconds
