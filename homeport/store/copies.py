"""Rows of a database as bytes that either kind of database can be made from again.

A table is copied as it is there, not as this Homeport would make it: so a database of any form can be copied, and what
was copied goes into tables of the same form, which are then brought up to date as any others are.

A part is an array of rows (msgpack), each an array of values in the order of the columns. JSON is its text.
"""

import json
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store import tables, usage_tables
from homeport.store.archive import Copy
from homeport.store.blobs import unwanted

#: Bytes of a part, about, and rows that are read or written at once.
PART = 4 * 2**20
_ROWS = 1000

#: Tables of each history, whatever their form.
NAMES: Mapping[str, Collection[str]] = {
    "state": tables.metadata.tables.keys(),
    "usage": usage_tables.metadata.tables.keys(),
}
#: What is of this moment and of nobody's use later.
_LEFT_OUT = ("backups",)


class Part(NamedTuple):
    data: bytes
    rows: int


async def there(connection: AsyncConnection, history: str) -> sa.MetaData:
    """The tables of a history, as they are in that database."""

    def reflect(inner: sa.Connection) -> sa.MetaData:
        found = sa.MetaData()
        here = {*sa.inspect(inner).get_table_names()} & {*NAMES[history]}
        found.reflect(inner, only=sorted(here))
        return found

    metadata = await connection.run_sync(reflect)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.JSON):
                column.type = sa.JSON(none_as_null=True)
    return metadata


def copied(metadata: sa.MetaData) -> Sequence[sa.Table]:
    """Those to be copied: whoever is referred to comes before who refers."""
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


async def parts(connection: AsyncConnection, table: sa.Table) -> AsyncGenerator[Part, None]:
    """All rows of a table, but of `blobs` only those that somebody refers to."""
    columns = [sa.cast(one, sa.Text) if isinstance(one.type, sa.JSON) else one for one in table.columns]
    query = sa.select(*columns).order_by(*table.primary_key.columns)
    if table.name == "blobs":
        query = query.where(~unwanted(table.metadata))
    waiting: list[msgspec.Raw] = []
    size = 0
    async with connection.stream(query) as result:
        async for some in result.partitions(_ROWS):
            for row in some:
                waiting.append(msgspec.Raw(msgspec.msgpack.encode(tuple(row))))
                size += len(waiting[-1])
            if size >= PART:
                yield Part(msgspec.msgpack.encode(waiting), len(waiting))
                waiting, size = [], 0
    if waiting:
        yield Part(msgspec.msgpack.encode(waiting), len(waiting))


async def wanted_blobs(connection: AsyncConnection, metadata: sa.MetaData) -> Mapping[str, int]:
    """Digest -> bytes, of all that somebody refers to."""
    blobs = metadata.tables.get("blobs")
    if blobs is None:
        return {}
    query = sa.select(blobs.c.digest, blobs.c.bytes).where(~unwanted(metadata)).order_by(blobs.c.digest)
    return {row.digest: row.bytes for row in await connection.execute(query)}


async def sequence(connection: AsyncConnection, table: sa.Table) -> int | None:
    """The largest number that it has ever given to a row, where it gives any."""
    if connection.dialect.name == "sqlite":
        if not await _exists(connection, "sqlite_sequence"):
            return None
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return (await connection.execute(query, {"name": table.name})).scalar()
    owned = await _serial(connection, table)
    if owned is None:
        return None
    given = (await connection.execute(sa.text(f"SELECT last_value, is_called FROM {owned}"))).one()  # noqa: S608
    return int(given.last_value) if given.is_called else None


async def clear(connection: AsyncConnection, metadata: sa.MetaData) -> None:
    """All rows go: those that the migrations made, too."""
    for table in reversed(metadata.sorted_tables):
        await connection.execute(sa.delete(table))


async def load(connection: AsyncConnection, table: sa.Table, copy: Copy, data: Iterable[bytes]) -> None:
    """data: its parts."""
    as_json = [isinstance(table.c[name].type, sa.JSON) for name in copy.columns]
    for part in data:
        rows: list[list[Any]] = msgspec.msgpack.decode(part, type=list[list[Any]])
        for at in range(0, len(rows), _ROWS):
            values = [
                {
                    name: json.loads(value) if is_json and value is not None else value
                    for name, value, is_json in zip(copy.columns, row, as_json, strict=True)
                }
                for row in rows[at : at + _ROWS]
            ]
            await connection.execute(sa.insert(table), values)
    await _number(connection, table, copy.sequence)


async def _number(connection: AsyncConnection, table: sa.Table, given: int | None) -> None:
    """The next row gets a number that none had before."""
    if "seq" not in table.c:
        return
    largest = (await connection.execute(sa.select(sa.func.max(table.c.seq)))).scalar()
    last = max(given or 0, largest or 0)
    if not last:
        return
    if connection.dialect.name == "sqlite":
        if await _exists(connection, "sqlite_sequence"):
            await connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            put = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
            await connection.execute(put, {"name": table.name, "last": last})
        return
    if (owned := await _serial(connection, table)) is not None:
        await connection.execute(sa.select(sa.func.setval(owned, last)))


async def _serial(connection: AsyncConnection, table: sa.Table) -> str | None:
    """PostgreSQL: what numbers the rows."""
    if "seq" not in table.c:
        return None
    query = sa.select(sa.func.pg_get_serial_sequence(table.name, "seq"))
    found: str | None = (await connection.execute(query)).scalar()
    return found


async def _exists(connection: AsyncConnection, table: str) -> bool:
    query = sa.text("SELECT 1 FROM sqlite_master WHERE name = :name")
    return (await connection.execute(query, {"name": table})).first() is not None
