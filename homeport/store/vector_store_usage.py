"""How much the vector stores of projects have, by the hour: looked at now and then, and told by bucket.

A look replaces the one before in the same hour. Who has nothing has no row, but for one of 0 bytes in the first hour in
which that was seen: so the newest row of a span of time is what a project had at its end.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.store.database import Database
from homeport.store.tables import vector_store_files, vector_store_usage, vector_stores
from homeport.store.usage_batch import HOUR
from homeport.store.usage_sql import bucket
from homeport.store.usage_sums import Only, Span, Sum

#: Hours that are older are forgotten: 13 months, so that a month can be compared with that of the year before.
KEPT_SECONDS = 400 * 86_400

_usage = vector_store_usage.c


class VectorStoreUsage:
    def __init__(self, database: Database) -> None:
        """database: of the state."""
        self._database = database

    async def look(self) -> None:
        """What everybody has now is what they have in this hour. Raises Unavailable."""
        now = int(clock.now())
        async with self._database.read() as connection:  # it takes a while where there are many files
            held = await _held(connection, now)
        async with self._database.write() as connection:
            gone = await _newest(connection) - held.keys()
            rows = [
                {"hour": now - now % HOUR, "project_id": project, "bytes": size}
                for project, size in sorted({**held, **dict.fromkeys(gone, 0)}.items())
            ]
            if rows:
                await connection.execute(self._upsert(), rows)
            await connection.execute(sa.delete(vector_store_usage).where(_usage.hour < now - KEPT_SECONDS))

    def _upsert(self) -> Any:
        insert: Any = (sqlite if self._database.sqlite else postgresql).insert(vector_store_usage)
        return insert.on_conflict_do_update(
            index_elements=["hour", "project_id"], set_={"bytes": insert.excluded.bytes}
        )

    async def used(self, span: Span, *, group_by: Sequence[str] = (), only: Only | None = None) -> list[Sum]:
        """Amounts: `bytes`, of each bucket those of the newest hour that it has a part in, together or by `project_id`.

        A bucket that had nothing at its end has no sum. Raises Unavailable.
        """
        width = max(span.width, HOUR)
        start = bucket(_usage.hour, width)
        chosen = [_usage.hour >= span.start - span.start % HOUR, _usage.hour < span.end]
        chosen += [_usage[name].in_(values) for name, values in (only or {}).items()]
        keys = (_usage.project_id, start)
        last = sa.select(_usage.project_id, sa.func.max(_usage.hour).label("hour")).where(*chosen).group_by(*keys)
        newest = last.subquery()
        rows = vector_store_usage.join(
            newest, sa.and_(_usage.project_id == newest.c.project_id, _usage.hour == newest.c.hour)
        )
        groups = [start, *(_usage[name] for name in group_by)]
        query = sa.select(*groups, sa.func.sum(_usage.bytes)).select_from(rows).where(_usage.bytes > 0)
        async with self._database.read() as connection:
            found = (await connection.execute(query.group_by(*groups))).all()
        sums = [Sum(begin, tuple(group), {"bytes": int(size)}) for begin, *group, size in found]
        return sums if width == span.width else [one for each in sums for one in _parts(each, span)]


async def _held(connection: AsyncConnection, now: int) -> dict[str, int]:
    """Project -> bytes, of those that have any."""
    stores, files = vector_stores.c, vector_store_files.c
    size = sa.func.sum(files.usage_bytes)
    query = (
        sa.select(stores.project_id, size)
        .join(vector_store_files, files.store_seq == stores.seq)
        .where(
            stores.deleted_at.is_(None),
            sa.or_(stores.expires_at.is_(None), stores.expires_at > now),
            files.status == "completed",
        )
        .group_by(stores.project_id)
        .having(size > 0)
    )
    return {project: int(total) for project, total in await connection.execute(query)}


async def _newest(connection: AsyncConnection) -> set[str]:
    """Who had something at the last look."""
    last = sa.select(sa.func.max(_usage.hour)).scalar_subquery()
    query = sa.select(_usage.project_id).where(_usage.hour == last, _usage.bytes > 0)
    return set((await connection.execute(query)).scalars())


def _parts(hour: Sum, span: Span) -> list[Sum]:
    """An hour's in each of its buckets that are in the span."""
    starts = range(hour.start, hour.start + HOUR, span.width)
    return [hour._replace(start=at) for at in starts if span.start < at + span.width and at < span.end]
