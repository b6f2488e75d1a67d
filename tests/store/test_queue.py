"""The durable queue, on SQLite and on PostgreSQL alike."""

import asyncio
import time

import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.store import queue as queue_module
from homeport.store.database import Database
from homeport.store.queue import Beat, Depth, Job, LeaseLost
from homeport.store.tables import jobs
from tests import clocks
from tests.store.queues import Bench, opened
from tests.store.servers import PostgresServer, postgres_server

LEASE = 30.0


def test_what_is_enqueued_is_there_with_the_transaction_that_promised_it(bench: Bench) -> None:
    class Broken(Exception):
        pass

    async def promise(*, broken: bool) -> None:
        async with bench.database.write() as connection:
            await bench.queue.enqueue(connection, "toys", "toy", "s")
            if broken:
                raise Broken

    with pytest.raises(Broken):
        bench.run(promise(broken=True))
    assert bench.claim() == []
    bench.run(promise(broken=False))
    assert [job.subject for job in bench.claim()] == ["s"]


def test_a_claim_says_all_about_a_job(bench: Bench) -> None:
    made = bench.enqueue("batch_1", checkpoint={"line": 7})
    job = bench.claim_one()
    assert job == Job(job.seq, made, "toys", "toy", "batch_1", 1, 1, False, {"line": 7})
    (row,) = bench.rows()
    assert (row.status, row.owner) == ("running", "me")


def test_nobody_else_gets_a_job_that_is_claimed(bench: Bench) -> None:
    bench.enqueue()
    assert len(bench.claim()) == 1
    assert bench.claim(owner="you") == []


def test_the_order_is_of_priority_and_then_of_time(bench: Bench) -> None:
    for subject, priority in (("first", 0), ("second", 0), ("urgent", -1), ("idle", 5)):
        bench.enqueue(subject, priority=priority)
    assert [job.subject for job in bench.claim(3)] == ["urgent", "first", "second"]
    assert [job.subject for job in bench.claim(3)] == ["idle"]


def test_a_job_waits_for_its_time(bench: Bench) -> None:
    bench.enqueue(run_in=60)
    assert bench.claim() == []
    bench.pass_time(61)
    assert len(bench.claim()) == 1


def test_each_kind_has_its_own_number_of_places(bench: Bench) -> None:
    for number in range(5):
        bench.enqueue(f"toy {number}")
        bench.enqueue(f"ball {number}", kind="ball")
    bench.enqueue(kind="unknown here")
    claimed = bench.run(bench.queue.claim({"toy": 2, "ball": 3, "doll": 1}, "me"))
    assert sorted(job.kind for job in claimed) == ["ball"] * 3 + ["toy"] * 2
    assert bench.run(bench.queue.claim({}, "me")) == []


def test_whoever_is_killed_is_followed_by_another_with_a_higher_fence(bench: Bench) -> None:
    bench.enqueue()
    killed = bench.claim_one()
    bench.pass_time(LEASE - 1)
    assert bench.claim() == []
    bench.pass_time(2)
    heir = bench.claim_one()
    assert (heir.id, heir.fence, heir.attempt) == (killed.id, 2, 2)
    for method, more in (("hold", {}), ("finish", {}), ("later", {"run_in": 0.0})):
        with pytest.raises(LeaseLost):
            bench.do(method, killed, **more)
    assert bench.do("hold", heir) == 2


def test_what_is_written_without_the_lease_is_taken_back(bench: Bench) -> None:
    bench.enqueue()
    killed = bench.claim_one()
    bench.pass_time(LEASE + 1)
    bench.claim_one()

    async def write() -> None:
        async with bench.database.write() as connection:
            await bench.queue.enqueue(connection, "toys", "toy", "of the one that was killed")
            await bench.queue.hold(connection, killed)

    with pytest.raises(LeaseLost):
        bench.run(write())
    assert len(bench.rows()) == 1


def test_a_lease_that_is_renewed_holds(bench: Bench) -> None:
    bench.enqueue()
    job = bench.claim_one()
    for _ in range(3):
        bench.pass_time(LEASE - 1)
        assert bench.run(bench.queue.beat([job])) == Beat(frozenset(), frozenset())
        assert bench.claim() == []


def test_a_lease_that_ended_is_renewed_while_nobody_else_has_the_job(bench: Bench) -> None:
    bench.enqueue()
    job = bench.claim_one()
    bench.pass_time(3600)
    bench.run(bench.queue.beat([job]))
    assert bench.claim() == []
    bench.do("finish", job)


def test_the_heartbeat_tells_what_became_of_each_job(bench: Bench) -> None:
    for subject in ("goes on", "lost", "ended", "asked to end", "put off"):
        bench.enqueue(subject)
    known = {job.subject: job for job in bench.claim()}
    bench.do("finish", known["ended"])
    bench.do("later", known["put off"], run_in=60)
    bench.do("cancel", "asked to end")
    bench.execute(sa.update(jobs).where(jobs.c.subject == "lost").values(run_at=0))
    bench.claim_one()
    wanted = Beat(
        lost=frozenset({known["lost"].claim}), cancelled=frozenset({known["ended"].claim, known["asked to end"].claim})
    )
    assert bench.run(bench.queue.look(known.values())) == wanted
    assert bench.run(bench.queue.beat(known.values())) == wanted
    assert bench.claim() == [], "what is put off must not be due by a heartbeat"
    bench.pass_time(LEASE + 1)
    assert "put off" not in [job.subject for job in bench.claim()]


