"""What becomes of jobs in a worker's hands: done, failed, given up, cancelled, lost, handed back."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.errors import SettingsError, Unavailable
from homeport.jobs.worker import ATTEMPTS, Event, Task, Worker
from homeport.store.queue import Job, Queue
from homeport.store.tables import jobs
from tests.store.queues import Bench

PATIENCE = 90.0


@dataclass
class Toy:
    """A handler that does what a test says."""

    queue: Queue
    do: Callable[[Task], Awaitable[None]]
    lane: str = "toys"
    kind: str = "toy"
    at_once: int = 4
    begun: list[Job] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    cannot_give_up: bool = False

    async def run(self, task: Task) -> None:
        self.begun.append(task.job)
        await self.do(task)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        if self.cannot_give_up:
            raise KeyError("secret")
        self.given_up.append(error)
        await self.queue.enqueue(connection, "other", "told", job.subject)
        await self.queue.finish(connection, job)

    async def finish(self, task: Task) -> None:
        async with self.queue.database.write() as connection:
            await self.queue.finish(connection, task.job)


@asynccontextmanager
async def working(*handlers: Toy, lease_seconds: float = 30.0) -> AsyncGenerator[Worker, None]:
    """Until the block ends; then it is drained."""
    queue = handlers[0].queue
    queue.lease_seconds = lease_seconds
    worker = Worker(queue, handlers, name="me", poll_seconds=0.05)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        yield worker
        worker.drain()
        await asyncio.wait_for(worker.drained(), PATIENCE)
        await running


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def toy(bench: Bench, do: Callable[[Task], Awaitable[None]]) -> Toy:
    return Toy(bench.queue, do)


def test_jobs_are_done(bench: Bench) -> None:
    async def finish(task: Task) -> None:
        await made.finish(task)

    made = toy(bench, finish)
    for number in range(20):
        bench.enqueue(str(number))

    async def work() -> None:
        async with working(made) as worker:
            await until(lambda: len(made.begun) == 20)
        assert +worker.counts == {Event("toys", "toy", "claimed"): 20}

    bench.run(work())
    assert bench.rows() == []


def test_no_more_at_once_than_the_handler_allows(bench: Bench) -> None:
    running, most = 0, 0

    async def count(task: Task) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        await made.finish(task)

    made = toy(bench, count)
    for number in range(12):
        bench.enqueue(str(number))

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 12)

    bench.run(work())
    assert most == made.at_once


def test_what_is_enqueued_meanwhile_begins_when_it_is_told(bench: Bench) -> None:
    async def finish(task: Task) -> None:
        await made.finish(task)

    made = toy(bench, finish)

    async def work() -> None:
        async with working(made):
            await asyncio.sleep(0.1)
            async with bench.database.write() as connection:
                await bench.queue.enqueue(connection, "toys", "toy", "s")
            bench.queue.told()
            await until(lambda: len(made.begun) == 1)

    bench.run(work())


def test_a_worker_has_its_lanes(bench: Bench) -> None:
    async def finish(task: Task) -> None:
        await made.finish(task)

    made = toy(bench, finish)
    other = Toy(bench.queue, finish, lane="balls", kind="ball")
    with pytest.raises(SettingsError, match=r"no lane 'dolls'. There are: balls, toys"):
        Worker(bench.queue, [made, other], name="me", lanes=["dolls"])
    bench.enqueue()
    bench.enqueue(kind="ball", lane="balls")

    async def work() -> None:
        worker = Worker(bench.queue, [made, other], name="me", lanes=["balls"], poll_seconds=0.05)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await until(lambda: len(other.begun) == 1)
            worker.drain()

    bench.run(work())
    assert made.begun == []


def test_what_fails_is_tried_again_and_given_up_the_fifth_time(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(task: Task) -> None:
        raise KeyError("a prompt")

    made = toy(bench, fail)
    bench.enqueue("of the client")

    async def work() -> None:
        async with working(made) as worker:
            for attempt in range(1, ATTEMPTS + 1):
                await until(lambda attempt=attempt: sum(worker.counts.values()) >= 3 * attempt - 1)  # type: ignore[misc]
                (row, *_) = await rows(bench)
                if attempt < ATTEMPTS:
                    assert row.status == "queued"
                    assert "KeyError" in row.last_error
                    await push(bench, 4.0 ** (attempt - 1))
        counted = {event.what: number for event, number in (+worker.counts).items()}
        assert counted == {"claimed": 5, "retried": 4, "failed": 4, "given_up": 1}

    with caplog.at_level(logging.INFO):
        bench.run(work())
    assert [job.attempt for job in made.begun] == [1, 2, 3, 4, 5]
    assert [(row.kind, row.subject) for row in bench.rows()] == [("told", "of the client")]
    assert len(made.given_up) == 1
    assert "a prompt" not in caplog.text + made.given_up[0]
    assert "again in 64 s" in caplog.text


async def rows(bench: Bench) -> list[sa.Row[tuple[object, ...]]]:
    async with bench.database.read() as connection:
        return [*(await connection.execute(sa.select(jobs).order_by(jobs.c.seq))).all()]


async def push(bench: Bench, seconds: float) -> None:
    """So much time passes for what waits, and no more than that."""
    async with bench.database.write() as connection:
        await connection.execute(sa.update(jobs).values(run_at=jobs.c.run_at - seconds))
    bench.queue.told()


def test_a_job_that_kills_its_workers_is_given_up(bench: Bench) -> None:
    async def finish(task: Task) -> None:
        await made.finish(task)

    made = toy(bench, finish)
    bench.enqueue()
    for _ in range(ATTEMPTS):
        bench.claim_one()
        bench.pass_time(31)

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.given_up) == 1)

    bench.run(work())
    assert made.begun == []


def test_what_is_deleted_while_it_is_given_up_is_lost(bench: Bench) -> None:
    """Whoever deletes it does not wait: the worker takes the job's row last."""
    if bench.database.sqlite:
        pytest.skip("one writes at a time")

    async def fail(_: Task) -> None:
        raise KeyError

    class Deleted(Toy):
        async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
            async with self.queue.database.write() as other:
                await self.queue.withdraw(other, job.subject, job.kind)
            await super().give_up(connection, job, error)

    made = Deleted(bench.queue, fail)
    bench.enqueue()
    bench.execute(sa.update(jobs).values(attempt=ATTEMPTS - 1))

    async def work() -> None:
        async with working(made) as worker:
            await until(lambda: worker.counts[Event("toys", "toy", "lost")] == 1)
        assert worker.counts[Event("toys", "toy", "given_up")] == 0

    bench.run(work())
    assert bench.rows() == []


