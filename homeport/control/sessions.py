"""Sessions of the dashboard: who has signed in with which key, on every replica and over a restart.

The cookie is a secret of its own, and only hashes are stored: a session stands for its keys while they hold, and is no
key. It ends when its time is over, by signing out, and with its keys (revoked, rotated, expired: the keyring says so).
"""

import hashlib
import secrets
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from homeport import clock
from homeport.store.database import Database
from homeport.store.tables import sessions as table

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """project, admin: SHA-256 of the key for the API, and of that for the Admin API; the operator's own is both."""

    project: bytes | None = None
    admin: bytes | None = None

    def joined(self, other: "Session | None") -> "Session":
        """With the keys of another where it has none."""
        if other is None:
            return self
        return replace(self, project=self.project or other.project, admin=self.admin or other.admin)


class Sessions:
    def __init__(self, database: Database, *, seconds: int) -> None:
        """seconds: that one lasts."""
        self._database: Final = database
        self.seconds: Final = seconds

    async def begin(self, session: Session) -> str:
        """Its token, which nobody else has. Raises Unavailable."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = int(clock.now())
        row = {
            "token_hash": _hash(token),
            "project_key": session.project,
            "admin_key": session.admin,
            "created_at": now,
            "expires_at": now + self.seconds,
        }
        async with self._database.write() as connection:
            await connection.execute(sa.insert(table).values(row))
        return token

    async def find(self, token: str) -> Session | None:
        """None: there is no such session, or it is over. Raises Unavailable."""
        query = sa.select(table.c.project_key, table.c.admin_key).where(
            table.c.token_hash == _hash(token), table.c.expires_at > int(clock.now())
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Session(row.project_key, row.admin_key)

    async def end(self, token: str) -> None:
        """Raises Unavailable."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(table).where(table.c.token_hash == _hash(token)))

    async def sweep(self) -> None:
        """Those that are over. Raises Unavailable."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(table).where(table.c.expires_at <= int(clock.now())))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
