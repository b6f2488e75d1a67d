"""Rows of usage, written in batches, exactly once, and what they add to the hours with them."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.usage_batch import FIELDS, HOUR
from homeport.store.usage_row import UsageRow
from homeport.store.usage_sql import summed_pico, whole_pico
from homeport.store.usage_tables import hours, metadata, usage

__all__ = ["UsageRow", "UsageRows"]


class Writer(Protocol):
    async def write(self, rows: Sequence[UsageRow]) -> None: ...

    async def close(self) -> None: ...


class UsageRows:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = _writer(database)

    async def create(self) -> None:
        """The tables that are missing, where no migration makes them."""
        async with self._database.write() as connection:
            await connection.run_sync(metadata.create_all)

    async def close(self) -> None:
        """The database stays open."""
        await self._writer.close()

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """One transaction. A row that is there already is skipped, and counted nowhere again. Raises Unavailable."""
        if rows:
            await self._writer.write(rows)

    async def find(self, request_id: str) -> UsageRow | None:
        wanted = sa.select(*(usage.c[name] for name in FIELDS)).where(usage.c.request_id == request_id)
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else msgspec.convert(list(row), UsageRow)

    async def spent(
        self, since: float | None = None, *, project_id: str | None = None, key_id: str | None = None
    ) -> int:
        """Picodollars of the requests that began at `since` or later (None: ever): of all, of a project, of a key."""
        first = 0 if since is None else -int(-since // HOUR) * HOUR
        wanted = [_spent(hours, [hours.c.hour >= first], project_id, key_id)]
        if since is not None and since < first:
            part = [usage.c.started_at >= since, usage.c.started_at < first]
            wanted.append(_spent(usage, part, project_id, key_id))
        async with self._database.read() as connection:
            return sum([whole_pico(*(await connection.execute(one)).one()) for one in wanted])

    async def first_paid_at(self) -> int | None:
        """The hour in which the first request that cost something began; None while there is none."""
        wanted = sa.select(hours.c.hour).where(hours.c.cost_pico > 0).order_by(hours.c.hour).limit(1)
        async with self._database.read() as connection:
            found: int | None = await connection.scalar(wanted)
        return found


def _writer(database: Database) -> Writer:
    """What it needs is loaded for the one that is there."""
    if database.file is not None:
        from homeport.store.usage_file import UsageFile

        return UsageFile(database.file)
    from homeport.store.usage_postgresql import UsagePostgreSQL

    return UsagePostgreSQL(database)


def _spent(table: sa.Table, when: list[sa.ColumnElement[bool]], project_id: str | None, key_id: str | None) -> Any:
    whose = {"project_id": project_id, "key_id": key_id}
    chosen = [table.c[name] == value for name, value in whose.items() if value is not None]
    return sa.select(*summed_pico(table.c.cost_pico)).where(*when, *chosen)