def test_a_checkpoint_goes_with_its_transaction(bench: Bench) -> None:
    bench.enqueue()
    job = bench.claim_one()
    bench.do("hold", job, checkpoint={"line": 50})
    bench.do("hold", job)
    bench.pass_time(LEASE + 1)
    assert bench.claim_one().checkpoint == {"line": 50}


def test_attempts_are_counted_anew_for_what_came_further(bench: Bench) -> None:
    bench.enqueue()
    for attempt in (1, 2, 3):
        job = bench.claim_one()
        assert job.attempt == attempt
        bench.do("hold", job, checkpoint=job.checkpoint)
        bench.pass_time(LEASE + 1)
    job = bench.claim_one()
    assert bench.do("hold", job, checkpoint={"line": 1}) == 1
    bench.pass_time(LEASE + 1)
    assert bench.claim_one().attempt == 2


def test_what_ends_is_gone(bench: Bench) -> None:
    bench.enqueue()
    job = bench.claim_one()
    assert bench.run(bench.queue.holds(job))
    bench.do("finish", job)
    assert not bench.run(bench.queue.holds(job))
    assert bench.rows() == []
    with pytest.raises(LeaseLost):
        bench.do("finish", job)


def test_what_failed_comes_back_as_another_attempt(bench: Bench) -> None:
    bench.enqueue()
    bench.do("later", bench.claim_one(), run_in=4, error="KeyError")
    (row,) = bench.rows()
    assert (row.status, row.owner, row.last_error) == ("queued", None, "KeyError")
    assert bench.claim() == []
    bench.pass_time(5)
    assert bench.claim_one().attempt == 2


def test_what_is_put_off_has_lost_no_attempt(bench: Bench) -> None:
    bench.enqueue(checkpoint={"line": 1})
    for fence in range(1, 10):
        job = bench.claim_one()
        assert (job.attempt, job.fence, job.checkpoint) == (1, fence, {"line": fence})
        bench.do("later", job, run_in=0, checkpoint={"line": fence + 1})


def test_cancelled_jobs_are_gone_and_running_ones_are_asked_to_end(bench: Bench) -> None:
    bench.enqueue("a")
    running = bench.claim_one()
    bench.enqueue("a")
    bench.enqueue("a", kind="ball")
    bench.enqueue("b")
    bench.do("cancel", "a", "toy")
    assert [(row.subject, row.kind, row.cancel_requested) for row in bench.rows()] == [
        ("a", "toy", True),
        ("a", "ball", False),
        ("b", "toy", False),
    ]
    bench.do("cancel", "a")
    assert [row.subject for row in bench.rows()] == ["a", "b"]
    bench.pass_time(LEASE + 1)
    heir = next(job for job in bench.claim() if job.id == running.id)
    assert heir.cancel_requested, "whoever takes it over must know, too"


def test_the_parts_of_two_subjects_take_turns(bench: Bench) -> None:
    for subject in ("large", "small"):
        parts = [{"part": number} for number in range(3)]
        bench.do("enqueue_parts", "toys", "toy", subject, parts, priority=1)
    bench.do("enqueue_parts", "toys", "toy", "empty", [])
    found = [(job.subject, (job.checkpoint or {})["part"]) for job in bench.claim()]
    assert found == [(subject, part) for part in range(3) for subject in ("large", "small")]
    assert len({row.id for row in bench.rows()}) == 6


def test_lists_of_subjects_take_turns(bench: Bench) -> None:
    for name in ("large", "small"):
        bench.do("enqueue_each", "toys", "toy", [f"{name} {number}" for number in range(3)])
    bench.do("enqueue_each", "toys", "toy", [])
    found = [(job.subject, job.checkpoint) for job in bench.claim()]
    assert found == [(f"{name} {number}", None) for number in range(3) for name in ("large", "small")]
    assert len({row.id for row in bench.rows()}) == 6


def test_a_claim_tells_failures_from_deaths(bench: Bench) -> None:
    bench.enqueue()
    bench.claim_one()
    bench.pass_time(LEASE + 1)
    heir = bench.claim_one()
    assert (heir.attempt, heir.last_error) == (2, None)
    bench.do("later", heir, run_in=0, error="KeyError")
    assert bench.claim_one().last_error == "KeyError"


