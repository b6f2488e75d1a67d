"""What a new database needs before it can serve: the default project, the operator's first key, and preset keys."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control.changes import COMMAND_LINE, Change, Changes
from homeport.control.keys import check_preset, redacted
from homeport.errors import SettingsError
from homeport.store.tables import keys, projects

DEFAULT_PROJECT = "Default project"
_OWNER, _ADMIN = "HOMEPORT_API_KEY", "HOMEPORT_ADMIN_KEY"


@dataclass(frozen=True, slots=True, repr=False)
class Presets:
    """Keys that the operator chose: for everything, and for the Admin API alone."""

    owner: str | None = None
    admin: str | None = None

    def check(self) -> None:
        """Raises SettingsError."""
        for variable, secret in ((_OWNER, self.owner), (_ADMIN, self.admin)):
            if secret is not None:
                check_preset(variable, secret)
        if self.admin is not None and self.admin == self.owner:
            raise SettingsError(f"{_ADMIN} and {_OWNER} are the same. Leave {_ADMIN} out: the other opens both.")


class _Done(Exception):
    """There is nothing to change."""


async def prepare(changes: Changes, presets: Presets, *, refuse_without_key: str | None = None) -> str | None:
    """The default project is there, and the preset keys or some key are known. Returns a newly made key, to show once.

    refuse_without_key: why no key may be made now. Raises SettingsError. Several processes may start at once.
    """
    presets.check()
    made: str | None = None
    with suppress(_Done):
        async with changes.change(COMMAND_LINE) as change:
            made = await _prepare(change, presets, refuse_without_key)
    return made


async def _prepare(change: Change, presets: Presets, refuse_without_key: str | None) -> str | None:
    connection = change.connection
    known = await connection.scalar(sa.select(sa.func.count()).select_from(keys))
    needs_one = not known and presets == Presets()
    if needs_one and refuse_without_key is not None:
        raise SettingsError(refuse_without_key)
    project = await default_project(connection) or await _make_project(change)
    made = None
    if presets.owner is not None and await _is_new(connection, _OWNER, presets.owner, "project", "owner"):
        await _make_key(change, _OWNER, presets.owner, kind="owner", project=project)
    if presets.admin is not None and await _is_new(connection, _ADMIN, presets.admin, "admin", "owner"):
        await _make_key(change, _ADMIN, presets.admin, kind="admin")
    if needs_one:
        made = ids.secret_key()
        await _make_key(change, "first key", made, kind="owner", project=project)
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


async def _is_new(connection: AsyncConnection, variable: str, secret: str, *kinds: str) -> bool:
    """Raises SettingsError: the key is known, and is not good for what the variable is for."""
    digest = hashlib.sha256(secret.encode()).digest()
    kind = await connection.scalar(sa.select(keys.c.kind).where(keys.c.sha256 == digest))
    if kind is not None and kind not in kinds:
        raise SettingsError(f"{variable} holds a key that is known already, of kind {kind!r}. Choose another.")
    return kind is None


async def _make_project(change: Change) -> str:
    project = ids.project()
    await change.connection.execute(
        projects.insert().values(id=project, name=DEFAULT_PROJECT, created_at=int(clock.now()))
    )
    details = {"data": {"name": DEFAULT_PROJECT, "title": DEFAULT_PROJECT}}
    change.log("project.created", project, project=(project, DEFAULT_PROJECT), details=details)
    return project


async def _make_key(change: Change, name: str, secret: str, *, kind: str, project: str | None = None) -> None:
    """project: None of an admin key."""
    key = ids.key()
    await change.connection.execute(
        keys.insert().values(
            id=key,
            kind=kind,
            project_id=project,
            name=name,
            sha256=hashlib.sha256(secret.encode()).digest(),
            redacted=redacted(secret),
            created_at=int(clock.now()),
        )
    )
    where = (project, DEFAULT_PROJECT) if project is not None else None
    change.log("api_key.created", key, project=where, details={"data": {"name": name, "scopes": ["all"]}})
