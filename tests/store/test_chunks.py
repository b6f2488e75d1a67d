"""Chunks, and what finds them by their words: it comes and goes with them, on either database."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store import archive, copies, keywords
from homeport.store.chunks import NewChunk, insert_chunks
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.tables import files, vector_store_chunks, vector_store_files
from tests.store.servers import PostgresServer, postgres_server
from tests.store.vector_stores import make_file, make_store


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return Database(f"sqlite:///{tmp_path / 'some.db'}")
    server: PostgresServer = request.getfixturevalue("postgres")
    return Database(server.create(f"chunks_{abs(hash(request.node.name)) % 10**8}"))


def in_tables(database: Database, work: Callable[[AsyncConnection, int, int], Awaitable[None]]) -> None:
    """work: is given a store and a file in it."""

    async def whole() -> None:
        try:
            await migrate(database, "state")
            async with database.write() as connection:
                store = await make_store(connection)
                await work(connection, store, await make_file(connection, store, "file-1"))
        finally:
            await database.close()

    asyncio.run(whole())


def chunk(number: int, text: str) -> NewChunk:
    return NewChunk(number, text, len(text.split()), None, 0, len(text), struct.pack("<2f", 1.0, 0.0))


async def found(connection: AsyncConnection, store: int, query: str, **options: object) -> list[str]:
    ranked = await keywords.best(connection, [store], query, most=10, **options)  # type: ignore[arg-type]
    texts = {
        row.seq: row.text
        for row in await connection.execute(sa.select(vector_store_chunks.c.seq, vector_store_chunks.c.text))
    }
    return [texts[seq] for seq in ranked]


def test_they_are_found_by_words_in_any_form(database: Database) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        texts = ["Running dogs bark.", "A cat sleeps, version 3.14.", "在東京都散歩する", "see example.com/path"]
        await insert_chunks(connection, store, file, [chunk(at, text) for at, text in enumerate(texts)], width=2)
        assert await found(connection, store, "the dog that runs") == texts[:1]
        assert await found(connection, store, "CATS") == [texts[1]]
        assert await found(connection, store, "3.14") == [texts[1]]
        assert await found(connection, store, "東京都") == [texts[2]]
        assert await found(connection, store, "都") == [texts[2]]
        assert await found(connection, store, "example path") == [texts[3]]
        assert await found(connection, store, "nothing of it") == []

    in_tables(database, work)


QUERIES = (
    '"', "'", "dog AND (", "NEAR(", "words:dog", "store_seq:1 OR dog", "dog*", "-dog", "^dog", "a\0b", "", "   ",
    "&|!():*<->", "dog' OR 1=1 --", "\\", "dog" * 4000, "the", "🦮",
    " ".join(f"w{at}" for at in range(3000)),
)  # fmt: skip


def test_a_query_is_words_and_nothing_else(database: Database) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        await insert_chunks(connection, store, file, [chunk(0, "One dog."), chunk(1, "Else.")], width=2)
        other = await make_store(connection, "vs_other")
        hidden = await make_file(connection, other, "file-2")
        await insert_chunks(connection, other, hidden, [chunk(0, "A dog of others.")], width=2)
        for query in QUERIES:
            assert await found(connection, store, query) in ([], ["One dog."]), query[:100]

    in_tables(database, work)


def test_only_files_that_are_allowed(database: Database) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        other = await make_file(connection, store, "file-2")
        await insert_chunks(connection, store, file, [chunk(0, "a dog")], width=2)
        await insert_chunks(connection, store, other, [chunk(0, "another dog")], width=2)
        where = vector_store_files.c.file_id == "file-2"
        assert await found(connection, store, "dogs", where=where) == ["another dog"]

    in_tables(database, work)


def test_what_is_rare_counts_for_more(database: Database) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        texts = [
            *(f"common common words number {at}" for at in range(20)),
            "a common zebra among many other long words",
        ]
        await insert_chunks(connection, store, file, [chunk(at, text) for at, text in enumerate(texts)], width=2)
        assert (await found(connection, store, "common zebra"))[0] == texts[-1]

    in_tables(database, work)


@pytest.mark.parametrize("what", ["chunk", "file of the store", "file", "text"])
def test_they_go_with_what_they_are_of(database: Database, what: str) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        await insert_chunks(connection, store, file, [chunk(0, "some dog")], width=2)
        assert await found(connection, store, "dog") == ["some dog"]
        match what:
            case "chunk":
                await connection.execute(sa.delete(vector_store_chunks))
            case "file of the store":
                await connection.execute(sa.delete(vector_store_files))
            case "file":
                await connection.execute(sa.delete(files))
            case _:
                await connection.execute(sa.update(vector_store_chunks).values(text="some cat"))
                assert await found(connection, store, "cat") == ["some cat"]
        assert await found(connection, store, "dog") == []
        if connection.dialect.name == "sqlite":
            check = "INSERT INTO vector_store_terms (vector_store_terms, rank) VALUES ('integrity-check', 1)"
            await connection.execute(sa.text(check))

    in_tables(database, work)


def test_a_nul_is_a_space(database: Database) -> None:
    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        await insert_chunks(connection, store, file, [chunk(0, "a\0dog")], width=2)
        assert await found(connection, store, "dog") == ["a dog"]

    in_tables(database, work)


def test_they_are_found_after_a_restore_into_the_other_kind_of_database(
    database: Database, postgres: PostgresServer, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    if database.sqlite:
        other = postgres.create("restored_chunks")

    async def work(connection: AsyncConnection, store: int, file: int) -> None:
        await insert_chunks(connection, store, file, [chunk(0, "Running dogs bark."), chunk(1, "東京都")], width=2)
        restored = Database(other)
        try:
            await migrate(restored, "state")
            metadata = await copies.there(connection, "state")
            async with restored.write() as there:
                theirs = await copies.there(there, "state")
                await copies.clear(there, theirs)
                for table in copies.copied(metadata):
                    parts = [part async for part in copies.parts(connection, table)]
                    rows = sum(part.rows for part in parts)
                    copy = archive.Copy("state", table.name, [*table.columns.keys()], rows, [])
                    await copies.load(there, theirs.tables[table.name], copy, [part.data for part in parts])
                assert await found(there, store, "dog") == ["Running dogs bark."]
                assert await found(there, store, "東京") == ["東京都"]
        finally:
            await restored.close()

    in_tables(database, work)
