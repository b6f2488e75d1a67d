"""The migrations make exactly the tables that the code uses, on both databases, once, whoever starts first."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from homeport.errors import SettingsError
from homeport.store import migrations, tables, usage_tables
from homeport.store.database import Database
from homeport.store.migrations import HEADS, migrate
from tests.store.servers import PostgresServer, postgres_server

METADATA = {"state": tables.metadata, "usage": usage_tables.metadata}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'some.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create(f"migrations_{abs(hash(request.node.name)) % 10**8}")


@pytest.mark.parametrize("history", ["state", "usage"])
def test_the_newest_form_is_that_of_the_code(history: str, url: str) -> None:
    async def work() -> None:
        database = Database(url)
        await migrate(database, history)
        async with database.read() as connection:
            assert await connection.run_sync(differences) == []
        assert await migrations.problem(database, history) == ""
        await database.close()

    def others(name: str | None, kind: str, _: object) -> bool:
        """What is another thing on each database: test_chunks.py has that."""
        return not (kind == "table" and str(name).startswith("vector_store_terms"))

    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"version_table": f"{history}_version", "include_name": others}
        )
        return list(compare_metadata(context, METADATA[history]))

    asyncio.run(work())


@pytest.mark.parametrize("history", ["state", "usage"])
def test_the_head_that_the_code_names_is_the_newest_file(history: str) -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent / history))
    assert scripts.get_heads() == [HEADS[history]]


def test_both_histories_live_in_one_database(url: str) -> None:
    async def work() -> None:
        database = Database(url)
        await migrate(database, "state")
        await migrate(database, "usage")
        await database.close()

    asyncio.run(work())


def test_several_processes_may_start_at_once(url: str) -> None:
    async def start() -> None:
        database = Database(url)
        await migrate(database, "state")
        await database.close()

    async def work() -> None:
        await asyncio.gather(*(start() for _ in range(4)))
        database = Database(url)
        async with database.read() as connection:
            assert (await connection.execute(sa.select(tables.revision.c.value))).scalars().all() == [0]
        await database.close()

    asyncio.run(work())


def test_a_newer_database_is_refused(url: str) -> None:
    async def work() -> None:
        database = Database(url)
        await migrate(database, "state")
        async with database.write() as connection:
            await connection.execute(sa.text("UPDATE state_version SET version_num = '9999'"))
        with pytest.raises(SettingsError, match="newer Homeport"):
            await migrate(database, "state")
        assert "9999" in await migrations.problem(database, "state")
        await database.close()

    asyncio.run(work())