def test_what_is_withdrawn_is_gone_for_whoever_runs_it(bench: Bench) -> None:
    bench.enqueue("a")
    running = bench.claim_one()
    bench.enqueue("a")
    bench.enqueue("a", kind="ball")
    bench.enqueue("b")
    assert bench.do("left", "a", "toy") == 2
    bench.do("withdraw", "a", "toy")
    assert bench.do("left", "a", "toy") == 0
    assert [(row.subject, row.kind) for row in bench.rows()] == [("a", "ball"), ("b", "toy")]
    with pytest.raises(LeaseLost):
        bench.do("hold", running)


def test_of_some_jobs_there_is_one_at_a_time(bench: Bench) -> None:
    assert bench.enqueue("sweep", only=True) == bench.enqueue("sweep", only=True)
    bench.enqueue("other", only=True)
    assert len(bench.rows()) == 2
    first = next(job for job in bench.claim() if job.subject == "sweep")
    bench.enqueue("sweep", only=True)
    assert len(bench.rows()) == 2
    bench.do("finish", first)
    bench.enqueue("sweep", only=True)
    second = bench.claim_one()
    with pytest.raises(LeaseLost):
        bench.do("finish", first)
    bench.do("finish", second)


def test_how_full_the_lanes_are(bench: Bench) -> None:
    assert bench.run(bench.queue.depths()) == {}
    for number in range(3):
        bench.enqueue(str(number))
    bench.claim_one()
    bench.enqueue(lane="later", kind="ball", run_in=60)
    depths = bench.run(bench.queue.depths())
    assert depths["later"] == Depth(queued=1, running=0, oldest=0.0)
    assert depths["toys"][:2] == (2, 1)
    bench.execute(sa.update(jobs).where(jobs.c.status == "queued").values(run_at=jobs.c.run_at - 100))
    depths = bench.run(bench.queue.depths())
    assert 100 <= depths["toys"].oldest < 160
    assert 40 <= depths["later"].oldest < 100


def test_many_who_claim_at_once_get_every_job_once(bench: Bench) -> None:
    for number in range(60):
        bench.enqueue(str(number))

    async def claim_all(name: str) -> list[str]:
        """As a process of its own would: with connections of its own."""
        queue, found = bench.queue.another(), []
        while claimed := await queue.claim({"toy": 7}, name):
            found += [job.subject for job in claimed]
        await queue.database.close()
        return found

    async def all_at_once() -> list[list[str]]:
        return await asyncio.gather(*(claim_all(f"worker {number}") for number in range(4)))

    claimed = bench.run(all_at_once())
    assert sorted(int(subject) for one in claimed for subject in one) == [*range(60)]


def test_whoever_waits_is_woken(bench: Bench) -> None:
    async def wait() -> float:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.queue.wait(60))
            await asyncio.sleep(0.05)
            bench.queue.told()
        return time.monotonic() - began

    assert bench.run(wait()) < 30
    bench.run(bench.queue.wait(0.01))


def test_postgresql_wakes_other_processes_with_the_commit(postgres: PostgresServer) -> None:
    with opened(postgres.create("waking")) as bench:
        queue, other = bench.queue, bench.queue.another()

        async def wake() -> None:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(other.listen())
                async with asyncio.timeout(30):
                    while not await listens(bench.database):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                waiting = group.create_task(other.wait(60))
                async with bench.database.write() as connection:
                    await queue.enqueue(connection, "toys", "toy", "s")
                    await asyncio.sleep(0.1)
                    assert not waiting.done()
                await asyncio.wait_for(waiting, 30)
                assert await other.claim({"toy": 1}, "you")
                listening.cancel()
            await other.database.close()

        bench.run(wake())


def test_postgresql_wakes_others_again_after_it_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_AGAIN_SECONDS", 0.1)
    with postgres_server() as mortal, opened(mortal.url) as bench:

        async def wake() -> None:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(bench.queue.listen())
                for _ in range(2):
                    async with asyncio.timeout(30):
                        while not await listens(bench.database):  # noqa: ASYNC110
                            await asyncio.sleep(0.02)
                    await bench.queue.wait(0.01)
                    other = bench.queue.another()
                    async with other.database.write() as connection:
                        await other.enqueue(connection, "toys", "toy", "s")
                    await asyncio.wait_for(bench.queue.wait(60), 30)
                    await other.database.close()
                    await asyncio.to_thread(mortal.kill)
                    await asyncio.to_thread(mortal.start)
                listening.cancel()

        bench.run(wake())


async def listens(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT 1'"
    async with database.read() as connection:
        return bool(await connection.scalar(sa.text(query)))


def test_clocks_that_differ_by_an_hour_do_no_harm_on_postgresql(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(postgres.create("clocks")) as bench:
        bench.enqueue("now")
        bench.enqueue("in a minute", run_in=60)
        real = clock.now
        clocks.own(monkeypatch, "store.queue", now=lambda: real() + 3600)
        job = bench.claim_one()
        assert job.subject == "now"
        assert bench.claim() == []
        bench.run(bench.queue.beat([job]))
        clocks.own(monkeypatch, "store.queue", now=lambda: real() - 3600)
        assert bench.claim() == []
        bench.enqueue("behind")
        assert [job.subject for job in bench.claim()] == ["behind"]
        assert bench.do("hold", job) == 1
