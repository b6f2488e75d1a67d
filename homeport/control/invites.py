"""Invites to the organization, as records: Homeport sends no mail, whoever runs it accepts for those invited.

pending -> accepted   the user is there, in the projects of the invite that still are
   |----> expired     seven days after it was made
   '----> (deleted)   an accepted one cannot be
"""

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import pages, project_users, users
from homeport.control.bootstrap import default_project
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.store import tables
from homeport.store.tables import invites, projects
from homeport.wire.admin.invites import Invite, InviteAcceptRequest, InviteProject, InviteRequest
from homeport.wire.fields import Deleted, Page

LIFE_SECONDS = 7 * 86_400


class Invites:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def list(self, window: Window) -> Page[Invite]:
        async with self._changes.database.read() as connection:
            found = await pages.page(connection, sa.select(invites), window, seq=invites.c.seq, id=invites.c.id)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(self, actor: Actor, asked: InviteRequest) -> Invite:
        """Raises InvalidRequest: the address is a user's or has an invite that is pending; no such project."""
        invite_id = ids.invite()
        now = int(clock.now())
        async with self._changes.change(actor) as change:
            await _check_address(change.connection, asked.email)
            joined = await _projects(change.connection, asked)
            await change.connection.execute(
                invites.insert().values(
                    id=invite_id,
                    email=asked.email,
                    role=asked.role,
                    created_at=now,
                    expires_at=now + LIFE_SECONDS,
                    projects=joined,
                )
            )
            data = {"email": asked.email, "role": asked.role, "projects": joined}
            change.log("invite.sent", invite_id, details={"data": data})
            return _object(await _find(change.connection, invite_id))

    async def retrieve(self, invite_id: str) -> Invite:
        async with self._changes.database.read() as connection:
            return _object(await _find(connection, invite_id))

    async def accept(self, actor: Actor, invite_id: str, asked: InviteAcceptRequest) -> Invite:
        """The user is made. Raises InvalidRequest: the invite is not pending."""
        now = int(clock.now())
        async with self._changes.change(actor) as change:
            invite = _object(await _find(change.connection, invite_id))
            if invite.status != "pending":
                raise InvalidRequest(f"The invite {invite_id!r} is {invite.status}.", param="invite_id")
            user_id = ids.user()
            await change.connection.execute(
                tables.users.insert().values(
                    id=user_id, name=asked.name, email=invite.email, role=invite.role, added_at=now
                )
            )
            await change.connection.execute(sa.update(invites).where(invites.c.id == invite_id).values(accepted_at=now))
            change.log("invite.accepted", invite_id)
            change.log("user.added", user_id, details={"data": {"role": invite.role}})
            await _join(change, user_id, invite.projects)
            return _object(await _find(change.connection, invite_id))

    async def delete(self, actor: Actor, invite_id: str) -> Deleted:
        async with self._changes.change(actor) as change:
            row = await _find(change.connection, invite_id)
            if row.accepted_at is not None:
                raise InvalidRequest(
                    f"The invite {invite_id!r} has been accepted, so it cannot be deleted.", param="invite_id"
                )
            await change.connection.execute(sa.delete(invites).where(invites.c.id == invite_id))
            change.log("invite.deleted", invite_id)
        return Deleted("organization.invite.deleted", invite_id)


async def _check_address(connection: AsyncConnection, email: str) -> None:
    if await users.with_email(connection, email) is not None:
        raise InvalidRequest(f"{email!r} is the address of a user of the organization already.", param="email")
    pending = sa.select(invites.c.id).where(
        sa.func.lower(invites.c.email) == sa.func.lower(email),
        invites.c.accepted_at.is_(None),
        invites.c.expires_at > int(clock.now()),
    )
    if await connection.scalar(pending) is not None:
        raise InvalidRequest(f"{email!r} has an invite that is pending. Delete it first.", param="email")


async def _projects(connection: AsyncConnection, asked: InviteRequest) -> list[dict[str, str]]:
    """What is joined. Raises InvalidRequest."""
    if asked.projects is None:
        default = await default_project(connection)
        return [{"id": default, "role": "member"}] if default is not None else []
    named = [project.id for project in asked.projects]
    active = sa.select(projects.c.id).where(projects.c.id.in_(named), projects.c.archived_at.is_(None))
    known = set(await connection.scalars(active))
    for place, project_id in enumerate(named):
        param = f"projects[{place}].id"
        if project_id not in known:
            raise InvalidRequest(f"No project found with id {project_id!r} that is not archived.", param=param)
        if project_id in named[:place]:
            raise InvalidRequest(f"The project {project_id!r} is there twice.", param=param)
    return [{"id": project.id, "role": project.role} for project in asked.projects]


async def _join(change: Change, user_id: str, joined: list[InviteProject]) -> None:
    """Projects that were archived meanwhile are left out."""
    active = sa.select(projects.c.id, projects.c.name).where(
        projects.c.id.in_([project.id for project in joined]), projects.c.archived_at.is_(None)
    )
    names = {row.id: row.name for row in await change.connection.execute(active)}
    for project in joined:
        if project.id in names:
            await project_users.add(change, (project.id, names[project.id]), user_id, project.role)


async def _find(connection: AsyncConnection, invite_id: str) -> "sa.Row[Any]":
    row = (await connection.execute(sa.select(invites).where(invites.c.id == invite_id))).one_or_none()
    if row is None:
        raise NotFound(f"No invite found with id {invite_id!r}.", param="invite_id")
    return row


def _object(row: "sa.Row[Any]") -> Invite:
    return Invite(
        id=row.id,
        email=row.email,
        role=row.role,
        status=_status(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        accepted_at=row.accepted_at,
        projects=[InviteProject(one["id"], one["role"]) for one in row.projects],
    )


def _status(row: "sa.Row[Any]") -> Literal["accepted", "expired", "pending"]:
    if row.accepted_at is not None:
        return "accepted"
    return "expired" if row.expires_at <= clock.now() else "pending"
