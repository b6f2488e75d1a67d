"""Spend limits: what the organization, a project or a key may spend in a month (UTC), or at all."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import api_keys, projects
from homeport.control.changes import Actor, Change, Changes
from homeport.errors import NotFound
from homeport.store.tables import spend_limits
from homeport.wire.admin.spend import (
    AnySpendLimitRequest,
    Interval,
    SpendLimit,
    SpendLimitDeleted,
    SpendLimitEnforcement,
    SpendLimitList,
    SpendLimitRequest,
)
from homeport.wire.admin_usage import Amount
from homeport.wire.money import NANO_PER_CENT, PICO_PER_NANO, dollars

#: (scope, subject, interval) -> nanodollars that have been spent. subject: empty for the organization.
Spent = Callable[[str, str, Interval], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose money it is: of the organization (no ids), of a project, or of a key in it."""

    project_id: str | None = None
    key_id: str | None = None

    @property
    def scope(self) -> str:
        return "organization" if self.project_id is None else "project" if self.key_id is None else "key"

    @property
    def id(self) -> str:
        return self.key_id or self.project_id or ""

    @property
    def object(self) -> str:
        return "project.api_key.spend_limit" if self.scope == "key" else f"{self.scope}.spend_limit"


ORGANIZATION = Subject()


class SpendLimits:
    def __init__(self, changes: Changes, spent: Spent, *, organization: str) -> None:
        """organization: its id, for the audit log."""
        self._changes = changes
        self._spent = spent
        self._organization = organization

    async def list(self, subject: Subject) -> SpendLimitList:
        """Each with what has been spent of it."""
        async with self._changes.database.read() as connection:
            await _check(connection, subject)
            rows = await _rows(connection, subject)
        return SpendLimitList([await self._object(subject, row, told=True) for row in rows])

    async def retrieve(self, subject: Subject, interval: Interval = "month") -> SpendLimit:
        async with self._changes.database.read() as connection:
            await _check(connection, subject)
            rows = await _rows(connection, subject, interval)
        if not rows:
            raise _none(subject)
        return await self._object(subject, rows[0])

    async def set(self, actor: Actor, subject: Subject, asked: SpendLimitRequest | AnySpendLimitRequest) -> SpendLimit:
        """Create or replace the one of its interval."""
        async with self._changes.change(actor) as change:
            project = await _check(change.connection, subject, to_change=True)
            rows = await _rows(change.connection, subject, asked.interval)
            if rows:
                statement = sa.update(spend_limits).where(spend_limits.c.seq == rows[0].seq)
                await change.connection.execute(statement.values(threshold_cents=asked.threshold_amount))
            else:
                await change.connection.execute(
                    spend_limits.insert().values(
                        scope=subject.scope,
                        subject=subject.id,
                        interval=asked.interval,
                        threshold_cents=asked.threshold_amount,
                    )
                )
            value = {
                "threshold_amount": asked.threshold_amount,
                "currency": asked.currency,
                "interval": asked.interval,
            }
            self._log(change, subject, project, value)
            row = (await _rows(change.connection, subject, asked.interval))[0]
        return await self._object(subject, row)

    async def delete(self, actor: Actor, subject: Subject, interval: Interval | None = None) -> SpendLimitDeleted:
        """interval: None for all."""
        async with self._changes.change(actor) as change:
            project = await _check(change.connection, subject, to_change=True)
            rows = await _rows(change.connection, subject, interval)
            if not rows:
                raise _none(subject)
            for row in rows:
                await change.connection.execute(sa.delete(spend_limits).where(spend_limits.c.seq == row.seq))
                self._log(change, subject, project, {"interval": row.interval, "deleted": True})
        return SpendLimitDeleted(f"{subject.object}.deleted")

    def _log(self, change: Change, subject: Subject, project: tuple[str, str] | None, value: dict[str, Any]) -> None:
        kind = {"organization": "organization.updated", "project": "project.updated", "key": "api_key.updated"}
        details = {"changes_requested": {"spend_limit": value}}
        change.log(kind[subject.scope], subject.id or self._organization, project=project, details=details)

    async def _object(self, subject: Subject, row: "sa.Row[Any]", *, told: bool = False) -> SpendLimit:
        """told: what has been spent as well."""
        spent = await self._spent(subject.scope, subject.id, row.interval)
        reached = spent >= row.threshold_cents * NANO_PER_CENT
        return SpendLimit(
            object=subject.object,
            threshold_amount=row.threshold_cents,
            interval=row.interval,
            enforcement=SpendLimitEnforcement("enforcing" if reached else "inactive"),
            spent=Amount(value=msgspec.Raw(dollars(spent * PICO_PER_NANO).encode())) if told else UNSET,
        )


async def _check(connection: AsyncConnection, subject: Subject, *, to_change: bool = False) -> tuple[str, str] | None:
    """The project's id and name, if any. Raises NotFound; InvalidRequest: it is archived and was to be changed."""
    if subject.project_id is None:
        return None
    find = projects.find_active if to_change else projects.find
    project = await find(connection, subject.project_id)
    if subject.key_id is not None:
        await api_keys.find(connection, subject.project_id, subject.key_id)
    return project.id, project.name


async def _rows(connection: AsyncConnection, subject: Subject, interval: Interval | None = None) -> "list[sa.Row[Any]]":
    query = sa.select(spend_limits).where(spend_limits.c.scope == subject.scope, spend_limits.c.subject == subject.id)
    if interval is not None:
        query = query.where(spend_limits.c.interval == interval)
    return [*(await connection.execute(query.order_by(spend_limits.c.interval))).all()]


def _none(subject: Subject) -> NotFound:
    return NotFound(f"The {subject.scope} has no such spend limit.")
