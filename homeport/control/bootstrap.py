"""What a new database needs before it can serve: the default project and the operator's first key."""

import hashlib
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control.changes import COMMAND_LINE, Change, Changes
from homeport.control.keys import check_preset, redacted
from homeport.errors import SettingsError
from homeport.store.tables import keys, projects

DEFAULT_PROJECT = "Default project"


class _Done(Exception):
    """There is nothing to change."""


async def prepare(changes: Changes, preset: str | None, *, refuse_without_key: str | None = None) -> str | None:
    """The default project is there, and the preset key or some key is known. Returns a newly made key, to show once.

    refuse_without_key: why no key may be made now. Raises SettingsError. Several processes may start at once.
    """
    if preset is not None:
        check_preset(preset)
    made: str | None = None
    with suppress(_Done):
        async with changes.change(COMMAND_LINE) as change:
            made = await _prepare(change, preset, refuse_without_key)
    return made


async def _prepare(change: Change, preset: str | None, refuse_without_key: str | None) -> str | None:
    connection = change.connection
    known = await connection.scalar(sa.select(sa.func.count()).select_from(keys))
    if not known and preset is None and refuse_without_key is not None:
        raise SettingsError(refuse_without_key)
    project = await default_project(connection) or await _make_project(change)
    made = None
    if preset is not None:
        if not await _is_known(connection, preset):
            await _make_owner_key(change, project, "HOMEPORT_API_KEY", preset)
    elif not known:
        made = ids.secret_key()
        await _make_owner_key(change, project, "first key", made)
    if not change.entries:
        raise _Done
    return made


async def default_project_made(changes: Changes) -> None:
    async with changes.database.read() as connection:
        if await default_project(connection) is not None:
            return
    async with changes.change(COMMAND_LINE) as change:
        await _make_project(change)


async def default_project(connection: AsyncConnection) -> str | None:
    """The oldest project's id."""
    found: str | None = await connection.scalar(sa.select(projects.c.id).order_by(projects.c.seq).limit(1))
    return found


async def _is_known(connection: AsyncConnection, secret: str) -> bool:
    digest = hashlib.sha256(secret.encode()).digest()
    return await connection.scalar(sa.select(keys.c.id).where(keys.c.sha256 == digest)) is not None


async def _make_project(change: Change) -> str:
    project = ids.project()
    await change.connection.execute(
        projects.insert().values(id=project, name=DEFAULT_PROJECT, created_at=int(clock.now()))
    )
    details = {"data": {"name": DEFAULT_PROJECT, "title": DEFAULT_PROJECT}}
    change.log("project.created", project, project=(project, DEFAULT_PROJECT), details=details)
    return project


async def _make_owner_key(change: Change, project: str, name: str, secret: str) -> None:
    key = ids.key()
    await change.connection.execute(
        keys.insert().values(
            id=key,
            kind="owner",
            project_id=project,
            name=name,
            sha256=hashlib.sha256(secret.encode()).digest(),
            redacted=redacted(secret),
            created_at=int(clock.now()),
        )
    )
    change.log("api_key.created", key, project=(project, DEFAULT_PROJECT), details={"data": {"scopes": ["all"]}})
