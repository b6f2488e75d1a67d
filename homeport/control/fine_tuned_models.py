"""What fine-tuning has made: checkpoints of a job, and models that are deleted when nobody needs them any more.

made by its job -> usable by its project, and by those that it is shared with -> deleted: at once nobody may use it
"""

from typing import Protocol

import msgspec
import sqlalchemy as sa

from homeport.control import fine_tuning_states as states
from homeport.control import pages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import ModelNotFound, PermissionDenied
from homeport.store.blobs import Blobs
from homeport.store.tables import checkpoint_permissions, fine_tuned_models
from homeport.wire.fields import Deleted, Page
from homeport.wire.fine_tuning import FineTuningJobCheckpoint, Metrics


class Known(Protocol):
    def __call__(self, model: str) -> bool:
        """Whether there is a model of that name that nobody has fine-tuned."""
        ...


class Upstreams(Protocol):
    async def delete(self, model: sa.RowMapping) -> None:
        """Delete it there; that it is gone already is no error. Raises HomeportError."""
        ...


class FineTunedModels:
    def __init__(self, blobs: Blobs, known: Known, upstreams: Upstreams) -> None:
        self._blobs = blobs
        self._database = blobs.database
        self._known = known
        self._upstreams = upstreams

    async def checkpoints(self, owner: Owner, job_id: str, window: Window) -> Page[FineTuningJobCheckpoint]:
        """Of a job, the newest first: those that are there. Raises InvalidRequest: no such place in the list."""
        table = fine_tuned_models
        within = sa.and_(table.c.job_id == job_id, table.c.project_id == owner.project, table.c.step.is_not(None))
        async with self._database.read() as connection:
            found = await pages.page(
                connection, sa.select(table), window, seq=table.c.seq, id=table.c.id, within=within
            )
        return Page.of([_as_checkpoint(row._mapping) for row in found.rows], has_more=found.has_more)

    async def delete(self, owner: Owner, name: str) -> Deleted:
        """Its job stays as it is, and so does whatever was made from it. Raises ModelNotFound; PermissionDenied: it is
        no fine-tuned model, or another project's that shares it."""
        table = fine_tuned_models
        async with self._database.read() as connection:
            query = sa.select(table, usable(owner).label("usable")).where(table.c.name == name)
            found = (await connection.execute(query)).mappings().one_or_none()
        if found is None and not self._known(name):
            raise ModelNotFound.named(name)
        if found is None or found["project_id"] != owner.project:
            if found is not None and not found["usable"]:
                raise ModelNotFound.named(name)
            why = "is no fine-tuned model" if found is None else "is shared with this project, and belongs to another"
            raise PermissionDenied(
                f"You have insufficient permissions for this operation. The model `{name}` {why}: it cannot be deleted."
            )
        if found["upstream"] is not None:
            await self._upstreams.delete(found)
        async with self._database.write() as connection:
            await states.changed(connection)  # first: so do all who change what replicas look at
            gone = await connection.scalar(sa.delete(table).where(table.c.seq == found["seq"]).returning(table.c.seq))
        if gone is None:
            raise ModelNotFound.named(name)
        if found["digest"] is not None:
            await self._blobs.release([found["digest"]])
        return Deleted("model", name)


def usable(owner: Owner) -> "sa.ColumnElement[bool]":
    """Of `fine_tuned_models`: it is the project's, or shared with it."""
    shared = sa.select(1).where(
        checkpoint_permissions.c.checkpoint == fine_tuned_models.c.name,
        checkpoint_permissions.c.project_id == owner.project,
    )
    return sa.or_(fine_tuned_models.c.project_id == owner.project, shared.exists())


def _as_checkpoint(row: sa.RowMapping) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint(
        id=row["id"],
        created_at=row["created_at"],
        fine_tuned_model_checkpoint=row["name"],
        step_number=row["step"],
        metrics=msgspec.convert(row["metrics"] or {}, Metrics),
        fine_tuning_job_id=row["job_id"],
    )