def test_what_cannot_be_given_up_is_kept(bench: Bench) -> None:
    async def fail(task: Task) -> None:
        raise ValueError

    made = toy(bench, fail)
    made.cannot_give_up = True
    bench.enqueue()
    bench.execute(sa.update(jobs).values(attempt=ATTEMPTS - 1))

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 1)

    bench.run(work())
    (row,) = bench.rows()
    assert row.status == "queued"
    assert bench.claim() == []
    bench.pass_time(301)
    assert bench.claim_one().attempt == ATTEMPTS + 1


def test_a_handler_that_does_not_end_its_job_has_failed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def nothing(task: Task) -> None:
        pass

    made = toy(bench, nothing)
    bench.enqueue()

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 2)

    bench.run(work())
    assert "its handler has returned without having ended it" in caplog.text


def test_a_handler_whose_own_task_was_cancelled_has_failed(bench: Bench) -> None:
    async def wait_for_a_cancelled_one(task: Task) -> None:
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting

    made = toy(bench, wait_for_a_cancelled_one)
    bench.enqueue()

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 2)

    bench.run(work())
    assert bench.rows()[0].last_error.startswith("CancelledError")


def test_a_blocked_loop_keeps_its_leases(bench: Bench) -> None:
    async def block(task: Task) -> None:
        time.sleep(4.0)  # noqa: ASYNC251 - the fault
        await made.finish(task)

    made = toy(bench, block)
    bench.enqueue()
    stolen: list[Job] = []
    blocked = threading.Event()

    async def steal() -> None:
        other = bench.queue.another()
        while not blocked.is_set():
            stolen.extend(await other.claim({"toy": 1}, "thief"))
            await asyncio.sleep(0.05)
        await other.database.close()

    async def work() -> None:
        async with working(made, lease_seconds=2.0) as worker:
            await until(lambda: len(made.begun) == 1)
            thief.start()
            await until(lambda: not worker._hand)

    thief = threading.Thread(target=lambda: asyncio.run(steal()))
    bench.run(work())
    blocked.set()
    thief.join()
    assert stolen == []
    assert len(made.begun) == 1
    assert bench.rows() == []


