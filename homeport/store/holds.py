"""While a backup runs, no bytes are collected: it has read the rows, and comes to the bytes they name minutes later.

A hold is a row with a lease, so that one of a backup that was killed ends by itself. What is deleted meanwhile leaves
its bytes behind, for the next sweep (blobs.py).

The rows are read after the hold is there. A collection that began before it may end after it, but only of bytes to
which no row referred, and to which none can come to refer while it has the lock.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from homeport import clock, ids
from homeport.errors import SettingsError
from homeport.store.database import Database
from homeport.store.tables import backups

LEASE_SECONDS = 900.0
_RENEWED_SECONDS = 60.0


def held() -> sa.ColumnElement[bool]:
    """Now, by somebody."""
    return sa.exists().where(backups.c.until > clock.now())


class Hold:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._id = ids.random_text(24)
        self._renewed = clock.monotonic()

    async def begin(self) -> None:
        now = clock.now()
        async with self._database.write() as connection:
            await connection.execute(sa.delete(backups).where(backups.c.until <= now))
            await connection.execute(sa.insert(backups).values(id=self._id, until=int(now + LEASE_SECONDS)))

    async def beat(self) -> None:
        """As often as you like, and every few minutes at least. Raises SettingsError: it has ended meanwhile."""
        if clock.monotonic() - self._renewed < _RENEWED_SECONDS:
            return
        now = clock.now()
        mine = sa.and_(backups.c.id == self._id, backups.c.until > now)
        async with self._database.write() as connection:
            renewed = await connection.execute(sa.update(backups).where(mine).values(until=int(now + LEASE_SECONDS)))
        if not renewed.rowcount:
            raise SettingsError("The backup stood still for too long: files may have gone meanwhile. Make it anew.")
        self._renewed = clock.monotonic()

    async def end(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(sa.delete(backups).where(backups.c.id == self._id))


@asynccontextmanager
async def holding(database: Database) -> AsyncGenerator[Hold, None]:
    """Until the block ends nothing is collected."""
    hold = Hold(database)
    await hold.begin()
    try:
        yield hold
    finally:
        await hold.end()
