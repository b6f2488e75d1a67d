"""`homeport keys`: API keys from the command line, by the same rules as through the Admin API.

It works on the database, whether a server runs or not; a running one sees the change within a second.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from homeport.control import command_line, issuing
from homeport.control.admin_api_keys import AdminApiKeys
from homeport.control.api_keys import ApiKeys
from homeport.control.changes import COMMAND_LINE, Changes
from homeport.errors import SettingsError
from homeport.gateway.endpoints import SCOPES
from homeport.settings import Settings
from homeport.store.tables import keys, projects
from homeport.wire.admin.api_keys import (
    AdminApiKeyCreateRequest,
    ProjectApiKeyCreateRequest,
    ProjectApiKeyRotateRequest,
)

DAY = 86_400


class Made(NamedTuple):
    """secret: the key, shown once. until: when the key that it replaces ends."""

    id: str
    secret: str
    until: str = ""


def create(
    settings: Settings,
    name: str,
    *,
    admin: bool = False,
    project: str | None = None,
    models: list[str] | None = None,
    scopes: list[str] | None = None,
    days: int | None = None,
) -> Made:
    """project: id or name; the default one without. Raises SettingsError."""

    async def work(changes: Changes) -> Made:
        life: Any = {} if days is None else {"expires_in_seconds": days * DAY}
        if admin:
            made: Any = await AdminApiKeys(changes).create(COMMAND_LINE, AdminApiKeyCreateRequest(name=name, **life))
        else:
            asked = ProjectApiKeyCreateRequest(name=name, models=models, scopes=scopes, **life)
            made = await ApiKeys(changes, SCOPES).create(
                COMMAND_LINE, await command_line.project(changes, project), asked
            )
        return Made(made.id, made.value)

    return command_line.run(settings, work)


def listed(settings: Settings) -> list[str]:
    """A line for each key."""

    async def work(changes: Changes) -> list[str]:
        query = sa.select(keys, projects.c.name.label("project")).outerjoin(projects).order_by(keys.c.seq)
        async with changes.database.read() as connection:
            return [_line(row) for row in await connection.execute(query)]

    return command_line.run(settings, work)


def rotate(settings: Settings, key_id: str, *, overlap: int) -> Made:
    """overlap: seconds that the old key still works. Raises SettingsError."""

    async def work(changes: Changes) -> Made:
        project = await _project_of(changes, key_id)
        asked = ProjectApiKeyRotateRequest(overlap_seconds=overlap)
        made = await ApiKeys(changes, SCOPES).rotate(COMMAND_LINE, project, key_id, asked)
        assert isinstance(made.value, str)
        async with changes.database.read() as connection:
            until = await connection.scalar(sa.select(keys.c.expires_at).where(keys.c.id == key_id))
        return Made(made.id, made.value, _moment(until or 0))

    return command_line.run(settings, work)


def revoke(settings: Settings, key_id: str) -> str:
    """What may be shown of it. Raises SettingsError."""

    async def work(changes: Changes) -> str:
        async with changes.change(COMMAND_LINE) as change:
            query = sa.select(keys.c.redacted, keys.c.project_id, projects.c.name).outerjoin(projects)
            row = (await change.connection.execute(query.where(keys.c.id == key_id))).one_or_none()
            if row is None:
                raise SettingsError(f"There is no key {key_id!r}. `homeport keys list` shows the ids.")
            project = (row.project_id, row.name) if row.project_id is not None else None
            await issuing.revoke(change, key_id, project=project)
            return str(row.redacted)

    return command_line.run(settings, work)


async def _project_of(changes: Changes, key_id: str) -> str:
    async with changes.database.read() as connection:
        row = (await connection.execute(sa.select(keys.c.project_id).where(keys.c.id == key_id))).one_or_none()
    if row is None:
        raise SettingsError(f"There is no key {key_id!r}. `homeport keys list` shows the ids.")
    if row.project_id is None:
        raise SettingsError(f"{key_id!r} is an admin key: create another one, and revoke it.")
    return str(row.project_id)


def _line(row: Any) -> str:
    kind = row.kind if row.kind != "project" else row.project
    until = f", until {_moment(row.expires_at)}" if row.expires_at is not None else ""
    return f"{row.id}  {row.redacted:24}  {_moment(row.created_at)}{until}  {kind}  {row.name}"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
