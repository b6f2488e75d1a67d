"""SQLite's file as several processes begin with it; a connection to PostgreSQL that is lost while it is made."""

import asyncio
import importlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from homeport.errors import Unavailable
from homeport.store.database import Database
from tests.store.servers import PostgresServer


def test_whoever_comes_while_another_makes_the_file_waits(tmp_path: Path) -> None:
    """To write ahead of the file is agreed on once, and for that SQLite itself waits for nobody."""
    file = tmp_path / "new.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE made (by TEXT)")
    other.execute("BEGIN IMMEDIATE")
    ready = threading.Timer(0.1, lambda: other.execute("COMMIT"))

    async def begin() -> str:
        database = Database(f"sqlite:///{file}")
        ready.start()
        try:
            async with database.read() as connection:
                mode: str = (await connection.execute(sa.text("PRAGMA journal_mode"))).scalar_one()
                return mode
        finally:
            await database.close()

    assert asyncio.run(begin()) == "wal"
    ready.join()
    other.close()


def test_what_is_lost_while_it_is_made_cannot_be_reached(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLAlchemy has a few words with each new connection, and does not translate what the driver says then."""
    asyncpg = importlib.import_module("asyncpg")

    async def lost(*_: Any) -> None:
        raise asyncpg.InterfaceError("connection is closed")

    monkeypatch.setattr(PGDialect_asyncpg, "setup_asyncpg_json_codec", lost)

    async def each_way() -> None:
        database = Database(postgres.url)
        for way in (database.read, database.write):
            with pytest.raises(Unavailable):
                async with way():
                    pass
        with pytest.raises(Unavailable):
            await database.listen("some", lambda: None)
        await database.close()

    asyncio.run(each_way())
