"""Projects: created, renamed, archived, never deleted; and which models they may use."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import pages
from homeport.control.bootstrap import default_project
from homeport.control.changes import Actor, Changes
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.settings import Moderation
from homeport.store.tables import projects
from homeport.wire.admin.projects import (
    ModerationConfig,
    ModerationPolicy,
    Project,
    ProjectCreateRequest,
    ProjectModelPermissions,
    ProjectModelPermissionsDeleted,
    ProjectModelPermissionsUpdateRequest,
    ProjectModeration,
    ProjectModerationDeleted,
    ProjectModerationUpdateRequest,
    ProjectUpdateRequest,
)
from homeport.wire.base import unsupported_value
from homeport.wire.fields import Page


class Projects:
    def __init__(self, changes: Changes, tiers: Collection[str], moderation: Moderation | None = None) -> None:
        """tiers: the names that the settings know. moderation: of projects that have no rule of their own; None:
        nothing is."""
        self._changes = changes
        self._moderation = moderation or Moderation()
        self._tiers = tiers

    async def list(self, window: Window, *, include_archived: bool = False) -> Page[Project]:
        query = sa.select(projects)
        if not include_archived:
            query = query.where(projects.c.archived_at.is_(None))
        async with self._changes.database.read() as connection:
            found = await pages.page(connection, query, window, seq=projects.c.seq, id=projects.c.id)
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(self, actor: Actor, asked: ProjectCreateRequest) -> Project:
        project_id = ids.project()
        async with self._changes.change(actor) as change:
            await change.connection.execute(
                projects.insert().values(id=project_id, name=asked.name, created_at=int(clock.now()))
            )
            details = {"data": {"name": asked.name, "title": asked.name}}
            change.log("project.created", project_id, project=(project_id, asked.name), details=details)
            return _object(await find(change.connection, project_id))

    async def retrieve(self, project_id: str) -> Project:
        async with self._changes.database.read() as connection:
            return _object(await find(connection, project_id))

    async def modify(self, actor: Actor, project_id: str, asked: ProjectUpdateRequest) -> Project:
        if asked.name is None:
            return await self.retrieve(project_id)
        return await self._set(actor, project_id, {"name": asked.name}, {"name": asked.name, "title": asked.name})

    async def set_tier(self, actor: Actor, project_id: str, tier: str | None) -> Project:
        """None: the tier of the settings."""
        if tier is not None and tier not in self._tiers:
            raise unsupported_value("tier", tier, ", ".join(f"'{name}'" for name in self._tiers))
        return await self._set(actor, project_id, {"tier": tier}, {"tier": tier})

    async def archive(self, actor: Actor, project_id: str) -> Project:
        """Its keys stop. There is no way back, and the default project stays."""
        async with self._changes.change(actor) as change:
            row = await find_active(change.connection, project_id)
            if project_id == await default_project(change.connection):
                raise InvalidRequest("The default project cannot be archived.", param="project_id")
            await change.connection.execute(
                sa.update(projects).where(projects.c.id == project_id).values(archived_at=int(clock.now()))
            )
            change.log("project.archived", project_id, project=(project_id, row.name))
            return _object(await find(change.connection, project_id))

    async def model_permissions(self, project_id: str) -> ProjectModelPermissions:
        """Of a project that has none: a list that denies nothing."""
        async with self._changes.database.read() as connection:
            row = await find(connection, project_id)
        return ProjectModelPermissions(**(row.model_permissions or {"mode": "deny_list", "model_ids": []}))

    async def set_model_permissions(
        self, actor: Actor, project_id: str, asked: ProjectModelPermissionsUpdateRequest
    ) -> ProjectModelPermissions:
        model_ids = [*dict.fromkeys(asked.model_ids)]
        value = {"mode": asked.mode, "model_ids": model_ids}
        await self._set(actor, project_id, {"model_permissions": value}, {"model_permissions": value})
        return ProjectModelPermissions(mode=asked.mode, model_ids=model_ids)

    async def delete_model_permissions(self, actor: Actor, project_id: str) -> ProjectModelPermissionsDeleted:
        async with self._changes.database.read() as connection:
            had = (await find_active(connection, project_id)).model_permissions is not None
        if had:
            await self._set(actor, project_id, {"model_permissions": None}, {"model_permissions": None})
        return ProjectModelPermissionsDeleted(deleted=had)

    async def moderation(self, project_id: str) -> ProjectModeration:
        """Of a project that has none: what the settings say."""
        async with self._changes.database.read() as connection:
            row = await find(connection, project_id)
        return _moderation(row.moderation or msgspec.to_builtins(self._moderation))

    async def set_moderation(
        self, actor: Actor, project_id: str, asked: ProjectModerationUpdateRequest
    ) -> ProjectModeration:
        value = {
            "model": asked.model or self._moderation.model,
            "input": asked.policy.input is not None,
            "output": asked.policy.output is not None,
            "threshold": asked.threshold,
        }
        await self._set(actor, project_id, {"moderation": value}, {"moderation": value})
        return _moderation(value)

    async def delete_moderation(self, actor: Actor, project_id: str) -> ProjectModerationDeleted:
        async with self._changes.database.read() as connection:
            had = (await find_active(connection, project_id)).moderation is not None
        if had:
            await self._set(actor, project_id, {"moderation": None}, {"moderation": None})
        return ProjectModerationDeleted(deleted=had)

    async def _set(self, actor: Actor, project_id: str, values: dict[str, Any], requested: dict[str, Any]) -> Project:
        async with self._changes.change(actor) as change:
            await find_active(change.connection, project_id)
            await change.connection.execute(sa.update(projects).where(projects.c.id == project_id).values(**values))
            row = await find(change.connection, project_id)
            details = {"changes_requested": requested}
            change.log("project.updated", project_id, project=(project_id, row.name), details=details)
            return _object(row)


async def find(connection: AsyncConnection, project_id: str) -> "sa.Row[Any]":
    """Raises NotFound."""
    row = (await connection.execute(sa.select(projects).where(projects.c.id == project_id))).one_or_none()
    if row is None:
        raise NotFound(f"No project found with id {project_id!r}.", param="project_id")
    return row


async def find_active(connection: AsyncConnection, project_id: str) -> "sa.Row[Any]":
    """A project that may be changed. Raises NotFound; InvalidRequest: it is archived."""
    row = await find(connection, project_id)
    if row.archived_at is not None:
        raise InvalidRequest(
            f"The project {project_id!r} is archived. Archived projects cannot be used or updated.", param="project_id"
        )
    return row


def _moderation(stored: Mapping[str, Any]) -> ProjectModeration:
    def config(direction: str) -> ModerationConfig | None:
        return ModerationConfig(mode="block") if stored[direction] else None

    policy = ModerationPolicy(input=config("input"), output=config("output"))
    return ProjectModeration(model=stored["model"], policy=policy, threshold=stored["threshold"])


def _object(row: "sa.Row[Any]") -> Project:
    return Project(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        archived_at=row.archived_at,
        status="active" if row.archived_at is None else "archived",
        tier=row.tier,
    )
