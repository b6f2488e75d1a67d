"""People of the organization, as records: they come by an invite, have a role, and leave with their keys."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import issuing, pages
from homeport.control.changes import Actor, Changes
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.tables import keys, projects, users
from homeport.wire.admin.users import User, UserRoleUpdateRequest
from homeport.wire.fields import Deleted, Page


class Users:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def list(self, window: Window, *, emails: Sequence[str] = ()) -> Page[User]:
        query = sa.select(users)
        if emails:
            query = query.where(sa.func.lower(users.c.email).in_([sa.func.lower(email) for email in emails]))
        async with self._changes.database.read() as connection:
            found = await pages.page(connection, query, window, seq=users.c.seq, id=users.c.id)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, user_id: str) -> User:
        async with self._changes.database.read() as connection:
            return _object(await find(connection, user_id))

    async def modify(self, actor: Actor, user_id: str, asked: UserRoleUpdateRequest) -> User:
        if asked.role is None:
            return await self.retrieve(user_id)
        async with self._changes.change(actor) as change:
            await find(change.connection, user_id)
            await change.connection.execute(sa.update(users).where(users.c.id == user_id).values(role=asked.role))
            change.log("user.updated", user_id, details={"changes_requested": {"role": asked.role}})
            return _object(await find(change.connection, user_id))

    async def delete(self, actor: Actor, user_id: str) -> Deleted:
        """Out of every project as well; the keys stop."""
        owned = (
            sa.select(keys.c.id, projects.c.id.label("project_id"), projects.c.name)
            .select_from(keys.outerjoin(projects, keys.c.project_id == projects.c.id))
            .where(keys.c.user_id == user_id)
            .order_by(keys.c.seq)
        )
        async with self._changes.change(actor) as change:
            await find(change.connection, user_id)
            for row in (await change.connection.execute(owned)).all():
                project = None if row.project_id is None else (row.project_id, row.name)
                await issuing.revoke(change, row.id, project=project)
            await change.connection.execute(sa.delete(users).where(users.c.id == user_id))
            change.log("user.deleted", user_id)
        return Deleted("organization.user.deleted", user_id)


async def find(connection: AsyncConnection, user_id: str) -> "sa.Row[Any]":
    """Raises NotFound."""
    row = (await connection.execute(sa.select(users).where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise NotFound(f"No user found with id {user_id!r}.", param="user_id")
    return row


async def with_email(connection: AsyncConnection, email: str) -> "sa.Row[Any] | None":
    """Whoever has the address, capitals or not."""
    query = sa.select(users).where(sa.func.lower(users.c.email) == sa.func.lower(email))
    return (await connection.execute(query)).one_or_none()


def _object(row: "sa.Row[Any]") -> User:
    return User(row.id, row.name, row.email, row.role, row.added_at)
