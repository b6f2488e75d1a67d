"""Chores: done now and then, by one process of all, whatever happens to it."""

import asyncio
import logging

import pytest
import sqlalchemy as sa

from homeport.errors import Unavailable
from homeport.jobs import housekeeping
from homeport.jobs.housekeeping import Chore
from homeport.jobs.worker import ATTEMPTS, Worker
from homeport.store.tables import jobs
from tests.jobs.test_worker import PATIENCE, until
from tests.store.queues import Bench


class Broom:
    def __init__(self, error: Exception | None = None) -> None:
        self.swept = 0
        self._error = error

    async def sweep(self) -> None:
        self.swept += 1
        if self._error is not None:
            raise self._error


def work(bench: Bench, chore: Chore, broom: Broom, times: int) -> None:
    """Until it was done so often; each time the interval passes at once."""

    async def work() -> None:
        worker = Worker(bench.queue, [chore], name="me", poll_seconds=0.02)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            async with asyncio.timeout(PATIENCE):
                while broom.swept < times:
                    async with bench.database.write() as connection:
                        await connection.execute(sa.update(jobs).where(jobs.c.status == "queued").values(run_at=0))
                    await asyncio.sleep(0.02)
            worker.drain()

    bench.run(work())


def test_a_chore_has_one_row_whoever_begins_it(bench: Bench) -> None:
    chore = Chore(bench.queue, "sweep", 600.0, Broom().sweep)
    for _ in range(3):
        bench.run(housekeeping.begin(bench.queue, [chore]))
    assert [(row.lane, row.kind) for row in bench.rows()] == [("housekeeping", "sweep")]


def test_it_waits_for_its_interval(bench: Bench) -> None:
    broom = Broom()
    chore = Chore(bench.queue, "sweep", 600.0, broom.sweep)
    bench.run(housekeeping.begin(bench.queue, [chore]))
    bench.pass_time(590)
    assert bench.claim(kind="sweep") == []
    bench.pass_time(11)

    async def work() -> None:
        worker = Worker(bench.queue, [chore], name="me", poll_seconds=0.02)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await until(lambda: broom.swept == 1)
            await asyncio.sleep(0.2)
            worker.drain()

    bench.run(work())
    assert broom.swept == 1
    assert bench.claim(kind="sweep") == []
    bench.pass_time(601)
    assert len(bench.claim(kind="sweep")) == 1


@pytest.mark.parametrize("error", [Unavailable("away"), KeyError("what a client said")])
def test_one_that_fails_has_a_next_time(bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    broom = Broom(error)
    chore = Chore(bench.queue, "sweep", 600.0, broom.sweep)
    bench.run(housekeeping.begin(bench.queue, [chore]))
    with caplog.at_level(logging.INFO):
        work(bench, chore, broom, ATTEMPTS + 2)
    assert ("sweep has failed; again in 600 s" in caplog.text) == isinstance(error, KeyError)


def test_one_that_kills_its_workers_stays(bench: Bench) -> None:
    chore = Chore(bench.queue, "sweep", 600.0, Broom().sweep)
    bench.run(housekeeping.begin(bench.queue, [chore]))
    bench.execute(sa.update(jobs).values(attempt=ATTEMPTS + 3, run_at=0))

    async def work() -> None:
        worker = Worker(bench.queue, [chore], name="me", poll_seconds=0.02)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await until(lambda: any(event.what == "given_up" for event in +worker.counts))
            worker.drain()

    bench.run(work())
    (row,) = bench.rows()
    assert (row.kind, row.status, row.attempt) == ("sweep", "queued", 0)
    assert bench.claim(kind="sweep") == []
