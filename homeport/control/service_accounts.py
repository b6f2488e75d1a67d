"""Service accounts of projects: whoever is no person, with keys of its own that go when it goes."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import issuing, pages, projects
from homeport.control.api_keys import ApiKeys
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.tables import keys, service_accounts
from homeport.wire.admin.service_accounts import (
    ProjectServiceAccount,
    ProjectServiceAccountApiKey,
    ProjectServiceAccountApiKeyCreateRequest,
    ProjectServiceAccountCreateRequest,
    ProjectServiceAccountCreateResponse,
    ProjectServiceAccountUpdateRequest,
    Role,
)
from homeport.wire.fields import Deleted, Page

#: What OpenAI calls a key that nobody has named.
KEY_NAME = "Secret Key"


class ServiceAccounts:
    def __init__(self, changes: Changes, api_keys: ApiKeys) -> None:
        """api_keys: for what a key may be restricted to."""
        self._changes = changes
        self._api_keys = api_keys

    async def list(self, project_id: str, window: Window) -> Page[ProjectServiceAccount]:
        table = service_accounts
        within = table.c.project_id == project_id
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            found = await pages.page(
                connection, sa.select(table), window, seq=table.c.seq, id=table.c.id, within=within
            )
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(
        self, actor: Actor, project_id: str, asked: ProjectServiceAccountCreateRequest
    ) -> ProjectServiceAccountCreateResponse:
        account_id = ids.service_account()
        bare = bool(asked.create_service_account_only)
        role: Role = "none" if bare else "member"
        created_at = int(clock.now())
        async with self._changes.change(actor) as change:
            row = await projects.find_active(change.connection, project_id)
            project = (project_id, row.name)
            await change.connection.execute(
                service_accounts.insert().values(
                    id=account_id, project_id=project_id, name=asked.name, role=role, created_at=created_at
                )
            )
            details = {"data": {"role": role, "name": asked.name}}
            change.log("service_account.created", account_id, project=project, details=details)
            key = None
            if not bare:
                key = await _issue(change, project, account_id, KEY_NAME, life=asked.expires_in_seconds)
        return ProjectServiceAccountCreateResponse(account_id, asked.name, role, created_at, key)

    async def retrieve(self, project_id: str, account_id: str) -> ProjectServiceAccount:
        async with self._changes.database.read() as connection:
            await projects.find(connection, project_id)
            return _object(await _find(connection, project_id, account_id))

    async def modify(
        self, actor: Actor, project_id: str, account_id: str, asked: ProjectServiceAccountUpdateRequest
    ) -> ProjectServiceAccount:
        values = {name: value for name, value in (("name", asked.name), ("role", asked.role)) if value is not None}
        if not values:
            return await self.retrieve(project_id, account_id)
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            await _find(change.connection, project_id, account_id)
            await change.connection.execute(
                sa.update(service_accounts).where(service_accounts.c.id == account_id).values(**values)
            )
            change.log(
                "service_account.updated",
                account_id,
                project=(project_id, project.name),
                details={"changes_requested": values},
            )
            return _object(await _find(change.connection, project_id, account_id))

    async def delete(self, actor: Actor, project_id: str, account_id: str) -> Deleted:
        """Its keys stop."""
        async with self._changes.change(actor) as change:
            row = await projects.find_active(change.connection, project_id)
            project = (project_id, row.name)
            await _find(change.connection, project_id, account_id)
            owned = sa.select(keys.c.id).where(keys.c.service_account_id == account_id).order_by(keys.c.seq)
            for key_id in (await change.connection.scalars(owned)).all():
                await issuing.revoke(change, key_id, project=project)
            await change.connection.execute(sa.delete(service_accounts).where(service_accounts.c.id == account_id))
            change.log("service_account.deleted", account_id, project=project)
        return Deleted("organization.project.service_account.deleted", account_id)

    async def create_key(
        self, actor: Actor, project_id: str, account_id: str, asked: ProjectServiceAccountApiKeyCreateRequest
    ) -> ProjectServiceAccountApiKey:
        async with self._changes.change(actor) as change:
            project = await projects.find_active(change.connection, project_id)
            await _find(change.connection, project_id, account_id)
            return await _issue(
                change,
                (project_id, project.name),
                account_id,
                asked.name or KEY_NAME,
                life=asked.expires_in_seconds,
                scopes=self._api_keys.checked_scopes(asked.scopes),
            )


async def _issue(
    change: Change, project: tuple[str, str], account_id: str, name: str, *, life: int | None, scopes: Any = None
) -> ProjectServiceAccountApiKey:
    made = await issuing.issue(
        change,
        kind="project",
        name=name,
        project=project,
        expires_at=issuing.expiry(life),
        scopes=scopes,
        service_account_id=account_id,
    )
    return ProjectServiceAccountApiKey(made.value, made.name, made.created_at, made.id)


async def _find(connection: AsyncConnection, project_id: str, account_id: str) -> "sa.Row[Any]":
    table = service_accounts
    query = sa.select(table).where(table.c.id == account_id, table.c.project_id == project_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(
            f"No service account found with id {account_id!r} in the project {project_id!r}.",
            param="service_account_id",
        )
    return row


def _object(row: "sa.Row[Any]") -> ProjectServiceAccount:
    return ProjectServiceAccount(row.id, row.name, row.role, row.created_at)
