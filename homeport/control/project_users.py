"""Which people are in a project, and as what."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import pages, projects, users
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.store import tables
from homeport.store.tables import project_users
from homeport.wire.admin.users import ProjectUser, ProjectUserCreateRequest, ProjectUserUpdateRequest
from homeport.wire.fields import Deleted, Page

_SELECT = sa.select(
    project_users, tables.users.c.id.label("id"), tables.users.c.name.label("name"), tables.users.c.email.label("email")
).select_from(project_users.join(tables.users, project_users.c.user_id == tables.users.c.id))


class ProjectUsers:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def list(self, project_id: str, window: Window) -> Page[ProjectUser]:
        table = project_users
        within = table.c.project_id == project_id
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            found = await pages.page(connection, _SELECT, window, seq=table.c.seq, id=table.c.user_id, within=within)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(self, actor: Actor, project_id: str, asked: ProjectUserCreateRequest) -> ProjectUser:
        """Raises InvalidRequest: the user is not in the organization, or in the project already."""
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            user = await _named(change.connection, asked)
            if await _row(change.connection, project_id, user.id) is not None:
                raise InvalidRequest(
                    f"The user {user.id!r} is in the project {project_id!r} already.",
                    param="user_id" if asked.user_id is not None else "email",
                )
            await add(change, (project_id, project.name), user.id, asked.role)
            return _object(await _find(change.connection, project_id, user.id))

    async def retrieve(self, project_id: str, user_id: str) -> ProjectUser:
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            return _object(await _find(connection, project_id, user_id))

    async def modify(self, actor: Actor, project_id: str, user_id: str, asked: ProjectUserUpdateRequest) -> ProjectUser:
        if asked.role is None:
            return await self.retrieve(project_id, user_id)
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            row = await _find(change.connection, project_id, user_id)
            await change.connection.execute(
                sa.update(project_users).where(project_users.c.seq == row.seq).values(role=asked.role)
            )
            details = {"changes_requested": {"role": asked.role}}
            change.log("user.updated", user_id, project=(project_id, project.name), details=details)
            return _object(await _find(change.connection, project_id, user_id))

    async def delete(self, actor: Actor, project_id: str, user_id: str) -> Deleted:
        """Out of the project. The user's keys stay, without access (`owner_project_access` is `inactive`)."""
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            row = await _find(change.connection, project_id, user_id)
            await change.connection.execute(sa.delete(project_users).where(project_users.c.seq == row.seq))
            change.log("user.deleted", user_id, project=(project_id, project.name))
        return Deleted("organization.project.user.deleted", user_id)


async def add(change: Change, project: tuple[str, str], user_id: str, role: str) -> None:
    """project: id and name."""
    await change.connection.execute(
        project_users.insert().values(project_id=project[0], user_id=user_id, role=role, added_at=int(clock.now()))
    )
    change.log("user.added", user_id, project=project, details={"data": {"role": role}})


async def _named(connection: AsyncConnection, asked: ProjectUserCreateRequest) -> "sa.Row[Any]":
    if asked.email is not None:
        found = await users.with_email(connection, asked.email)
        param = "email"
    else:
        query = sa.select(tables.users).where(tables.users.c.id == asked.user_id)
        found = (await connection.execute(query)).one_or_none()
        param = "user_id"
    if found is None:
        raise InvalidRequest(
            f"No user of the organization has the {param} {getattr(asked, param)!r}. Users must be in the organization "
            "before they are added to a project.",
            param=param,
        )
    return found


async def _row(connection: AsyncConnection, project_id: str, user_id: str) -> "sa.Row[Any] | None":
    query = _SELECT.where(project_users.c.project_id == project_id, project_users.c.user_id == user_id)
    return (await connection.execute(query)).one_or_none()


async def _find(connection: AsyncConnection, project_id: str, user_id: str) -> "sa.Row[Any]":
    row = await _row(connection, project_id, user_id)
    if row is None:
        raise NotFound(f"No user found with id {user_id!r} in the project {project_id!r}.", param="user_id")
    return row


def _object(row: "sa.Row[Any]") -> ProjectUser:
    return ProjectUser(row.id, row.name, row.email, row.role, row.added_at)
