"""The tables' history. `migrate` brings a database to the newest form, once, whoever starts first.

The state and the log of usage are two histories (`state`, `usage`), because on SQLite they are two files. A new form is
a new file in `state/` or `usage/`, made by hand, that says what changes; released files never change again.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.errors import SettingsError
from homeport.store.database import Database

#: The newest form of each history. A test compares it with the files.
HEADS = {"state": "0008", "usage": "0002"}
#: PostgreSQL: tables beside a history's that follow from them, and are in no copy (store/keywords.py, pgvector.py).
FOLLOWING = {"state": ("vector_store_terms", "vector_store_vectors"), "usage": ()}
#: PostgreSQL: whoever holds this lock migrates, everybody else waits. Any number that nobody else uses.
_LOCK = 7_310_579


async def migrate(database: Database, history: str) -> None:
    """Raises SettingsError when the database was written by a newer Homeport, Unavailable when it cannot be reached."""
    async with database.write() as connection:
        await alone(connection)
        await connection.run_sync(_upgrade, history)


async def alone(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else changes the form. (SQLite has one writer as it is.)"""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


async def make(connection: AsyncConnection, history: str, form: str) -> None:
    """An empty database becomes one of that form, in a transaction of the caller's: for what was written then."""
    await connection.run_sync(_upgrade, history, form)


async def form(connection: AsyncConnection, history: str) -> str | None:
    """None: it has no tables of that history. Raises SettingsError: a newer Homeport wrote it."""
    found = await connection.run_sync(_version, history)
    if found is not None:
        _check(found, history)
    return found


async def problem(database: Database, history: str, *, deep: bool = False) -> str:
    """What is wrong with it, in a few words; nothing is changed. deep: SQLite looks at its indexes, too, which takes
    longer. Raises Unavailable."""
    async with database.read() as connection:
        if database.sqlite:
            check = "integrity_check" if deep else "quick_check"
            whole = str((await connection.execute(sa.text(f"PRAGMA {check}"))).scalar())
            if whole != "ok":
                return f"it is damaged: {whole[:200]}"
            stray = (await connection.execute(sa.text("PRAGMA foreign_key_check"))).first()
            if stray is not None:
                return f"it is damaged: a row of {stray[0]} refers to one of {stray[2]} that is not there"
        found = await connection.run_sync(_version, history)
    if found is None or found == HEADS[history]:
        return ""
    return f"its form is {found}, this Homeport's is {HEADS[history]}; `homeport serve` brings an older one up to date"


def _version(connection: sa.Connection, history: str) -> str | None:
    table = f"{history}_version"
    if not sa.inspect(connection).has_table(table):
        return None
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608
    return found


def _check(found: str, history: str) -> None:
    if found > HEADS[history]:
        raise SettingsError(
            f"The database is of a newer Homeport (form {found}, this one knows {HEADS[history]}). Upgrade, or restore "
            "a backup of before."
        )


def _upgrade(connection: sa.Connection, history: str, form: str = "head") -> None:
    found = _version(connection, history)
    if found == HEADS[history]:
        return  # and Alembic, which takes a quarter of a second to load, is not needed
    if found is not None:
        _check(found, history)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / history))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = f"{history}_version"
    command.upgrade(config, form)
