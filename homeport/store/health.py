"""Whether what is stored belongs together: rows and their bytes, jobs and whoever works on them. Nothing is changed."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import ContentMissing
from homeport.store import migrations
from homeport.store.blobs import Blobs, unwanted
from homeport.store.staged import OLD
from homeport.store.tables import batches, blobs, files, fine_tuning_jobs, jobs

#: Seconds after the end of a lease by which somebody would have taken the job.
_PATIENCE = 600.0
_ENDED = ("completed", "failed", "expired", "cancelled")
_RESTING = ("succeeded", "failed", "cancelled", "paused")


class Health(NamedTuple):
    """where: the contents (`blobs` of them) are. missing, damaged: files (their ids; the digest where it is no file's)
    whose bytes are not there, or are others. orphans: contents without a row. stale_jobs: nobody has taken them for
    long. idle_batches: without a job, and not ended."""

    where: str
    blobs: int
    missing: Sequence[str]
    damaged: Sequence[str]
    orphans: int
    stale_jobs: int
    idle_batches: Sequence[str]
    idle_tunings: Sequence[str]


async def look(kept: Blobs, *, deep: bool) -> Health | None:
    """deep: all bytes are read. None: the database is of another form. Raises Unavailable."""
    async with kept.database.read() as connection:
        if await migrations.form(connection, "state") != migrations.HEADS["state"]:
            return None
        wanted = await _wanted(connection)
        known = {*(await connection.execute(sa.select(blobs.c.digest))).scalars()}
        stale = sa.select(sa.func.count()).where(jobs.c.status == "running", jobs.c.run_at < clock.now() - _PATIENCE)
        stale_jobs = (await connection.execute(stale)).scalar_one()
        idle_batches = await _idle(connection, batches, _ENDED)
        idle_tunings = await _idle(connection, fine_tuning_jobs, _RESTING)
    there: set[str] = set()
    orphans = 0
    async with aclosing(kept.bucket.digests()) as found:
        async for digest, since in found:
            there.add(digest)
            orphans += digest not in known and since < clock.now() - OLD
    return Health(
        where=str(kept.bucket),
        blobs=len(wanted),
        missing=[whose for digest, whose in wanted.items() if digest not in there],
        damaged=[whose async for whose in _damaged(kept, wanted)] if deep else [],
        orphans=orphans,
        stale_jobs=stale_jobs,
        idle_batches=idle_batches,
        idle_tunings=idle_tunings,
    )


async def _idle(connection: AsyncConnection, table: sa.Table, resting: Sequence[str]) -> Sequence[str]:
    """Of what is in no state in which it rests, and has no job: the ids."""
    worked_on = sa.exists().where(jobs.c.subject == table.c.id)
    idle = sa.select(table.c.id).where(table.c.status.not_in(resting), ~worked_on).order_by(table.c.seq)
    return (await connection.execute(idle)).scalars().all()


async def _wanted(connection: AsyncConnection) -> dict[str, str]:
    """Digest -> the file's id, of all contents that something refers to."""
    file = sa.func.coalesce(sa.func.min(files.c.id), blobs.c.digest).label("whose")
    query = sa.select(blobs.c.digest, file).outerjoin(files, files.c.digest == blobs.c.digest)
    query = query.where(~unwanted()).group_by(blobs.c.digest).order_by(blobs.c.digest)
    return {row.digest: row.whose for row in await connection.execute(query)}


async def _damaged(kept: Blobs, wanted: dict[str, str]) -> AsyncIterator[str]:
    for digest, whose in wanted.items():
        sha256 = hashlib.sha256()
        try:
            async with aclosing(kept.read(digest)) as pieces:
                async for piece in pieces:
                    sha256.update(piece)
        except ContentMissing:
            continue
        if sha256.hexdigest() != digest:
            yield whose
