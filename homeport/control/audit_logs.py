"""The audit log, newest first: who changed what, and when."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from homeport.control import pages
from homeport.control.pages import Window
from homeport.store.database import Database
from homeport.store.tables import audit_logs
from homeport.wire.admin.audit_logs import AuditLog
from homeport.wire.fields import Page

_ACTOR = audit_logs.c.actor
_BOUNDS: Mapping[str, Callable[[Any, int], "sa.ColumnElement[bool]"]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What an entry must be; what is empty or None admits every one."""

    project_ids: Sequence[str] = ()
    event_types: Sequence[str] = ()
    #: Of users, of service accounts, or of keys.
    actor_ids: Sequence[str] = ()
    actor_emails: Sequence[str] = ()
    resource_ids: Sequence[str] = ()
    #: `gt`, `gte`, `lt`, `lte` -> unix seconds.
    effective_at: Mapping[str, int] = field(default_factory=dict)
    #: Events of a tenant, of which there are none here.
    tenant_only: bool = False

    def conditions(self) -> list["sa.ColumnElement[bool]"]:
        found: list[sa.ColumnElement[bool]] = []
        if self.tenant_only:
            found.append(sa.false())
        if self.project_ids:
            found.append(audit_logs.c.project_id.in_(self.project_ids))
        if self.event_types:
            found.append(audit_logs.c.type.in_(self.event_types))
        if self.actor_ids:
            found.append(audit_logs.c.actor_id.in_(self.actor_ids) | _actor("api_key", "id").in_(self.actor_ids))
        if self.actor_emails:
            users = (_actor("api_key", "user", "email"), _actor("session", "user", "email"))
            found.append(sa.or_(*(email.in_(self.actor_emails) for email in users)))
        if self.resource_ids:
            found.append(audit_logs.c.resource_id.in_(self.resource_ids))
        found += [_BOUNDS[name](audit_logs.c.effective_at, value) for name, value in self.effective_at.items()]
        return found


class AuditLogs:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, window: Window, filters: Filters) -> Page[AuditLog]:
        query = sa.select(audit_logs).where(*filters.conditions())
        window = replace(window, descending=True)
        async with self._database.read() as connection:
            found = await pages.page(connection, query, window, seq=audit_logs.c.seq, id=audit_logs.c.id)
        data = [_object(row) for row in found.rows]
        return Page(data, found.has_more, data[0]["id"] if data else None, data[-1]["id"] if data else None)


def _actor(*path: str) -> "sa.ColumnElement[str]":
    """A member of the actor's object, as text."""
    member: sa.ColumnElement[str] = _ACTOR[path].as_string()
    return member


def _object(row: "sa.Row[Any]") -> AuditLog:
    entry = {"id": row.id, "type": row.type, "effective_at": row.effective_at, "actor": row.actor}
    if row.project_id is not None:
        entry["project"] = {"id": row.project_id, "name": row.project_name}
    return {**entry, row.type: row.details}
