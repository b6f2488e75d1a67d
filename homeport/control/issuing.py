"""Keys are made and revoked here, whoever's they are: at random, told once, kept as a hash and a few characters."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from homeport import clock, ids
from homeport.control.changes import Change
from homeport.control.keys import redacted
from homeport.errors import InvalidRequest
from homeport.store.tables import keys, spend_limits

Project = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Issued:
    """value: the key. It is nowhere else, and cannot be asked for again."""

    id: str
    name: str
    created_at: int
    expires_at: int | None
    redacted: str
    value: str = field(repr=False)


async def issue(
    change: Change,
    *,
    kind: Literal["project", "admin", "owner"],
    name: str,
    project: Project | None = None,
    expires_at: int | None = None,
    details: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Issued:
    """Make a key. project: id and name. columns: others of the table. details: for the audit log, beside the scopes."""
    secret = ids.secret_admin_key() if kind == "admin" else ids.secret_key()
    made = Issued(ids.key(), name, int(clock.now()), expires_at, redacted(secret), secret)
    await change.connection.execute(
        keys.insert().values(
            id=made.id,
            kind=kind,
            project_id=project[0] if project else None,
            name=name,
            sha256=hashlib.sha256(secret.encode()).digest(),
            redacted=made.redacted,
            created_at=made.created_at,
            expires_at=expires_at,
            **columns,
        )
    )
    data = {"name": name, "scopes": columns.get("scopes") or ["all"], **(details or {})}
    change.log("api_key.created", made.id, project=project, details={"data": data})
    return made


async def revoke(change: Change, key_id: str, *, project: Project | None = None) -> None:
    """Forget a key, and the limits on what it may spend."""
    await change.connection.execute(sa.delete(keys).where(keys.c.id == key_id))
    await change.connection.execute(
        sa.delete(spend_limits).where(spend_limits.c.scope == "key", spend_limits.c.subject == key_id)
    )
    change.log("api_key.deleted", key_id, project=project)


def expiry(expires_in_seconds: int | None, expires_at: int | None = None) -> int | None:
    """The second from which a key is refused. Raises InvalidRequest: it is not ahead."""
    now = int(clock.now())
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest(
            f"Invalid 'expires_at': {expires_at} is not in the future. It counts seconds since 1970.",
            param="expires_at",
            code="invalid_value",
        )
    return expires_at if expires_in_seconds is None else now + expires_in_seconds
