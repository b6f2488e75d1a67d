"""API keys of projects: listed, made, changed, rotated with an overlap, revoked."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import issuing, pages, projects
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.store import tables
from homeport.store.tables import keys, project_users, service_accounts, spend_limits, users
from homeport.wire.admin.api_keys import (
    KeyRateLimits,
    ProjectApiKey,
    ProjectApiKeyCreateRequest,
    ProjectApiKeyModifyRequest,
    ProjectApiKeyOwner,
    ProjectApiKeyOwnerServiceAccount,
    ProjectApiKeyOwnerUser,
    ProjectApiKeyRotateRequest,
    ProjectApiKeyUpdateRequest,
    ScopeList,
    ScopeListed,
)
from homeport.wire.base import unsupported_value
from homeport.wire.fields import Deleted, Page

#: Whether whoever has the key may still use the project: a user who is in it, a service account that has a role in it,
#: or nobody in particular; nobody may once it is archived.
_ACTIVE = sa.and_(
    tables.projects.c.archived_at.is_(None),
    sa.or_(
        sa.and_(keys.c.user_id.is_(None), keys.c.service_account_id.is_(None)),
        project_users.c.seq.is_not(None),
        sa.func.coalesce(service_accounts.c.role, "none") != "none",
    ),
)
_IN_PROJECT = sa.and_(project_users.c.project_id == keys.c.project_id, project_users.c.user_id == keys.c.user_id)
_SELECT = sa.select(
    keys,
    _ACTIVE.label("active"),
    users.c.email.label("user_email"),
    users.c.name.label("user_name"),
    users.c.added_at.label("user_added_at"),
    project_users.c.role.label("user_role"),
    service_accounts.c.name.label("account_name"),
    service_accounts.c.created_at.label("account_created_at"),
    service_accounts.c.role.label("account_role"),
).select_from(
    keys.join(tables.projects, keys.c.project_id == tables.projects.c.id)
    .outerjoin(users, keys.c.user_id == users.c.id)
    .outerjoin(project_users, _IN_PROJECT)
    .outerjoin(service_accounts, keys.c.service_account_id == service_accounts.c.id)
)


class ApiKeys:
    def __init__(self, changes: Changes, scopes: Collection[str]) -> None:
        """scopes: those that mean something here, without their `api.`."""
        self._changes = changes
        self._scopes = scopes

    async def list(
        self, project_id: str, window: Window, *, owner_project_access: Literal["active", "inactive", "any"] = "any"
    ) -> Page[ProjectApiKey]:
        query = _SELECT
        if owner_project_access != "any":
            query = query.where(_ACTIVE if owner_project_access == "active" else sa.not_(_ACTIVE))
        within = keys.c.project_id == project_id
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            found = await pages.page(connection, query, window, seq=keys.c.seq, id=keys.c.id, within=within)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, project_id: str, key_id: str) -> ProjectApiKey:
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            return _object(await find(connection, project_id, key_id))

    async def create(self, actor: Actor, project_id: str, asked: ProjectApiKeyCreateRequest) -> ProjectApiKey:
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            if asked.user_id is not None:
                await _check_member(change.connection, project_id, asked.user_id)
            made = await issuing.issue(
                change,
                kind="project",
                name=asked.name,
                project=(project_id, project.name),
                expires_at=issuing.expiry(asked.expires_in_seconds, asked.expires_at),
                scopes=self.checked_scopes(asked.scopes),
                models=_distinct(asked.models),
                rate_limits=_limits(asked.rate_limits),
                user_id=asked.user_id,
                details={"models": _distinct(asked.models), "rate_limits": _limits(asked.rate_limits)},
            )
            return await _shown_once(change, project_id, made)

    async def update(
        self, actor: Actor, project_id: str, key_id: str, asked: ProjectApiKeyUpdateRequest
    ) -> ProjectApiKey:
        """OpenAI's: scopes and the end. Raises InvalidRequest: the key has ended already."""
        values: dict[str, Any] = {}
        if asked.scopes is not UNSET:
            values["scopes"] = self.checked_scopes(asked.scopes)
        if asked.expires_in_seconds is not UNSET:
            values["expires_at"] = issuing.expiry(asked.expires_in_seconds)
        return await self._set(actor, project_id, key_id, values)

    async def modify(
        self, actor: Actor, project_id: str, key_id: str, asked: ProjectApiKeyModifyRequest
    ) -> ProjectApiKey:
        """Our own: whatever a key has beside its end."""
        values: dict[str, Any] = {}
        if asked.name is not UNSET:
            values["name"] = asked.name
        if asked.scopes is not UNSET:
            values["scopes"] = self.checked_scopes(asked.scopes)
        if asked.models is not UNSET:
            values["models"] = _distinct(asked.models)
        if asked.rate_limits is not UNSET:
            values["rate_limits"] = _limits(asked.rate_limits)
        if not values:
            return await self.retrieve(project_id, key_id)
        return await self._set(actor, project_id, key_id, values)

    async def rotate(
        self, actor: Actor, project_id: str, key_id: str, asked: ProjectApiKeyRotateRequest
    ) -> ProjectApiKey:
        """A new key with the settings of the old one, which ends after the overlap, or when it would have anyway.

        Spend limits go with it; what the old key has spent does not count for the new one. Raises InvalidRequest: the
        key has ended, or was rotated before.
        """
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            old = await _find_alive(change.connection, project_id, key_id)
            if old.replaced_by is not None:
                raise InvalidRequest(
                    f"The key {key_id!r} was rotated before, into {old.replaced_by!r}. Rotate that one.",
                    param="api_key_id",
                )
            life = asked.expires_in_seconds
            made = await issuing.issue(
                change,
                kind=old.kind,
                name=old.name,
                project=(project_id, project.name),
                expires_at=old.expires_at if isinstance(life, UnsetType) else issuing.expiry(life),
                scopes=old.scopes,
                models=old.models,
                rate_limits=old.rate_limits,
                user_id=old.user_id,
                service_account_id=old.service_account_id,
                details={"rotated_from": key_id},
            )
            await _copy_spend_limits(change.connection, key_id, made.id)
            end = int(clock.now()) + asked.overlap_seconds
            end = end if old.expires_at is None else min(end, old.expires_at)
            await change.connection.execute(
                sa.update(keys).where(keys.c.id == key_id).values(expires_at=end, replaced_by=made.id)
            )
            requested = {"expires_at": end, "rotated_into": made.id}
            change.log(
                "api_key.updated", key_id, project=(project_id, project.name), details={"changes_requested": requested}
            )
            return await _shown_once(change, project_id, made)

    async def delete(self, actor: Actor, project_id: str, key_id: str, *, of_service_accounts: bool = False) -> Deleted:
        """OpenAI lets the keys of service accounts go with their account alone; of_service_accounts: here as well."""
        async with self._changes.change(actor) as change:
            project = await projects.find(change.connection, project_id)
            row = await find(change.connection, project_id, key_id)
            if row.service_account_id is not None and not of_service_accounts:
                raise InvalidRequest(
                    f"The key {key_id!r} belongs to the service account {row.service_account_id!r}. Delete the service "
                    "account, rotate the key, or delete it under /v1/homeport.",
                    param="api_key_id",
                )
            await issuing.revoke(change, key_id, project=(project_id, project.name))
        return Deleted("organization.project.api_key.deleted", key_id)

    def scopes(self) -> ScopeList:
        return ScopeList([ScopeListed(name) for name in sorted(self._scopes)])

    def checked_scopes(self, scopes: Sequence[str] | None) -> Sequence[str] | None:
        """None: no restriction; OpenAI says it with an empty list, too. Raises InvalidRequest: an unknown one."""
        for place, scope in enumerate(scopes or ()):
            if scope.removeprefix("api.") not in self._scopes:
                known = ", ".join(f"'{one}'" for one in sorted(self._scopes))
                raise unsupported_value(f"scopes[{place}]", scope, known)
        return _distinct(scopes) or None

    async def _set(self, actor: Actor, project_id: str, key_id: str, values: dict[str, Any]) -> ProjectApiKey:
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            await _find_alive(change.connection, project_id, key_id)
            await change.connection.execute(sa.update(keys).where(keys.c.id == key_id).values(**values))
            requested = {**values, "scopes": values["scopes"] or ["all"]} if "scopes" in values else values
            change.log(
                "api_key.updated", key_id, project=(project_id, project.name), details={"changes_requested": requested}
            )
            return _object(await find(change.connection, project_id, key_id))


