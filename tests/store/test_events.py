"""The log of events, on SQLite and on PostgreSQL alike: who tells, who says, and who follows, here and elsewhere."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.errors import Unavailable
from homeport.store import events as events_module
from homeport.store import followers as followers_module
from homeport.store.database import Database
from homeport.store.events import AHEAD, Events, Telling
from homeport.store.followers import Told
from homeport.store.queue import Job, LeaseLost, Queue
from homeport.store.tables import run_events, runs, threads
from tests.store.queues import Bench
from tests.store.runs import make_run

T = TypeVar("T")
PATIENCE = 90.0


class Process:
    """One of those that share a database."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.queue = Queue(self.database)
        self.events = Events(self.queue, run_events, runs)
        self.commits = 0

    async def make(self) -> int:
        async with self.database.write() as connection:
            return await make_run(connection)

    async def tell(self, seq: int, *names: str) -> int:
        async with self.database.write() as connection:
            first = await self.events.tell(connection, seq, [(name, b"{}") for name in names])
        self.events.told(seq)
        return first

    async def end(self, seq: int, telling: Telling | None = None) -> None:
        """The run, with an event that says so."""
        async with self.database.write() as connection:
            await connection.execute(sa.update(runs).where(runs.c.seq == seq).values(status="completed"))
            if telling is not None:
                await telling.tell(connection, ("end", b"{}"))
            else:
                await self.events.tell(connection, seq, [("end", b"{}")])
        if telling is not None:
            telling.told()
        else:
            self.events.told(seq)

    async def rows(self, seq: int) -> list[Told]:
        columns = run_events.c.number, run_events.c.event, run_events.c.data
        query = sa.select(*columns).where(run_events.c.run_seq == seq).order_by(run_events.c.number)
        async with self.database.read() as connection:
            return [Told(*row) for row in await connection.execute(query)]

    async def counted(self, seq: int) -> int | None:
        async with self.database.read() as connection:
            count: int | None = await connection.scalar(sa.select(runs.c.events).where(runs.c.seq == seq))
            return count

    async def job(self, subject: str = "run") -> Job:
        async with self.database.write() as connection:
            await self.queue.enqueue(connection, "runs", "run", subject)
        (job,) = await self.queue.claim({"run": 1}, "me")
        return job


def over(seq: int) -> Callable[[AsyncConnection], Awaitable[bool]]:
    async def is_over(connection: AsyncConnection) -> bool:
        status = await connection.scalar(sa.select(runs.c.status).where(runs.c.seq == seq))
        return status != "in_progress"

    return is_over


class Watcher:
    """Follows a run in a task of its own."""

    def __init__(
        self, process: Process, seq: int, after: int = -1, *, holds: Callable[[], bool] = lambda: True
    ) -> None:
        self.had: list[Told] = []
        self.pieces = 0
        self._came = asyncio.Event()
        self._stream = process.events.follow(seq, after, over(seq), holds=holds)

    async def watch(self) -> None:
        async for some in self._stream:
            self.had += some
            self.pieces += 1
            self._came.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._came.clear()
                await self._came.wait()

    @property
    def names(self) -> list[str]:
        return [told.event for told in self.had]

    @property
    def numbers(self) -> list[int]:
        return [told.number for told in self.had]


@asynccontextmanager
async def processes(url: str, count: int = 1) -> AsyncGenerator[list[Process], None]:
    made = [Process(url) for _ in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one.events.run()) for one in made]
            yield made
            for task in running:
                task.cancel()
    finally:
        for one in made:
            await one.database.close()


def test_whoever_follows_has_all_in_their_order(bench: Bench, state_url: str) -> None:
    """Here and in another process, from the beginning and from the middle, before, while and after it goes on."""

    async def follow() -> None:
        async with processes(state_url, 2) as (here, there), asyncio.TaskGroup() as group:
            seq = await here.make()
            assert await here.tell(seq, "created", "queued") == 0
            watchers = [Watcher(here, seq), Watcher(here, seq), Watcher(there, seq), Watcher(there, seq, after=0)]
            for watcher in watchers:
                group.create_task(watcher.watch())
            job = await here.job()
            async with here.events.telling(seq, 2, job) as telling:
                for number in range(50):
                    telling.say("delta", b"%d" % number)
                    if number % 10 == 0:
                        await asyncio.sleep(0)
                for watcher in watchers:
                    await watcher.until(lambda watcher=watcher: watcher.names.count("delta") == 50)  # type: ignore[misc]
                late = Watcher(here, seq, after=20)
                watchers.append(late)
                group.create_task(late.watch())
                await here.end(seq, telling)
        wanted = ["created", "queued", *["delta"] * 50, "end"]
        assert [watcher.names for watcher in watchers] == [wanted, wanted, wanted, wanted[1:], wanted[21:]]
        assert watchers[0].numbers == [*range(53)]
        assert [told.data for told in watchers[2].had[2:52]] == [b"%d" % number for number in range(50)]

    bench.run(follow())


