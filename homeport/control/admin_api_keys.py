"""Keys of the Admin API, the operator's own among them."""

from typing import Any

import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import issuing, pages
from homeport.control.changes import Actor, Changes
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.tables import keys, users
from homeport.wire.admin.api_keys import AdminApiKey, AdminApiKeyCreateRequest, AdminApiKeyOwner
from homeport.wire.fields import Deleted, Page

#: Every key that opens the Admin API.
_ADMIN = keys.c.kind.in_(("admin", "owner"))
_SELECT = sa.select(
    keys,
    users.c.name.label("user_name"),
    users.c.added_at.label("user_added_at"),
    users.c.role.label("user_role"),
).select_from(keys.outerjoin(users, keys.c.user_id == users.c.id))


class AdminApiKeys:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def list(self, window: Window) -> Page[AdminApiKey]:
        async with self._changes.database.read() as connection:
            found = await pages.page(connection, _SELECT, window, seq=keys.c.seq, id=keys.c.id, within=_ADMIN)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(self, actor: Actor, asked: AdminApiKeyCreateRequest) -> AdminApiKey:
        """It belongs to the user whose key asked for it, where that is a user's."""
        life = None if asked.expires_in_seconds is UNSET else asked.expires_in_seconds
        async with self._changes.change(actor) as change:
            owner = await change.connection.scalar(sa.select(users.c.id).where(users.c.id == actor.user_id))
            made = await issuing.issue(
                change, kind="admin", name=asked.name, expires_at=issuing.expiry(life), user_id=owner
            )
            created = _object(await _find(change.connection, made.id))
            created.value = made.value
            return created

    async def retrieve(self, key_id: str) -> AdminApiKey:
        async with self._changes.database.read() as connection:
            return _object(await _find(connection, key_id))

    async def delete(self, actor: Actor, key_id: str) -> Deleted:
        async with self._changes.change(actor) as change:
            await _find(change.connection, key_id)
            await issuing.revoke(change, key_id)
        return Deleted("organization.admin_api_key.deleted", key_id)


async def _find(connection: AsyncConnection, key_id: str) -> "sa.Row[Any]":
    row = (await connection.execute(_SELECT.where(keys.c.id == key_id, _ADMIN))).one_or_none()
    if row is None:
        raise NotFound(f"No admin API key found with id {key_id!r}.", param="key_id")
    return row


def _object(row: "sa.Row[Any]") -> AdminApiKey:
    return AdminApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        owner=_owner(row),
    )


def _owner(row: "sa.Row[Any]") -> AdminApiKeyOwner:
    if row.user_id is None:
        return AdminApiKeyOwner()
    return AdminApiKeyOwner(
        type="user",
        object="organization.user",
        id=row.user_id,
        name=row.user_name or "",
        created_at=row.user_added_at,
        role=row.user_role,
    )
