"""The durable queue: work that outlives a request is a row of `jobs`, in the transaction that promised it.

             enqueue               claim: fence + 1, attempt + 1
    nothing ---------> queued --------------------------------> running --- finish ---> nothing
                        | ^                                      |  |^
              cancel    | +--------------- later ----------------+  ++ its lease ends: the next claim takes it over
    nothing <-----------+

A worker has a job for the time of a lease, which its heartbeat renews, and every claim raises `fence`. All later writes
of a worker carry the fence that it got (`hold`, `finish`, `later`), in the transaction that holds its results: if the
job is somebody else's by then, LeaseLost takes that transaction back. So what is committed is committed once, and only
what ran since the last commit may run again.

Times are the database's: of PostgreSQL's server, or of the one machine that all who use a SQLite file share.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.errors import Unavailable
from homeport.store.database import Database
from homeport.store.tables import jobs as table

QUEUED, RUNNING = "queued", "running"
#: On which PostgreSQL tells all processes that there is something to do.
CHANNEL = "homeport_jobs"
#: Until it is tried again to listen to it.
_AGAIN_SECONDS = 5.0

Checkpoint = dict[str, Any]


class Claim(NamedTuple):
    """What a worker has of a job: no other claim, of this job or another, is equal."""

    seq: int
    fence: int


class Job(NamedTuple):
    """One that was claimed, as it was then. subject: the id of what it is about.

    attempt: how often it was claimed since it was new, or had last come further. checkpoint: how far it has come, as
    its handler wrote it. last_error: why it failed last; None: it has not, but those who had it may have been killed.
    """

    seq: int
    id: str
    lane: str
    kind: str
    subject: str
    fence: int
    attempt: int
    cancel_requested: bool
    checkpoint: Checkpoint | None
    last_error: str | None = None

    @property
    def claim(self) -> Claim:
        return Claim(self.seq, self.fence)


_JOB = [table.c[name] for name in Job._fields]
_FINISHED = sa.delete(table).where(
    table.c.seq == sa.bindparam("its_seq"), table.c.fence == sa.bindparam("its_fence"), table.c.status == RUNNING
)


class LeaseLost(Exception):
    """Somebody else has the job, or it has ended: stop, and write nothing."""


class Beat(NamedTuple):
    """What has become of claims. lost: the job was claimed anew. cancelled: it is to end, or has ended."""

    lost: frozenset[Claim]
    cancelled: frozenset[Claim]


class Depth(NamedTuple):
    """How full a lane is. oldest: seconds since the one that waits longest was due."""

    queued: int
    running: int
    oldest: float


class Queue:
    """Methods that take a connection belong to the caller's transaction (`Database.write`), which should be short: it
    has the job's row until it ends. All raise Unavailable while the database is away."""

    def __init__(self, database: Database, *, lease_seconds: float = 30.0) -> None:
        self.database = database
        self.lease_seconds = lease_seconds
        self._told = asyncio.Event()
        self._claims: dict[tuple[str, ...], sa.UpdateBase] = {}

    def another(self) -> "Queue":
        """The same queue, for another event loop, which closes its database."""
        return Queue(self.database.another(), lease_seconds=self.lease_seconds)

    async def enqueue(
        self,
        connection: AsyncConnection,
        lane: str,
        kind: str,
        subject: str,
        *,
        checkpoint: Checkpoint | None = None,
        run_in: float = 0.0,
        priority: int = 0,
        only: bool = False,
    ) -> str:
        """The id of the new job. After the commit call told(), so that it begins at once.

        run_in: seconds until it is due. priority: the lowest goes first. only: where there is one of this kind and
        subject already that was enqueued so, nothing happens.
        """
        made = f"{kind}/{subject}" if only else ids.job()
        row = {
            "id": made,
            "lane": lane,
            "kind": kind,
            "subject": subject,
            "status": QUEUED,
            "priority": priority,
            "run_at": self._now() + run_in,
            "fence": 0,
            "attempt": 0,
            "cancel_requested": False,
            "checkpoint": checkpoint,
        }
        insert = (sqlite if self.database.sqlite else postgresql).insert(table).values(row)
        await connection.execute(insert.on_conflict_do_nothing(index_elements=["id"]) if only else insert)
        if not self.database.sqlite and run_in <= 0:
            await self._notify(connection)
        return made

    async def enqueue_parts(
        self,
        connection: AsyncConnection,
        lane: str,
        kind: str,
        subject: str,
        checkpoints: Sequence[Checkpoint],
        *,
        priority: int = 0,
    ) -> None:
        """A job for each part of a subject, as enqueue(). priority: of the first; every further one goes a step behind,
        so that the parts of several subjects take turns."""
        await self._enqueue_all(
            connection,
            lane,
            kind,
            [
                {"subject": subject, "checkpoint": checkpoint, "priority": priority + place}
                for place, checkpoint in enumerate(checkpoints)
            ],
        )

    async def enqueue_each(self, connection: AsyncConnection, lane: str, kind: str, subjects: Sequence[str]) -> None:
        """A job for each subject, as enqueue(). Every further one goes a step behind, so that several such lists take
        turns."""
        await self._enqueue_all(
            connection,
            lane,
            kind,
            [{"subject": subject, "checkpoint": None, "priority": place} for place, subject in enumerate(subjects)],
        )

    async def _enqueue_all(
        self, connection: AsyncConnection, lane: str, kind: str, each: Sequence[Mapping[str, Any]]
    ) -> None:
        of_all = {
            "lane": lane,
            "kind": kind,
            "status": QUEUED,
            "run_at": self._now(),
            "fence": 0,
            "attempt": 0,
            "cancel_requested": False,
        }
        if each:
            rows = [{"id": ids.job(), **one} for one in each]
            await connection.execute(sa.insert(table).values(of_all), rows)
            if not self.database.sqlite:
                await self._notify(connection)

    async def claim(self, wanted: Mapping[str, int], owner: str) -> list[Job]:
        """Jobs that are due, in their order, each of which nobody else gets for the time of a lease.

        wanted: kind -> how many at most. owner: who works, for the operator to read.
        """
        kinds = tuple(sorted(wanted))
        if not kinds:
            return []
        if kinds not in self._claims:
            self._claims[kinds] = self._claiming(kinds)
        given: dict[str, Any] = {f"most_{number}": wanted[kind] for number, kind in enumerate(kinds)}
        if self.database.sqlite:
            given["now"] = clock.now()
        async with self.database.write() as connection:
            rows = (await connection.execute(self._claims[kinds], {"worker": owner, **given})).all()
        return [Job(*row[1:]) for row in sorted(rows, key=lambda row: (row.priority, row.seq))]

    def _claiming(self, kinds: Sequence[str]) -> sa.UpdateBase:
        """Made once: it takes longer to make than to run, and a worker claims after every job that ends."""
        now = sa.bindparam("now", type_=sa.Double) if self.database.sqlite else self._now()
        due = [self._due(kind, number, now) for number, kind in enumerate(kinds)]
        return (
            sa.update(table)
            .where(table.c.seq.in_(sa.union_all(*(sa.select(one.c.seq) for one in due))))
            .values(
                status=RUNNING,
                owner=sa.bindparam("worker"),
                run_at=now + self.lease_seconds,
                fence=table.c.fence + 1,
                attempt=table.c.attempt + 1,
            )
            .returning(table.c.priority, *_JOB)
        )

    def _due(self, kind: str, number: int, now: sa.ColumnElement[float]) -> sa.CTE:
        """Materialized, or PostgreSQL's planner is free to ask for that many rows more than once."""
        return (
            sa.select(table.c.seq)
            .where(table.c.kind == kind, table.c.run_at <= now)
            .order_by(table.c.priority, table.c.run_at, table.c.seq)
            .limit(sa.bindparam(f"most_{number}", type_=sa.Integer))
            .with_for_update(skip_locked=True)
            .cte(f"due_{number}")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )

    async def beat(self, jobs: Iterable[Job]) -> Beat:
        """Renew their leases, and tell what has become of them."""
        claims = [job.claim for job in jobs]
        renewed = self._locked(sa.and_(sa.tuple_(table.c.seq, table.c.fence).in_(claims), table.c.status == RUNNING))
        async with self.database.write() as connection:
            until = self._now() + self.lease_seconds
            await connection.execute(sa.update(table).where(table.c.seq.in_(renewed)).values(run_at=until))
            return await _seen(connection, claims)

    async def look(self, jobs: Iterable[Job]) -> Beat:
        """What has become of them, without renewing anything."""
        async with self.database.read() as connection:
            return await _seen(connection, [job.claim for job in jobs])

    async def holds(self, job: Job) -> bool:
        """Whether the job has neither ended nor gone to somebody else."""
        async with self.database.read() as connection:
            return await connection.scalar(sa.select(table.c.seq).where(*_mine(job))) is not None

    async def held(self, connection: AsyncConnection, jobs: Iterable[Job]) -> frozenset[Claim]:
        """Those that are neither ended nor somebody else's, until the caller's transaction ends."""
        claims = [job.claim for job in jobs]
        if not claims:
            return frozenset()
        theirs = sa.and_(sa.tuple_(table.c.seq, table.c.fence).in_(claims), table.c.status == RUNNING)
        found = {*await connection.scalars(self._locked(theirs))}
        return frozenset(claim for claim in claims if claim.seq in found)

    async def hold(
        self, connection: AsyncConnection, job: Job, *, checkpoint: Checkpoint | UnsetType | None = UNSET
    ) -> int:
        """The caller's transaction is committed while the job is still theirs, or not at all. Returns its attempt.

        checkpoint: how far it has come with this transaction. One that differs from `job.checkpoint` says that it has
        come further, and then its attempts are counted anew. Raises LeaseLost.
        """
        values: dict[str, Any] = {"run_at": self._now() + self.lease_seconds}
        if checkpoint is not UNSET:
            values["checkpoint"] = checkpoint
            if checkpoint != job.checkpoint:
                values["attempt"] = 1
        held = sa.update(table).where(*_mine(job)).values(values).returning(table.c.attempt)
        attempt: int | None = await connection.scalar(held)
        if attempt is None:
            raise LeaseLost
        return attempt

    async def finish(self, connection: AsyncConnection, job: Job) -> None:
        """It has ended, with this transaction. Raises LeaseLost."""
        if not (await connection.execute(_FINISHED, {"its_seq": job.seq, "its_fence": job.fence})).rowcount:
            raise LeaseLost

    async def later(
        self,
        connection: AsyncConnection,
        job: Job,
        *,
        run_in: float,
        error: str = "",
        checkpoint: Checkpoint | UnsetType | None = UNSET,
    ) -> None:
        """Back to the queue, due in so many seconds. error: why it failed; without one this was no attempt.

        Raises LeaseLost.
        """
        values: dict[str, Any] = {"status": QUEUED, "owner": None, "run_at": self._now() + run_in}
        if error:
            values["last_error"] = error
        else:
            values["attempt"] = table.c.attempt - 1
        if checkpoint is not UNSET:
            values["checkpoint"] = checkpoint
        if not (await connection.execute(sa.update(table).where(*_mine(job)).values(values))).rowcount:
            raise LeaseLost
        if not self.database.sqlite and run_in <= 0:
            await self._notify(connection)

    async def cancel(self, connection: AsyncConnection, subject: str, kind: str | None = None) -> None:
        """The jobs of a subject, or those of one kind: queued ones are gone; who runs one is told within seconds, and
        ends it."""
        of = [table.c.subject == subject, *([table.c.kind == kind] if kind is not None else [])]
        theirs = self._locked(sa.and_(*of))
        await connection.execute(sa.delete(table).where(table.c.seq.in_(theirs), table.c.status == QUEUED))
        await connection.execute(sa.update(table).where(*of).values(cancel_requested=True))

    async def left(self, connection: AsyncConnection, subject: str, kind: str) -> int:
        """How many jobs of a kind a subject has, queued or running."""
        of = table.c.subject == subject, table.c.kind == kind
        return await connection.scalar(sa.select(sa.func.count()).where(*of)) or 0

    async def withdraw(self, connection: AsyncConnection, subject: str, kind: str) -> None:
        """They are gone. Whoever runs one has lost it: nothing that they could still write counts."""
        theirs = self._locked(sa.and_(table.c.subject == subject, table.c.kind == kind))
        await connection.execute(sa.delete(table).where(table.c.seq.in_(theirs)))

    def _locked(self, which: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
        """Of several rows, taken in one order by everybody: who waits for whom is then no circle."""
        return sa.select(table.c.seq).where(which).order_by(table.c.seq).with_for_update()

    async def depths(self) -> dict[str, Depth]:
        """lane -> how full it is. Lanes without a job are left out."""
        queued = table.c.status == QUEUED
        columns = (
            table.c.lane,
            sa.func.count().filter(queued).label("queued"),
            sa.func.count().filter(sa.not_(queued)).label("running"),
            (self._now() - sa.func.min(table.c.run_at).filter(queued)).label("oldest"),
        )
        async with self.database.read() as connection:
            rows = (await connection.execute(sa.select(*columns).group_by(table.c.lane))).all()
        return {row.lane: Depth(row.queued, row.running, max(0.0, row.oldest or 0.0)) for row in rows}

    def _now(self) -> sa.ColumnElement[float]:
        """In a subquery PostgreSQL asks its clock once a statement, and may use an index for what is due."""
        if self.database.sqlite:
            return sa.literal(clock.now(), sa.Double)
        epoch = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
        return sa.select(epoch).scalar_subquery()

    async def _notify(self, connection: AsyncConnection) -> None:
        """With the commit; many in one transaction are one."""
        await connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    def told(self) -> None:
        """There may be something to do."""
        self._told.set()

    async def wait(self, seconds: float) -> None:
        """Until it is told, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
        self._told.clear()

    async def listen(self) -> None:
        """Be told what other processes of the same PostgreSQL have enqueued, until cancelled. On SQLite nobody tells:
        whoever waits looks now and then."""
        while not self.database.sqlite:
            with suppress(Unavailable):
                await self.database.listen(CHANNEL, self.told)
            self.told()  # nobody knows what was missed
            await clock.sleep(_AGAIN_SECONDS)


async def _seen(connection: AsyncConnection, claims: Collection[Claim]) -> Beat:
    columns = table.c.seq, table.c.fence, table.c.cancel_requested
    rows = await connection.execute(sa.select(*columns).where(table.c.seq.in_({claim.seq for claim in claims})))
    found = {row.seq: row for row in rows}
    lost = {claim for claim in claims if claim.seq in found and found[claim.seq].fence != claim.fence}
    ended = {claim for claim in claims if claim.seq not in found or found[claim.seq].cancel_requested}
    return Beat(frozenset(lost), frozenset(ended - lost))


def _mine(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.seq == job.seq, table.c.fence == job.fence, table.c.status == RUNNING
