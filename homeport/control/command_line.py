"""What commands that work on the database have in common: the state, opened, and the project that they are about."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from homeport.control import bootstrap
from homeport.control.changes import Changes
from homeport.errors import HomeportError, SettingsError
from homeport.settings import Settings
from homeport.store import restoring
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.tables import projects

T = TypeVar("T")


def run(settings: Settings, work: Callable[[Changes], Coroutine[Any, Any, T]]) -> T:
    """Whether a server runs or not. Raises SettingsError."""

    async def whole() -> T:
        async with _opened(settings) as changes:
            return await work(changes)

    try:
        return asyncio.run(whole())
    except HomeportError as error:
        raise SettingsError(error.message) from None


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Changes, None]:
    restoring.check(settings.data)
    database = Database(settings.state_url)
    try:
        await migrate(database, "state")
        changes = Changes(database)
        await bootstrap.default_project_made(changes)
        yield changes
    finally:
        await database.close()


async def project(changes: Changes, wanted: str | None) -> str:
    """The id of the project that has this id or name; of the default one without. Raises SettingsError."""
    async with changes.database.read() as connection:
        if wanted is None:
            default = await bootstrap.default_project(connection)
            assert default is not None
            return default
        query = sa.select(projects.c.id, projects.c.name).where(projects.c.archived_at.is_(None))
        found = [row.id for row in await connection.execute(query) if wanted in (row.id, row.name)]
    if len(found) != 1:
        what = "There is no project" if not found else "There are several projects named"
        raise SettingsError(f"{what} {wanted!r}. Name one by its id.")
    return str(found[0])
