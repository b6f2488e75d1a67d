"""The one way to change the rows that the operator rules: a transaction that also writes the audit log.

    async with changes.change(actor) as change:
        await change.connection.execute(projects.insert().values(...))
        change.log("project.created", project_id, project=(project_id, name), details={"data": {"name": name}})

A change is there whole or not at all, is in the log of it, and is seen by every replica within a second: the
transaction raises `revision`, which the replicas look at.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.store.database import Database
from homeport.store.tables import audit_logs, revision


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes. key_id: of the key that asked; None for the command line of this machine. user: id and e-mail.
    address: of a browser from which somebody signs in or out; without a key, whoever it was."""

    key_id: str | None = None
    user_id: str | None = None
    user_email: str | None = None
    address: str | None = None

    @property
    def id(self) -> str:
        return self.user_id or self.key_id or ("command_line" if self.address is None else "unknown")

    def as_object(self) -> dict[str, Any]:
        """`AuditLogActor` of the description."""
        key = {} if self.key_id is None else {"api_key": self._key(self.key_id)}
        if key and self.address is None:
            return {"type": "api_key", **key}
        user = {"id": self.id, "email": self.user_email or ""}
        return {"type": "session", "session": {"user": user, "ip_address": self.address or "127.0.0.1"}, **key}

    def _key(self, key_id: str) -> dict[str, Any]:
        if self.user_id is None:
            return {"id": key_id, "type": "service_account"}
        return {"id": key_id, "type": "user", "user": {"id": self.user_id, "email": self.user_email or ""}}


#: Whoever has the command line of this machine.
COMMAND_LINE = Actor()


@dataclass(slots=True)
class Change:
    """A transaction under way."""

    connection: AsyncConnection
    actor: Actor
    entries: list[dict[str, Any]] = field(default_factory=list)

    def log(
        self,
        kind: str,
        resource_id: str,
        *,
        project: tuple[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """kind: OpenAI's event type. project: id and name. details: what its object holds beside the id; no secrets."""
        self.entries.append(
            {
                "id": ids.audit_log(),
                "type": kind,
                "effective_at": int(clock.now()),
                "actor": self.actor.as_object(),
                "actor_id": self.actor.id,
                "project_id": project[0] if project else None,
                "project_name": project[1] if project else None,
                "resource_id": resource_id,
                "details": {"id": resource_id, **(details or {})},
            }
        )


class Changes:
    def __init__(self, database: Database, on_change: Callable[[], Awaitable[None]] | None = None) -> None:
        """on_change: called in this process once a change is on disk, and before whoever asked for it is answered."""
        self.database = database
        self._on_change = on_change

    @asynccontextmanager
    async def change(self, actor: Actor) -> AsyncGenerator[Change, None]:
        """Raises Unavailable, and whatever the block raises; then nothing was changed.

        One change at a time, on PostgreSQL too: the row of `revision` is taken first. So what a change has looked at
        stays as it was until it is made, and the audit log is numbered in the order in which its entries appear.
        """
        async with self.database.write() as connection:
            await connection.execute(sa.update(revision).values(value=revision.c.value + 1))
            change = Change(connection, actor)
            yield change
            assert change.entries, "a change must be in the audit log"
            await connection.execute(audit_logs.insert(), change.entries)
        if self._on_change is not None:
            await self._on_change()
