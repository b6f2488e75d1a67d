"""What runs and responses tell of themselves: a log of events each, numbered from 0, for whoever follows.

    told in a transaction (`Events.tell`, `Telling.tell`) --- commit ---> rows ----> followers
    said (`Telling.say`) ---------------------------------------------------------> followers of this process
                         --- within FLUSH_SECONDS, those of all in one commit ---> rows ----> followers elsewhere

What says that rows have changed is told with them, and heard once they are committed. What is only said (a token) is
heard at once and costs no commit: one transaction writes what all who work in this process have said meanwhile, fenced
by their jobs.

No number is given twice. Whoever works on something is the only one who numbers its events; when it is killed, or its
commit fails, others may have heard AHEAD events at most that are in no row, and whoever goes on leaves out as many.
So numbers rise, and need not be without gaps.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import Unavailable
from homeport.store.database import unbroken
from homeport.store.followers import Followers, Over, Told
from homeport.store.queue import Job, LeaseLost, Queue

#: From one commit of what was said to the next; more where commits take long: they are half of the time at most.
FLUSH_SECONDS = 0.05
#: Events that may be heard before they are written. More are heard when they are.
AHEAD = 1000
#: Runs whose events are removed in one transaction.
_SWEPT = 20

#: An event's name, and its data: JSON, as it is sent.
Named = tuple[str, bytes]


class Events:
    """events: their table. of: that of what they are about.

    Locks are taken in the order thread, run or response, job: by everybody. The row of the run or response counts its
    events, so whoever changes that in the same transaction has its thread first (run_states.py, response_states.py).
    """

    def __init__(self, queue: Queue, events: sa.Table, of: sa.Table) -> None:
        self._queue = queue
        self._database = queue.database
        self._events = events
        self._of = of
        (self._seq,) = (column for column in events.columns if column.name.endswith("_seq"))
        insert = (sqlite if self._database.sqlite else postgresql).insert(events)
        self._insert = insert.on_conflict_do_nothing()  # a commit of which nobody knows whether it went well
        self._followers = Followers(self._database, events, self._seq, of)
        self._tellings: set[Telling] = set()
        self._turn = asyncio.Lock()
        self._said = asyncio.Event()

    async def run(self) -> None:
        """Writes what is said here, and looks for what is said elsewhere, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_said())
            group.create_task(self._followers.look(lambda: {telling.seq for telling in self._tellings}))

    def drain(self) -> None:
        """Whoever follows is let go, to come again elsewhere. From any thread."""
        self._followers.drain()

    async def tell(self, connection: AsyncConnection, seq: int, events: Sequence[Named]) -> int:
        """In the caller's transaction, of something that nobody works on. The number of the first. After the commit
        call told()."""
        counted = sa.update(self._of).where(self._of.c.seq == seq).values(events=self._of.c.events + len(events))
        after: int | None = await connection.scalar(counted.returning(self._of.c.events))
        if after is None:  # it is gone
            return 0
        first = after - len(events)
        await self._add(connection, {seq: [Told(first + at, *event) for at, event in enumerate(events)]})
        return first

    def told(self, seq: int) -> None:
        """There are rows to be read."""
        self._followers.wake(seq)

    def follow(
        self, seq: int, after: int, over: Over, *, holds: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[Sequence[Told], None]:
        """Those after a number (-1: all), in their order, some at once, until there will be none; the first thing at
        once. Nothing at all: nothing was heard for long. It ends also where the process does, or `holds` says no.

        over: whether there will be no more, as the rows have it that the events are read with.
        Raises Unavailable only before the first.
        """
        return self._followers.follow(seq, after, over, holds)

    @asynccontextmanager
    async def telling(
        self, seq: int, first: int, job: Job | None, *, again: bool = False
    ) -> AsyncGenerator["Telling", None]:
        """Of who works on it. first: what its row counts. job: that it is done for, whose lease fences what is written;
        None: nobody else can have it. again: somebody has begun with it before, and was killed, or stopped."""
        telling = Telling(self, seq, first + AHEAD if again else first, job)
        self._tellings.add(telling)
        try:
            yield telling
        finally:
            try:
                if telling.unwritten:
                    with suppress(Unavailable):
                        await unbroken(self.flush())
            finally:
                self._tellings.discard(telling)
                self.told(seq)

    async def sweep(self, ended: sa.ColumnElement[bool], made_before: int) -> None:
        """The events go of what has ended and was made before a time. Raises Unavailable."""
        of = self._of
        oldest = sa.select(sa.func.min(self._seq)).scalar_subquery()
        told = sa.exists().where(self._seq == of.c.seq)
        query = sa.select(of.c.seq).where(of.c.seq >= oldest, of.c.created_at < made_before, ended, told)
        while True:
            async with self._database.write() as connection:
                some = (
                    query.order_by(of.c.seq).limit(_SWEPT).with_for_update(read=True, key_share=True, skip_locked=True)
                )
                seqs = [*await connection.scalars(some)]
                if not seqs:
                    return
                await connection.execute(sa.delete(self._events).where(self._seq.in_(seqs)))

    def said(self, seq: int, told: Told, *, heard: bool) -> None:
        if heard:
            self._followers.hear(seq, told)
        self._said.set()

    def committed(self, seq: int, events: Sequence[Told]) -> None:
        for told in events:
            self._followers.hear(seq, told)

    async def flush(self) -> None:
        """What was said so far is written, but for what those have said who have lost their job meanwhile.

        Raises Unavailable.
        """
        async with self._turn:
            said = {telling: [*telling.unwritten] for telling in self._tellings if telling.unwritten}
            if not said:
                return
            async with self._database.write() as connection:
                there = await self._locked(connection, {telling.seq for telling in said})
                held = await self._queue.held(connection, [one.job for one in said if one.job is not None])
                lost = {one for one in said if one.seq not in there or (one.job and one.job.claim not in held)}
                kept = {one.seq: events for one, events in said.items() if one not in lost}
                await self._count(connection, kept)
                await self._add(connection, kept)
        for telling, events in said.items():
            telling.written(events[-1].number, lost=telling in lost)
            self._followers.written(telling.seq, events[-1].number)

    async def _write_said(self) -> None:
        while True:
            await self._said.wait()
            self._said.clear()
            began = clock.monotonic()
            try:
                await unbroken(self.flush())
            except Unavailable:  # later, then: nothing is lost yet
                self._said.set()
            await clock.sleep(max(FLUSH_SECONDS, clock.monotonic() - began))

    async def write(self, connection: AsyncConnection, seq: int, events: Sequence[Told]) -> None:
        """With numbers that they have already. Raises LeaseLost: what they are about is gone."""
        if not await self._locked(connection, [seq]):
            raise LeaseLost
        await self._count(connection, {seq: events})
        await self._add(connection, {seq: events})

    async def _locked(self, connection: AsyncConnection, seqs: Collection[int]) -> set[int]:
        """Those that are there, and will be until the transaction ends."""
        rows = sa.select(self._of.c.seq).where(self._of.c.seq.in_(seqs)).order_by(self._of.c.seq)
        return {*await connection.scalars(rows.with_for_update(key_share=True))}

    async def _count(self, connection: AsyncConnection, said: Mapping[int, Sequence[Told]]) -> None:
        """What another transaction has counted further stays."""
        counts = [{"its_seq": seq, "after": events[-1].number + 1} for seq, events in said.items() if events]
        if counts:
            its: sa.BindParameter[int] = sa.bindparam("its_seq")
            after: sa.BindParameter[int] = sa.bindparam("after")
            counted = sa.update(self._of).where(self._of.c.seq == its, self._of.c.events < after).values(events=after)
            await connection.execute(counted, counts)

    async def _add(self, connection: AsyncConnection, said: Mapping[int, Sequence[Told]]) -> None:
        rows: list[dict[str, Any]] = [
            {self._seq.name: seq, **told._asdict()} for seq, events in said.items() for told in events
        ]
        if rows:
            await connection.execute(self._insert, rows)


class Telling:
    """Of one who works on something, within its `with` block. One thing after the other."""

    def __init__(self, events: Events, seq: int, first: int, job: Job | None) -> None:
        self._events = events
        self.seq = seq
        self.job = job
        #: Of what is told next.
        self.number = first
        #: Said, and in no row yet.
        self.unwritten: list[Told] = []
        self._told: list[Told] = []
        self._lost = False

    def say(self, event: str, data: bytes) -> None:
        """Heard at once. Raises LeaseLost."""
        if self._lost:
            raise LeaseLost
        told = self._next(event, data)
        self.unwritten.append(told)
        self._events.said(self.seq, told, heard=len(self.unwritten) <= AHEAD)

    async def tell(self, connection: AsyncConnection, *events: Named) -> None:
        """In the caller's transaction: what was said, and these. It is committed, or the work is over. After the commit
        call told(). Raises LeaseLost: what they are about is gone; whether the job is still theirs the caller asks."""
        self._told = [self._next(*event) for event in events]
        unwritten, self.unwritten = self.unwritten, []
        await self._events.write(connection, self.seq, [*unwritten, *self._told])

    def told(self) -> None:
        """What the last transaction told is heard."""
        told, self._told = self._told, []
        self._events.committed(self.seq, told)

    def written(self, last: int, *, lost: bool) -> None:
        """Up to a number; or the work is somebody else's."""
        self._lost = self._lost or lost
        self.unwritten = [] if lost else [one for one in self.unwritten if one.number > last]

    def _next(self, event: str, data: bytes) -> Told:
        told = Told(self.number, event, data)
        self.number += 1
        return told
