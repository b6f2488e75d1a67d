"""kill -9 of workers at random: every step of every job is committed once, and none is lost."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.queue import Queue
from homeport.store.tables import jobs
from tests.fake_upstream import until
from tests.jobs.toy import STEPS, steps
from tests.replicas import nursery
from tests.replicas.house import Row, read
from tests.replicas.nursery import Process
from tests.replicas.processes import ROOT
from tests.store.servers import PostgresServer

JOBS = 60
WORKERS = 3
KILLS = 5
PATIENCE = 90.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create(f"killing_{tmp_path.name}")


async def enqueue(url: str) -> None:
    database = Database(url)
    queue = Queue(database)
    await migrate(database, "state")
    async with database.write() as connection:
        await connection.run_sync(steps.create)
        for number in range(JOBS):
            await queue.enqueue(connection, "toys", "toy", f"job {number}")
    await database.close()


def started(url: str, name: str, gate: Path, *lease: str) -> Process:
    """lease: seconds."""
    with gate.with_name(f"{name}.said").open("ab") as said:
        return nursery.begin(
            "tests.jobs.toy", [url, name, str(gate), *lease], cwd=ROOT, environment=os.environ, stdout=said, stderr=said
        )


@contextmanager
def working(url: str, gate: Path, *lease: str) -> Iterator[list[Process]]:
    """Each of them has begun, and none is done: they wait for the gate."""
    workers = [started(url, f"worker {number}", gate, *lease) for number in range(WORKERS)]
    try:
        if not gate.exists():
            assert until(lambda: len({row["by"] for row in done(url)}) == WORKERS, PATIENCE)
        yield workers
    finally:
        for one in workers:
            one.kill()
            one.wait()


def done(url: str) -> list[Row]:
    return read(url, sa.select(steps))


def wait_for(url: str, count: int) -> None:
    """Steps."""
    assert until(lambda: len(done(url)) >= count, PATIENCE), read(url, sa.select(jobs))


def check(url: str) -> None:
    """All is done, once."""
    found = Counter((row["subject"], row["step"]) for row in done(url))
    assert found == {(f"job {number}", step): 1 for number in range(JOBS) for step in range(STEPS)}
    assert read(url, sa.select(jobs)) == []


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_workers_that_are_killed_lose_nothing_and_do_nothing_twice(url: str, gate: Path) -> None:
    asyncio.run(enqueue(url))
    with working(url, gate) as workers:
        gate.touch()
        for kill in range(1, KILLS + 1):
            wait_for(url, kill * JOBS * STEPS // (KILLS + 1))
            time.sleep(random.random() * 0.05)
            number = random.randrange(WORKERS)
            workers[number].kill()
            workers[number].wait()
            workers[number] = started(url, f"successor {kill}", gate)
        wait_for(url, JOBS * STEPS)
    check(url)
    if url.startswith("sqlite"):
        (row,) = read(url, sa.text("PRAGMA integrity_check"))
        assert row["integrity_check"] == "ok"


def test_workers_that_are_drained_hand_on_what_they_have(url: str, gate: Path) -> None:
    """Without waiting for a lease: the next ones go on at once, and no attempt is lost."""
    asyncio.run(enqueue(url))
    with working(url, gate, "600") as workers:
        for one in workers:
            one.send_signal(signal.SIGTERM)
        gate.touch()
        assert [one.wait(PATIENCE) for one in workers] == [0] * WORKERS
    left = read(url, sa.select(jobs))
    assert left
    assert {(row["status"], row["attempt"]) for row in left} == {("queued", 0)}
    with working(url, gate):
        wait_for(url, JOBS * STEPS)
    check(url)


def test_a_database_that_dies_and_comes_back(mortal: PostgresServer, gate: Path) -> None:
    """Workers stay, and go on with it."""
    asyncio.run(enqueue(mortal.url))
    with working(mortal.url, gate) as workers:
        gate.touch()
        wait_for(mortal.url, JOBS * STEPS // 3)
        mortal.kill()
        mortal.start()
        wait_for(mortal.url, JOBS * STEPS)
        assert [one.poll() for one in workers] == [None] * WORKERS
        check(mortal.url)
