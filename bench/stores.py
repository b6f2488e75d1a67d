"""Vector stores with chunks of which everything is known, on each database that is on this machine."""

import asyncio
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from homeport.control.owners import Owner
from homeport.control.vector_search import Asking, VectorSearch
from homeport.control.vector_stores import VectorStores
from homeport.settings import VectorStores as Settings
from homeport.store import pgvector
from homeport.store.chunks import NewChunk, insert_chunks
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.queue import Queue
from homeport.store.tables import vector_stores
from tests.store.servers import pgvector_server, postgres_server
from tests.store.vector_stores import MODEL, PROJECT, make_file, make_store

SQLITE, POSTGRESQL, PGVECTOR = "SQLite", "PostgreSQL", "PostgreSQL, pgvector"
NAMES = (SQLITE, POSTGRESQL, PGVECTOR)
#: Chunks of a file, and of a transaction.
_FILE = 100


class Filled(NamedTuple):
    """store: its id. seconds: to put all of it in."""

    name: str
    search: VectorSearch
    who: Owner
    store: str
    seconds: float


class Chunks(NamedTuple):
    """vectors: one or several a text, of so many numbers each."""

    texts: Sequence[str]
    vectors: Sequence[bytes]
    width: int


def filled(
    folder: Path, runner: asyncio.Runner, asking: Asking, chunks: Chunks, *, names: Collection[str] = NAMES
) -> Iterator[Filled]:
    """A store with these chunks, on one database after the other, until the next is asked for. names: of databases."""
    for name, url in _databases(folder, names):
        database = runner.run(_opened(url))
        print(f"{name}: {len(chunks.texts):,} chunks are put in", file=sys.stderr, flush=True)
        try:
            seconds = runner.run(_fill(database, name, chunks))
            settings = Settings(pgvector=name == PGVECTOR)
            search = VectorSearch(database, VectorStores(database, Queue(database), model=MODEL), asking, settings)
            runner.run(search.open())
            yield Filled(name, search, Owner(PROJECT, "key_1"), "vs_1", seconds)
        finally:
            runner.run(database.close())


def _databases(folder: Path, names: Collection[str]) -> Iterator[tuple[str, str]]:
    if SQLITE in names:
        yield SQLITE, f"sqlite:///{folder / 'state.db'}"
    for name, server in ((POSTGRESQL, postgres_server), (PGVECTOR, pgvector_server)):
        if name in names:
            with ExitStack() as stack, suppress(pytest.skip.Exception):
                yield name, stack.enter_context(server()).url


async def _opened(url: str) -> Database:
    return Database(url)


async def _fill(database: Database, name: str, chunks: Chunks) -> float:
    """Seconds that it took."""
    texts, vectors, width = chunks
    await migrate(database, "state")
    if name == PGVECTOR:
        await pgvector.make(database)
    began = time.perf_counter()
    async with database.write() as connection:
        store = await make_store(connection, answered=MODEL, width=width)
    for begin in range(0, len(texts), _FILE):
        async with database.write() as connection:
            file = await make_file(connection, store, f"file-{begin}", attributes={"part": begin // _FILE % 20})
            rows = [
                NewChunk(at, text, len(text) // 4, None, 0, len(text), vector)
                for at, (text, vector) in enumerate(
                    zip(texts[begin : begin + _FILE], vectors[begin : begin + _FILE], strict=True)
                )
            ]
            await insert_chunks(connection, store, file, rows, width=width)
            await connection.execute(sa.update(vector_stores).values(generation=vector_stores.c.generation + 1))
    if not database.sqlite:
        async with database.write() as connection:
            await connection.execute(sa.text("ANALYZE"))
    return time.perf_counter() - began