def test_whoever_has_lost_a_job_is_stopped(bench: Bench) -> None:
    stopped = []

    async def wait(task: Task) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            stopped.append(task.cancelled.is_set())

    made = toy(bench, wait)
    bench.enqueue()

    async def work() -> None:
        async with working(made) as worker:
            await until(lambda: len(made.begun) == 1)
            made.at_once = 0
            async with bench.database.write() as connection:
                await connection.execute(sa.update(jobs).values(run_at=0))
            (heir,) = await bench.queue.claim({"toy": 1}, "you")
            await until(lambda: bool(stopped))
        assert worker.counts[Event("toys", "toy", "lost")] == 1
        assert await bench.queue.holds(heir), "what is lost is not handed back"

    bench.run(work())
    assert stopped == [True]


def test_while_the_database_is_away_jobs_go_on_and_stop_before_their_leases_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(task: Task) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            stopped.append(time.monotonic())

    stopped: list[float] = []
    made = toy(bench, wait)
    bench.enqueue()
    lease = 3.0

    async def away(*_: object) -> None:
        raise Unavailable("away")

    async def work() -> None:
        async with working(made, lease_seconds=lease):
            await until(lambda: len(made.begun) == 1)
            for method in ("beat", "look", "claim"):
                monkeypatch.setattr(Queue, method, away)
            began = time.monotonic()
            await asyncio.sleep(lease / 2)
            assert not stopped
            await until(lambda: bool(stopped))
            assert stopped[0] > began + lease / 2
        monkeypatch.undo()

    bench.run(work())


def test_cancelled_jobs_hear_of_it(bench: Bench) -> None:
    async def wait(task: Task) -> None:
        await task.cancelled.wait()
        await made.finish(task)

    made = toy(bench, wait)
    bench.enqueue("a")

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 1)
            async with bench.database.write() as connection:
                await bench.queue.cancel(connection, "a")

    bench.run(work())
    assert bench.rows() == []


def test_draining_lets_jobs_come_to_a_stop_and_claims_no_more(bench: Bench) -> None:
    async def stop(task: Task) -> None:
        await task.stopping.wait()
        async with bench.database.write() as connection:
            await bench.queue.later(connection, task.job, run_in=0, checkpoint={"line": 7})

    made = toy(bench, stop)
    bench.enqueue("in hand")

    async def work() -> None:
        async with working(made):
            await until(lambda: len(made.begun) == 1)

    bench.run(work())
    job = bench.claim_one()
    assert (job.attempt, job.checkpoint) == (1, {"line": 7})
    assert len(made.begun) == 1


def test_what_does_not_stop_is_cut_off_and_handed_back(bench: Bench) -> None:
    async def wait(task: Task) -> None:
        async with bench.database.write() as connection:
            await bench.queue.hold(connection, task.job, checkpoint={"line": 7})
        await asyncio.sleep(PATIENCE)

    made = toy(bench, wait)
    bench.enqueue()

    async def work() -> None:
        worker = Worker(bench.queue, [made], name="me", poll_seconds=0.05)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.run())
            await until(lambda: len(made.begun) == 1)
            worker.drain()
            await asyncio.sleep(0.5)
            assert not running.done()
            running.cancel()

    bench.run(work())
    job = bench.claim_one()
    assert (job.attempt, job.checkpoint) == (1, {"line": 7})


def test_what_is_told_of_an_earlier_claim_does_not_stop_a_later_one(bench: Bench) -> None:
    """A heartbeat that set out before the job was put off, and arrives when it is in hand again."""

    async def wait(task: Task) -> None:
        await task.stopping.wait()
        await made.finish(task)

    made = toy(bench, wait)
    bench.enqueue()
    earlier = bench.claim_one()
    bench.do("later", earlier, run_in=0)

    async def work() -> None:
        async with working(made) as worker:
            await until(lambda: len(made.begun) == 1)
            worker._heard(await bench.queue.look([earlier]))
        assert worker.counts[Event("toys", "toy", "lost")] == 0

    bench.run(work())
    assert bench.rows() == []


def test_one_that_lost_a_job_may_get_it_again(bench: Bench) -> None:
    """While what it did with it before has not come to an end."""
    first_ends = asyncio.Event()

    async def work_on(task: Task) -> None:
        if task.job.fence == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await task.cancelled.wait()
            await first_ends.wait()
        await made.finish(task)

    made = toy(bench, work_on)
    bench.enqueue()

    async def work() -> None:
        async with working(made) as worker:
            await until(lambda: len(made.begun) == 1)
            async with bench.database.write() as connection:
                await connection.execute(sa.update(jobs).values(run_at=0))
            await until(lambda: len(made.begun) == 2 and len(worker._hand) == 1)
            first_ends.set()
        assert worker.counts[Event("toys", "toy", "lost")] == 1

    bench.run(work())
    assert bench.rows() == []
