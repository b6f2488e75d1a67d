"""Empty databases for tests: SQLite in a file, PostgreSQL where its programs are on the machine."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from homeport.control.changes import Changes
from homeport.store.database import Database
from homeport.store.tables import metadata, revision
from tests.store.servers import PostgresServer

KINDS = ("sqlite", "postgresql")
_numbers = count()


def empty(kind: str, folder: Path, postgres: Callable[[], PostgresServer]) -> str:
    """The URL of a new one. postgres: the server, asked for where it is needed."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'state.db'}"
    return postgres().create(f"control_{next(_numbers)}")


async def prepare(database: Database) -> Changes:
    """The tables, and what changes them."""
    async with database.write() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(revision.insert().values(id=1, value=0))
    return Changes(database)