def test_what_is_said_is_heard_before_it_is_written(
    bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say() -> None:
        async with processes(state_url) as (here,), asyncio.TaskGroup() as group:
            seq = await here.make()
            watcher = Watcher(here, seq)
            group.create_task(watcher.watch())
            await watcher.until(lambda: watcher.pieces == 1)
            monkeypatch.setattr(here.events, "flush", _never)
            async with here.events.telling(seq, 0, None) as telling:
                telling.say("a", b"1")
                await watcher.until(lambda: watcher.names == ["a"])
                assert await here.rows(seq) == []
                monkeypatch.undo()
            assert await here.rows(seq) == watcher.had == [Told(0, "a", b"1")]
            await here.end(seq)

    async def _never() -> None:
        raise Unavailable("away")

    bench.run(say())


def test_what_says_that_rows_have_changed_is_heard_once_they_are_committed(bench: Bench, state_url: str) -> None:
    async def tell() -> None:
        async with processes(state_url) as (here,):
            async with asyncio.TaskGroup() as group:
                seq = await here.make()
                watcher = Watcher(here, seq)
                group.create_task(watcher.watch())
                async with here.events.telling(seq, 0, None) as telling:
                    with suppress(ZeroDivisionError):
                        async with here.database.write() as connection:
                            await telling.tell(connection, ("never", b"{}"))
                            raise ZeroDivisionError
                    async with here.database.write() as connection:
                        await telling.tell(connection, ("b", b"{}"))
                    telling.told()
                await here.end(seq)
            assert watcher.names == ["b", "end"]
            assert watcher.numbers == [1, 2]
            assert await here.counted(seq) == 3

    bench.run(tell())


def test_many_deltas_are_few_commits(bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten that say 1,000 each, one transaction at a time writes what all have said."""
    monkeypatch.setattr(followers_module, "_SOME", 100)

    async def say() -> None:
        async with processes(state_url) as (here,):
            counted = 0
            locked = Events._locked

            async def counting(self: Events, connection: AsyncConnection, seqs: Sequence[int]) -> set[int]:
                nonlocal counted
                counted += 1
                return await locked(self, connection, seqs)

            monkeypatch.setattr(Events, "_locked", counting)
            seqs = [await here.make() for _ in range(10)]

            async def one(seq: int) -> None:
                async with here.events.telling(seq, 0, None) as telling:
                    for number in range(1000):
                        telling.say("delta", b"%d" % number)
                        await asyncio.sleep(0)
                    await here.end(seq, telling)

            async with asyncio.TaskGroup() as group:
                watcher = Watcher(here, seqs[0])
                group.create_task(watcher.watch())
                for seq in seqs:
                    group.create_task(one(seq))
            assert counted < 1000
            assert [len(await here.rows(seq)) for seq in seqs] == [1001] * 10
            assert watcher.numbers == [*range(1001)]

    bench.run(say())


def test_numbers_are_not_given_twice_when_somebody_was_killed(bench: Bench, state_url: str) -> None:
    """Followers have heard what is in no row: whoever goes on says other things, by other numbers."""

    async def kill() -> None:
        async with processes(state_url, 2) as (here, there):
            async with asyncio.TaskGroup() as group:
                seq = await here.make()
                job = await here.job()
                watcher, afar = Watcher(here, seq), Watcher(there, seq)
                group.create_task(watcher.watch())
                group.create_task(afar.watch())
                with suppress(LeaseLost):
                    async with here.events.telling(seq, 0, job) as telling:
                        async with here.database.write() as connection:
                            await telling.tell(connection, ("kept", b"{}"))
                        telling.told()
                        await watcher.until(lambda: watcher.names == ["kept"])
                        bench_time = sa.update(runs.metadata.tables["jobs"]).values(run_at=0.0)
                        async with here.database.write() as connection:
                            await connection.execute(bench_time)
                        (again,) = await there.queue.claim({"run": 1}, "you")
                        telling.say("lost", b"{}")
                        await watcher.until(lambda: watcher.names == ["kept", "lost"])
                        while True:
                            telling.say("more", b"{}")
                            await asyncio.sleep(0.001)
                lost = len(watcher.had)
                counted = await there.counted(seq)
                assert counted == 1
                async with there.events.telling(seq, counted, again, again=True) as telling:
                    assert telling.number == 1 + AHEAD
                    telling.say("redone", b"{}")
                    await watcher.until(lambda: watcher.names[-1] == "redone")
                    await there.end(seq, telling)
            assert afar.names == ["kept", "redone", "end"]
            assert [told.event for told in watcher.had[lost:]] == ["redone", "end"]
            assert len({*watcher.numbers}) == len(watcher.numbers)
            assert await there.rows(seq) == afar.had

    bench.run(kill())


def test_nothing_is_written_of_somebody_elses_work(bench: Bench, state_url: str) -> None:
    """And what others have said in the same commit is."""

    async def lose() -> None:
        async with processes(state_url) as (here,):
            mine, other = await here.make(), await here.make()
            job = await here.job()
            async with here.database.write() as connection:
                await here.queue.finish(connection, job)
            async with here.events.telling(mine, 0, job) as lost, here.events.telling(other, 0, None) as kept:
                lost.say("a", b"{}")
                kept.say("b", b"{}")
                await here.events.flush()
                with pytest.raises(LeaseLost):
                    lost.say("c", b"{}")
                kept.say("d", b"{}")
            assert await here.rows(mine) == []
            assert [told.event for told in await here.rows(other)] == ["b", "d"]

    bench.run(lose())


def test_what_is_deleted_meanwhile_is_over(bench: Bench, state_url: str) -> None:
    async def delete() -> None:
        async with processes(state_url, 2) as (here, there):
            async with asyncio.TaskGroup() as group:
                seq = await here.make()
                watchers = [Watcher(here, seq), Watcher(there, seq)]
                for watcher in watchers:
                    group.create_task(watcher.watch())
                async with here.events.telling(seq, 0, None) as telling:
                    telling.say("a", b"{}")
                    for watcher in watchers:
                        await watcher.until(lambda watcher=watcher: watcher.names == ["a"])  # type: ignore[misc]
                    async with here.database.write() as connection:
                        thread = sa.select(runs.c.thread_seq).where(runs.c.seq == seq).scalar_subquery()
                        await connection.execute(sa.delete(threads).where(threads.c.seq == thread))
                    with pytest.raises(LeaseLost):
                        async with here.database.write() as connection:
                            await telling.tell(connection, ("b", b"{}"))
                    telling.say("c", b"{}")
                    await here.events.flush()
                    with pytest.raises(LeaseLost):
                        telling.say("d", b"{}")
                assert await here.tell(seq, "e") == 0
            assert await here.rows(seq) == []

    bench.run(delete())


def test_a_follower_that_is_slow_misses_nothing_and_holds_little(
    bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "_SOME", 10)

    async def follow() -> None:
        async with processes(state_url) as (here,):
            seq = await here.make()
            stream = here.events.follow(seq, -1, over(seq))
            assert await anext(stream) == []
            async with aclosing(stream):
                async with here.events.telling(seq, 0, None) as telling:
                    for number in range(100):
                        telling.say("delta", b"%d" % number)
                    (follower,) = here.events._followers._following[seq]
                    assert len(follower._heard) == 10
                    had = list(await anext(stream))
                    await here.end(seq, telling)
                async for some in stream:
                    had += some
            assert [told.number for told in had] == [*range(101)]
            assert not here.events._followers._following

    bench.run(follow())


def test_more_is_not_heard_than_numbers_are_left_out(
    bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "AHEAD", 5)

    async def away(self: Events, connection: AsyncConnection, seqs: Sequence[int]) -> set[int]:
        raise Unavailable("away")

    async def say() -> None:
        async with processes(state_url) as (here,), asyncio.TaskGroup() as group:
            seq = await here.make()
            watcher = Watcher(here, seq)
            group.create_task(watcher.watch())
            await watcher.until(lambda: watcher.pieces == 1)
            with monkeypatch.context() as patched:
                patched.setattr(Events, "_locked", away)
                async with here.events.telling(seq, 0, None) as telling:
                    for _ in range(20):
                        telling.say("delta", b"{}")
                    await watcher.until(lambda: len(watcher.had) == 5)
                    with pytest.raises(Unavailable):
                        await here.events.flush()
                    assert len(watcher.had) == 5
                    patched.undo()
                    await watcher.until(lambda: len(watcher.had) == 20)
                    await here.end(seq, telling)
        assert watcher.numbers == [*range(21)]

    bench.run(say())


def test_a_commit_of_which_nobody_knows_is_done_again(bench: Bench, state_url: str) -> None:
    async def again() -> None:
        async with processes(state_url) as (here,):
            seq = await here.make()
            told = [Told(0, "a", b"1"), Told(1, "b", b"2")]
            for events in (told[:1], told, told[:1]):
                async with here.database.write() as connection:
                    await here.events.write(connection, seq, events)
            assert await here.rows(seq) == told
            assert await here.counted(seq) == 2

    bench.run(again())


def test_whoever_tells_in_two_places_at_once_numbers_one_after_the_other(bench: Bench, state_url: str) -> None:
    async def both() -> None:
        async with processes(state_url, 2) as (here, there):
            seq = await here.make()
            await asyncio.gather(*(one.tell(seq, "a", "b") for one in (here, there) * 5))
            assert [told.number for told in await here.rows(seq)] == [*range(20)]
            assert [told.event for told in await here.rows(seq)] == ["a", "b"] * 10

    bench.run(both())


def test_followers_end_where_the_process_does_and_where_they_may_not_go_on(bench: Bench, state_url: str) -> None:
    async def end() -> None:
        async with processes(state_url, 2) as (here, there):
            seq = await here.make()
            await here.tell(seq, "a")
            allowed = True
            async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE):
                draining, forbidden = Watcher(here, seq), Watcher(there, seq, holds=lambda: allowed)
                for watcher in (draining, forbidden):
                    group.create_task(watcher.watch())
                    await watcher.until(lambda watcher=watcher: watcher.names == ["a"])  # type: ignore[misc]
                await asyncio.to_thread(here.events.drain)
                allowed = False
            late = Watcher(here, seq)
            await late.watch()
            assert draining.names == forbidden.names == late.names == ["a"]

    bench.run(end())


def test_whoever_hears_nothing_is_told_that_somebody_is_there(
    bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "QUIET_SECONDS", 0.0)

    async def follow() -> None:
        async with processes(state_url) as (here,), asyncio.TaskGroup() as group:
            seq = await here.make()
            watcher = Watcher(here, seq)
            group.create_task(watcher.watch())
            await watcher.until(lambda: watcher.pieces == 3)
            assert watcher.had == []
            await here.end(seq)

    bench.run(follow())


def test_a_database_that_is_away_for_a_moment_ends_nobody(
    bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "BREATH_SECONDS", 0.01)
    tried = 0

    async def away(connection: AsyncConnection) -> bool:
        nonlocal tried
        tried += 1
        if 1 < tried < 4:
            raise Unavailable("away")
        return tried > 4

    async def follow() -> None:
        async with processes(state_url) as (here,):
            seq = await here.make()
            stream = here.events.follow(seq, -1, away)
            assert await anext(stream) == []
            await here.tell(seq, "a")
            assert [told.event for told in await anext(stream)] == ["a"]
            await here.tell(seq, "b")
            assert [[told.event for told in some] async for some in stream] == [["b"]]

    bench.run(follow())


def test_old_events_are_swept(bench: Bench, state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_SWEPT", 2)

    async def sweep() -> None:
        async with processes(state_url) as (here,):
            seqs = []
            for made, status in [(10, "completed")] * 5 + [(10, "in_progress"), (30, "failed")]:
                async with here.database.write() as connection:
                    seqs.append(await make_run(connection, created_at=made, status=status))
                await here.tell(seqs[-1], "a")
            await here.events.sweep(runs.c.status != "in_progress", made_before=20)
            assert [len(await here.rows(seq)) for seq in seqs] == [0, 0, 0, 0, 0, 1, 1]

    bench.run(sweep())
