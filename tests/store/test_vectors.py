"""The nearest chunks by their vectors: exactly those that a look at each gives, whichever index looks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import doctor
from homeport.settings import Settings
from homeport.store import pgvector
from homeport.store.chunks import NewChunk, insert_chunks
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.tables import vector_store_files, vector_stores
from homeport.store.vectors import Index, Matrices, Numbers, Ranked, Searched
from tests.store.servers import PostgresServer, pgvector_server, postgres_server
from tests.store.vector_stores import make_file, make_store

WIDTH = 8
INDEXES = ("sqlite", "postgresql", "pgvector", "piecewise")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def with_vector() -> Iterator[PostgresServer]:
    with pgvector_server() as server:
        yield server


class House:
    """A store that is searched, and what is known of it."""

    def __init__(self, database: Database, kind: str) -> None:
        self.database = database
        self.kind = kind
        self.random = Random(7)
        self.vectors: dict[int, dict[int, list[Numbers]]] = {}
        self.store = 0
        self.generation = 0
        self.index: Index

    async def open(self) -> None:
        await migrate(self.database, "state")
        async with self.database.write() as connection:
            self.store = await make_store(connection)
        self.index = await self.another()

    async def another(self) -> Index:
        if self.kind == "pgvector":
            assert await pgvector.make(self.database)
            return pgvector.Vectors(self.database)
        if self.kind == "piecewise":
            return Matrices(self.database, most_bytes=100, piece=200)
        return Matrices(self.database, most_bytes=2**20)

    def unit(self) -> Numbers:
        vector = np.array([self.random.gauss(0, 1) for _ in range(WIDTH)], np.float32)
        return vector / np.float32(np.linalg.norm(vector))

    async def add(self, chunks: int, *, status: str = "completed", parts: int = 2) -> int:
        async with self.database.write() as connection:
            file_id = f"file-{self.random.random()}"
            file = await make_file(connection, self.store, file_id, status=status, attributes={"even": chunks % 2 == 0})
            made = [[self.unit() for _ in range(self.random.randint(1, parts))] for _ in range(chunks)]
            rows = [
                NewChunk(at, "text", 1, None, 0, 4, b"".join(one.tobytes() for one in each))
                for at, each in enumerate(made)
            ]
            await insert_chunks(connection, self.store, file, rows, width=WIDTH)
            await self._change(connection)
            seqs = await connection.scalars(
                sa.text("SELECT seq FROM vector_store_chunks WHERE file_seq = :file ORDER BY number"), {"file": file}
            )
            if status == "completed":
                self.vectors[file] = dict(zip(seqs.all(), made, strict=True))
        return file

    async def remove(self, file: int) -> None:
        async with self.database.write() as connection:
            await connection.execute(sa.delete(vector_store_files).where(vector_store_files.c.seq == file))
            await self._change(connection)
        del self.vectors[file]

    async def _change(self, connection: AsyncConnection) -> None:
        self.generation += 1
        await connection.execute(sa.update(vector_stores).values(generation=self.generation))

    @property
    def searched(self) -> Searched:
        return Searched(self.store, self.generation, WIDTH)

    def nearest(self, query: Numbers, most: int, files: "set[int] | None" = None) -> list[Ranked]:
        """One by one."""
        every = [
            Ranked(seq, max(float(np.dot(part, query)) for part in parts))
            for file, chunks in self.vectors.items()
            if files is None or file in files
            for seq, parts in chunks.items()
        ]
        return sorted(every, key=lambda one: -one.similarity)[:most]

    async def check(self, index: Index | None = None, most: int = 5) -> None:
        queries = np.stack([self.unit() for _ in range(3)])
        found = await (index or self.index).nearest(self.searched, queries, most=most)
        for query, ranked in zip(queries, found, strict=True):
            wanted = self.nearest(query, most)
            assert [one.seq for one in ranked] == [one.seq for one in wanted]
            assert [one.similarity for one in ranked] == pytest.approx([one.similarity for one in wanted], abs=1e-5)


@pytest.fixture(params=INDEXES)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    name = f"vectors_{abs(hash(request.node.name)) % 10**8}"
    match request.param:
        case "postgresql":
            url = request.getfixturevalue("postgres").create(name)
        case "pgvector":
            url = request.getfixturevalue("with_vector").create(name)
        case _:
            url = f"sqlite:///{tmp_path / 'some.db'}"

    def run(work: Callable[[House], Awaitable[None]]) -> None:
        async def whole() -> None:
            house = House(Database(url), request.param)
            try:
                await house.open()
                await work(house)
            finally:
                await house.database.close()

        asyncio.run(whole())

    return run


Run = Callable[[Callable[[House], Awaitable[None]]], None]


def test_the_nearest_are_found_while_files_come_and_go(run: Run) -> None:
    async def work(house: House) -> None:
        await house.check()
        for _ in range(30):
            if house.vectors and house.random.random() < 0.4:
                await house.remove(house.random.choice([*house.vectors]))
            else:
                await house.add(house.random.randint(1, 9))
            await house.check()
        assert len(house.vectors) > 3

    run(work)


def test_files_that_are_not_completed_are_not_seen(run: Run) -> None:
    async def work(house: House) -> None:
        await house.add(3)
        for status in ("in_progress", "failed", "cancelled"):
            await house.add(3, status=status)
        await house.check(most=50)

    run(work)


def test_a_filter_is_kept_to(run: Run) -> None:
    async def work(house: House) -> None:
        for _ in range(3):
            for chunks in (2, 3):
                await house.add(chunks)
        even = {file for file, chunks in house.vectors.items() if len(chunks) == 2}
        where = vector_store_files.c.seq.in_(even)
        query = house.unit()
        found = await house.index.nearest(house.searched, query[None, :], most=50, where=where)
        assert [one.seq for one in found[0]] == [one.seq for one in house.nearest(query, 50, even)]

    run(work)


def test_what_was_there_before_is_seen_by_a_new_one(run: Run) -> None:
    async def work(house: House) -> None:
        for _ in range(4):
            await house.add(5)
        await house.check(await house.another())

    run(work)


def test_other_stores_are_not_seen(run: Run) -> None:
    async def work(house: House) -> None:
        await house.add(3)
        async with house.database.write() as connection:
            other = await make_store(connection, "vs_other")
            file = await make_file(connection, other, "file-other")
            rows = [NewChunk(0, "text", 1, None, 0, 4, house.unit().tobytes())]
            await insert_chunks(connection, other, file, rows, width=WIDTH)
        await house.check(most=50)

    run(work)


def test_what_was_written_before_the_extension_came_is_added(with_vector: PostgresServer) -> None:
    url = with_vector.create("before_the_extension")

    async def work() -> None:
        house = House(Database(url), "pgvector")
        try:
            await migrate(house.database, "state")
            async with house.database.write() as connection:
                house.store = await make_store(connection)
            for _ in range(3):
                await house.add(4)
            house.index = await house.another()
            await house.add(4)
            await house.check(most=50)
        finally:
            await house.database.close()

    asyncio.run(work())


def test_without_the_extension_it_is_said_once(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    url = postgres.create("no_extension")

    async def work() -> bool:
        database = Database(url)
        try:
            await migrate(database, "state")
            return await pgvector.make(database)
        finally:
            await database.close()

    with caplog.at_level("INFO"):
        assert asyncio.run(work()) is False
    assert "cannot be had" in caplog.text


def test_only_what_came_is_read(tmp_path: Path) -> None:
    async def work() -> None:
        house = House(Database(f"sqlite:///{tmp_path / 'some.db'}"), "sqlite")
        try:
            await house.open()
            index = house.index
            assert isinstance(index, Matrices)
            gone = await house.add(20, parts=1)
            await house.check()
            await house.add(3, parts=1)
            await house.remove(gone)
            await asyncio.gather(*(house.check() for _ in range(5)))
            assert index.read == 23
            assert index.bytes < 20 * WIDTH * 4
        finally:
            await house.database.close()

    asyncio.run(work())


def test_what_was_not_searched_for_the_longest_time_goes_first(tmp_path: Path) -> None:
    async def work() -> None:
        database = Database(f"sqlite:///{tmp_path / 'some.db'}")
        try:
            await migrate(database, "state")
            stores = []
            async with database.write() as connection:
                for number in range(3):
                    store = await make_store(connection, f"vs_{number}")
                    file = await make_file(connection, store, f"file-{number}")
                    vector = np.eye(WIDTH, dtype=np.float32)[0].tobytes()
                    rows = [NewChunk(at, "text", 1, None, 0, 4, vector) for at in range(10)]
                    await insert_chunks(connection, store, file, rows, width=WIDTH)
                    stores.append(Searched(store, 0, WIDTH))
            index = Matrices(database, most_bytes=1000)
            query = np.eye(WIDTH, dtype=np.float32)[:1]
            for at, read in ((0, 10), (1, 20), (0, 20), (2, 30), (0, 30), (1, 40)):
                assert len((await index.nearest(stores[at], query, most=5))[0]) == 5
                assert index.read == read
        finally:
            await database.close()

    asyncio.run(work())


@pytest.mark.parametrize("server", ["postgres", "with_vector"])
def test_doctor_says_whether_the_extension_is_there(request: pytest.FixtureRequest, server: str) -> None:
    there: PostgresServer = request.getfixturevalue(server)
    settings = msgspec.convert({"database_url": there.create("looked_at")}, Settings)
    (finding,) = (one for one in doctor.examine(settings) if "extension" in one.what)
    assert finding.ok is (server == "with_vector")
    assert finding.optional
