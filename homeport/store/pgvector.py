"""Vectors on PostgreSQL with its extension `vector`: a table of them beside the chunks, searched store by store.

It holds nothing that is not in the chunks, and is made where the extension can be had. Whoever writes chunks writes
their vectors into it as soon as it is there (chunks.py); what was written before is added when its store is searched
for the first time.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import UserDefinedType

from homeport.store.database import Database
from homeport.store.tables import vector_store_chunks as chunks
from homeport.store.tables import vector_store_files as files

if TYPE_CHECKING:
    from homeport.store.vectors import Numbers, Ranked, Searched

log = logging.getLogger("homeport.vector_stores")

#: Chunks whose vectors are added in one transaction.
_SOME = 1000
#: Rows of the best that are looked at for every chunk that is wanted: a chunk may have several.
_ROWS_PER_CHUNK = 8
#: Only one process makes it at a time.
_LOCK = 0x686F6D65_76656300
#: Bytes of a number.
_FLOAT = 4

_MAKE = (
    """
    CREATE TABLE IF NOT EXISTS vector_store_vectors (
        chunk_seq BIGINT NOT NULL REFERENCES vector_store_chunks (seq) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        store_seq BIGINT NOT NULL,
        file_seq BIGINT NOT NULL,
        vector VECTOR NOT NULL,
        PRIMARY KEY (chunk_seq, part)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_vector_store_vectors_store_seq ON vector_store_vectors (store_seq)",
)
_vectors = sa.table("vector_store_vectors", *map(sa.column, ("chunk_seq", "file_seq")))
#: From this version on, an index is read on until enough rows pass the filters.
_ITERATIVE = (0, 8)
_INSERT = sa.text(
    "INSERT INTO vector_store_vectors (chunk_seq, part, store_seq, file_seq, vector) "
    "VALUES (:chunk, :part, :store, :file, CAST(CAST(:vector AS real[]) AS vector)) ON CONFLICT DO NOTHING"
)


class _Vector(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "vector"


async def is_there(connection: AsyncConnection) -> bool:
    return await connection.scalar(sa.text("SELECT to_regclass('vector_store_vectors')")) is not None


async def missing(database: Database) -> bool:
    """It is not on that server. Nothing is changed. Raises Unavailable."""
    async with database.read() as connection:
        known = sa.text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
        return not await connection.scalar(known) and not await is_there(connection)


async def insert(
    connection: AsyncConnection, store_seq: int, file_seq: int, chunks: Sequence[tuple[int, bytes]], *, width: int
) -> None:
    """chunks: the number of each, and its vectors as they are stored with it."""
    rows = []
    for seq, vectors in chunks:
        for part in range(len(vectors) // (_FLOAT * width)):
            numbers = memoryview(vectors)[part * _FLOAT * width : (part + 1) * _FLOAT * width].cast("f").tolist()
            rows.append({"chunk": seq, "part": part, "store": store_seq, "file": file_seq, "vector": numbers})
    await connection.execute(_INSERT, rows)


async def make(database: Database) -> bool:
    """Whether it can be had: the extension is there, or may be made. Raises Unavailable."""
    async with database.write() as connection:
        await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        try:
            async with connection.begin_nested():
                await connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
                for statement in _MAKE:
                    await connection.execute(sa.text(statement))
        except DBAPIError as error:
            log.info(
                "PostgreSQL's extension `vector` cannot be had (%s): vectors are searched in this process's memory",
                type(error.orig).__name__,
            )
            return False
    return True


class Vectors:
    """An index of vectors (`vectors.Index`): the database compares them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Stores whose vectors are all there.
        self._whole: set[int] = set()
        self._version: tuple[int, ...] = ()

    async def nearest(
        self,
        store: "Searched",
        queries: "Numbers",
        *,
        most: int,
        where: "sa.ColumnElement[bool] | None" = None,
    ) -> "list[list[Ranked]]":
        if store.seq not in self._whole:
            await self._add(store)
            self._whole.add(store.seq)
        here = sa.select(files.c.seq).where(files.c.store_seq == store.seq, files.c.status == "completed")
        if where is not None:
            here = here.where(where)
        async with self._database.read() as connection:
            if await self._reads_on(connection):
                await connection.execute(sa.text("SET LOCAL hnsw.iterative_scan = relaxed_order"))
            return [await self._nearest(connection, store, here, query.tolist(), most) for query in queries]

    async def _reads_on(self, connection: AsyncConnection) -> bool:
        if not self._version:
            text = await connection.scalar(sa.text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
            self._version = tuple(int(part) for part in str(text).split(".") if part.isdigit())
        return self._version >= _ITERATIVE

    async def _add(self, store: "Searched") -> None:
        """Vectors of chunks that were written when the table was not there."""
        missing = (
            sa.select(chunks.c.seq, chunks.c.file_seq, chunks.c.vectors)
            .where(chunks.c.store_seq == store.seq, ~sa.exists().where(_vectors.c.chunk_seq == chunks.c.seq))
            .limit(_SOME)
            .with_for_update(key_share=True, read=True, of=chunks)  # or it could be gone before its vectors are there
        )
        while True:
            async with self._database.write() as connection:
                rows = (await connection.execute(missing)).all()
                for seq, file_seq, vectors in rows:
                    await insert(connection, store.seq, file_seq, [(seq, vectors)], width=store.width)
            if not rows:
                return
            await asyncio.sleep(0)

    async def _nearest(
        self,
        connection: AsyncConnection,
        store: "Searched",
        here: "sa.Select[Any]",
        query: list[float],
        most: int,
    ) -> "list[Ranked]":
        """An index over the vectors of this store is used where there is one (docs/file-search.md)."""
        from homeport.store.vectors import DIGITS, Ranked

        # Numbers of ours, and no parameters: an index of one store, and of one width, is found by them.
        distance: sa.ColumnElement[float] = sa.literal_column(f"(vector::vector({store.width}))").op("<#>")(
            sa.cast(sa.cast(sa.literal(query, ARRAY(sa.REAL)), ARRAY(sa.REAL)), _Vector())
        )
        nearest = (
            sa.select(_vectors.c.chunk_seq, distance.label("distance"))
            .where(sa.literal_column("store_seq") == sa.literal_column(str(store.seq)), _vectors.c.file_seq.in_(here))
            .order_by(distance)
            .limit(most * _ROWS_PER_CHUNK)
            .subquery()
        )
        least = sa.func.min(nearest.c.distance)
        best = sa.select(nearest.c.chunk_seq, least).group_by(nearest.c.chunk_seq)
        ranked = [Ranked(seq, round(-distance, DIGITS)) for seq, distance in await connection.execute(best)]
        return sorted(ranked, key=lambda one: (-one.similarity, one.seq))[:most]