async def find(connection: AsyncConnection, project_id: str, key_id: str) -> "sa.Row[Any]":
    """A key of a project, with its owner. Raises NotFound."""
    query = _SELECT.where(keys.c.id == key_id, keys.c.project_id == project_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"No API key found with id {key_id!r} in the project {project_id!r}.", param="api_key_id")
    return row


async def _find_alive(connection: AsyncConnection, project_id: str, key_id: str) -> "sa.Row[Any]":
    row = await find(connection, project_id, key_id)
    if row.expires_at is not None and row.expires_at <= clock.now():
        raise InvalidRequest(f"The key {key_id!r} has expired. Expired keys cannot be updated.", param="api_key_id")
    return row


async def _check_member(connection: AsyncConnection, project_id: str, user_id: str) -> None:
    query = sa.select(project_users.c.seq).where(
        project_users.c.project_id == project_id, project_users.c.user_id == user_id
    )
    if await connection.scalar(query) is None:
        raise InvalidRequest(f"No user {user_id!r} is in the project {project_id!r}. Add it first.", param="user_id")


async def _copy_spend_limits(connection: AsyncConnection, old: str, new: str) -> None:
    query = sa.select(spend_limits).where(spend_limits.c.scope == "key", spend_limits.c.subject == old)
    for row in (await connection.execute(query)).all():
        await connection.execute(
            spend_limits.insert().values(
                scope="key", subject=new, interval=row.interval, threshold_cents=row.threshold_cents
            )
        )


async def _shown_once(change: Change, project_id: str, made: issuing.Issued) -> ProjectApiKey:
    created = _object(await find(change.connection, project_id, made.id))
    created.value = made.value
    return created


def _distinct(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else [*dict.fromkeys(values)]


def _limits(limits: KeyRateLimits | None) -> dict[str, int] | None:
    """None where none is set."""
    return (msgspec.to_builtins(limits) or None) if limits is not None else None


def _object(row: "sa.Row[Any]") -> ProjectApiKey:
    return ProjectApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        owner_project_access="active" if row.active else "inactive",
        owner=_owner(row),
        scopes=row.scopes,
        models=row.models,
        rate_limits=row.rate_limits,
        replaced_by=row.replaced_by,
    )


def _owner(row: "sa.Row[Any]") -> ProjectApiKeyOwner:
    if row.service_account_id is not None:
        account = ProjectApiKeyOwnerServiceAccount(
            row.service_account_id, row.account_name, row.account_created_at, row.account_role
        )
        return ProjectApiKeyOwner(type="service_account", service_account=account)
    if row.user_id is not None:
        user = ProjectApiKeyOwnerUser(
            row.user_id, row.user_email, row.user_name or "", row.user_added_at, row.user_role or "none"
        )
        return ProjectApiKeyOwner(type="user", user=user)
    return ProjectApiKeyOwner()
