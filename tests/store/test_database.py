"""SQLite's file as several processes begin with it."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import sqlalchemy as sa

from homeport.store.database import Database


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
