"""Who else may use a fine-tuned model: the operator shares it with other projects of the organization."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import pages, projects
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, ModelNotFound, NotFound
from homeport.store.tables import checkpoint_permissions as table
from homeport.store.tables import fine_tuned_models
from homeport.wire.fields import Deleted, Page
from homeport.wire.fine_tuning import CheckpointPermission, CreateCheckpointPermissionRequest


class CheckpointPermissions:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def list(self, checkpoint: str, window: Window, project_id: str | None) -> Page[CheckpointPermission]:
        """project_id: its alone. Raises ModelNotFound; InvalidRequest: no such place in the list."""
        query = sa.select(table)
        if project_id is not None:
            query = query.where(table.c.project_id == project_id)
        async with self._changes.database.read() as connection:
            await _owner(connection, checkpoint)
            found = await pages.page(
                connection, query, window, seq=table.c.seq, id=table.c.id, within=table.c.checkpoint == checkpoint
            )
        return Page.of([_as_object(row) for row in found.rows], has_more=found.has_more)

    async def create(
        self, actor: Actor, checkpoint: str, asked: CreateCheckpointPermissionRequest
    ) -> Page[CheckpointPermission]:
        """For each of the projects; a permission that was there already stays as it was.

        Raises ModelNotFound; NotFound: there is no such project; InvalidRequest: it is archived, or the model is its
        own."""
        wanted = [*dict.fromkeys(asked.project_ids)]
        while True:
            async with self._changes.database.read() as connection:
                owner = await _owner(connection, checkpoint)
                for project_id in wanted:
                    await _check(connection, project_id, owner)
                there = await _there(connection, checkpoint, wanted)
            missing = [one for one in wanted if one not in there]
            if not missing:
                return Page.of([_as_object(there[one]) for one in wanted], has_more=False)
            try:
                async with self._changes.change(actor) as change:
                    await _owner(change.connection, checkpoint)
                    for project_id in missing:
                        await _grant(change, checkpoint, project_id)
            except IntegrityError:  # somebody else has granted one of them meanwhile
                continue

    async def delete(self, actor: Actor, checkpoint: str, permission_id: str) -> Deleted:
        """Raises ModelNotFound, NotFound."""
        async with self._changes.change(actor) as change:
            await _owner(change.connection, checkpoint)
            this = table.c.id == permission_id, table.c.checkpoint == checkpoint
            deleted = sa.delete(table).where(*this).returning(table.c.project_id)
            project_id = await change.connection.scalar(deleted)
            if project_id is None:
                raise NotFound(f"No checkpoint permission found with id {permission_id!r}.", param="permission_id")
            project = await projects.find(change.connection, project_id)
            change.log("checkpoint.permission.deleted", permission_id, project=(project.id, project.name))
        return Deleted("checkpoint.permission", permission_id)


async def _owner(connection: AsyncConnection, checkpoint: str) -> str:
    """The project that a model belongs to. Raises ModelNotFound."""
    query = sa.select(fine_tuned_models.c.project_id).where(fine_tuned_models.c.name == checkpoint)
    owner: str | None = await connection.scalar(query)
    if owner is None:
        missing = ModelNotFound.named(checkpoint)
        missing.param = "fine_tuned_model_checkpoint"
        raise missing
    return owner


async def _check(connection: AsyncConnection, project_id: str, owner: str) -> None:
    try:
        await projects.find_active(connection, project_id)
    except (NotFound, InvalidRequest) as error:
        error.param = "project_ids"
        raise
    if project_id == owner:
        raise InvalidRequest(
            f"The model belongs to the project {project_id!r} already.", param="project_ids", code="invalid_value"
        )


async def _there(connection: AsyncConnection, checkpoint: str, project_ids: Sequence[str]) -> dict[str, "sa.Row[Any]"]:
    """Project -> its permission."""
    query = sa.select(table).where(table.c.checkpoint == checkpoint, table.c.project_id.in_(project_ids))
    return {row.project_id: row for row in await connection.execute(query)}


async def _grant(change: Change, checkpoint: str, project_id: str) -> None:
    project = await projects.find_active(change.connection, project_id)
    permission_id = ids.checkpoint_permission()
    row = {"id": permission_id, "checkpoint": checkpoint, "project_id": project_id, "created_at": int(clock.now())}
    await change.connection.execute(table.insert().values(row))
    data = {"project_id": project_id, "fine_tuned_model_checkpoint": checkpoint}
    change.log(
        "checkpoint.permission.created", permission_id, project=(project_id, project.name), details={"data": data}
    )


def _as_object(row: "sa.Row[Any]") -> CheckpointPermission:
    return CheckpointPermission(id=row.id, created_at=row.created_at, project_id=row.project_id)
