"""Spend alerts: who is to be told once the organization, or a project, has spent that much in a month."""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import ids
from homeport.control import pages, projects
from homeport.control.changes import Actor, Change, Changes
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.tables import spend_alerts
from homeport.wire.admin.spend import SpendAlert, SpendAlertNotificationChannel, SpendAlertRequest
from homeport.wire.fields import Deleted, Page


class SpendAlerts:
    """project_id: None for the organization's, everywhere."""

    def __init__(self, changes: Changes, *, organization: str) -> None:
        """organization: its id, for the audit log."""
        self._changes = changes
        self._organization = organization

    async def list(self, project_id: str | None, window: Window) -> Page[SpendAlert]:
        table = spend_alerts
        async with self._changes.database.read() as connection:
            if project_id is not None:
                await projects.find(connection, project_id)
            found = await pages.page(
                connection, sa.select(table), window, seq=table.c.seq, id=table.c.id, within=_of(project_id)
            )
        return Page.of([_object(row) for row in found.rows], has_more=found.has_more)

    async def create(self, actor: Actor, project_id: str | None, asked: SpendAlertRequest) -> SpendAlert:
        alert_id = ids.spend_alert()
        async with self._changes.change(actor) as change:
            project = await _project(change.connection, project_id)
            await change.connection.execute(
                spend_alerts.insert().values(id=alert_id, project_id=project_id, **_columns(asked))
            )
            self._log(change, project, {"id": alert_id, **msgspec.to_builtins(asked)})
            return _object(await _find(change.connection, project_id, alert_id))

    async def retrieve(self, project_id: str | None, alert_id: str) -> SpendAlert:
        async with self._changes.database.read() as connection:
            if project_id is not None:
                await projects.find(connection, project_id)
            return _object(await _find(connection, project_id, alert_id))

    async def modify(self, actor: Actor, project_id: str | None, alert_id: str, asked: SpendAlertRequest) -> SpendAlert:
        """Another threshold may be told of again in the same month."""
        async with self._changes.change(actor) as change:
            project = await _project(change.connection, project_id)
            row = await _find(change.connection, project_id, alert_id)
            values = _columns(asked)
            if row.threshold_cents != asked.threshold_amount:
                values["told_for"] = None
            await change.connection.execute(
                sa.update(spend_alerts).where(spend_alerts.c.id == alert_id).values(**values)
            )
            self._log(change, project, {"id": alert_id, **msgspec.to_builtins(asked)})
            return _object(await _find(change.connection, project_id, alert_id))

    async def delete(self, actor: Actor, project_id: str | None, alert_id: str) -> Deleted:
        async with self._changes.change(actor) as change:
            project = await _project(change.connection, project_id)
            alert = _object(await _find(change.connection, project_id, alert_id))
            await change.connection.execute(sa.delete(spend_alerts).where(spend_alerts.c.id == alert_id))
            self._log(change, project, {"id": alert_id, "deleted": True})
        return Deleted(f"{alert.object}.deleted", alert_id)

    def _log(self, change: Change, project: tuple[str, str] | None, value: dict[str, Any]) -> None:
        kind = "organization.updated" if project is None else "project.updated"
        details = {"changes_requested": {"spend_alert": value}}
        change.log(kind, project[0] if project else self._organization, project=project, details=details)


async def _project(connection: AsyncConnection, project_id: str | None) -> tuple[str, str] | None:
    """Id and name of a project that may be changed. Raises NotFound, InvalidRequest."""
    if project_id is None:
        return None
    row = await projects.find_active(connection, project_id)
    return row.id, row.name


def _of(project_id: str | None) -> "sa.ColumnElement[bool]":
    column = spend_alerts.c.project_id
    return column.is_(None) if project_id is None else column == project_id


async def _find(connection: AsyncConnection, project_id: str | None, alert_id: str) -> "sa.Row[Any]":
    query = sa.select(spend_alerts).where(spend_alerts.c.id == alert_id, _of(project_id))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"No spend alert found with id {alert_id!r}.", param="alert_id")
    return row


def _columns(asked: SpendAlertRequest) -> dict[str, Any]:
    return {
        "threshold_cents": asked.threshold_amount,
        "interval": asked.interval,
        "notification_channel": msgspec.to_builtins(asked.notification_channel),
    }


def _object(row: "sa.Row[Any]") -> SpendAlert:
    return SpendAlert(
        id=row.id,
        object="organization.spend_alert" if row.project_id is None else "project.spend_alert",
        threshold_amount=row.threshold_cents,
        interval=row.interval,
        notification_channel=msgspec.convert(row.notification_channel, SpendAlertNotificationChannel),
    )
