"""What a fine-tuning job has told, and what it tells: a list in pages, or everything as it comes.

Whoever tells has the row of the job, so its events are seen in their order.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import fine_tuning, pages
from homeport.control import fine_tuning_states as states
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import Unavailable
from homeport.store.database import Database
from homeport.store.tables import fine_tuning_events, fine_tuning_jobs
from homeport.wire.fields import Page
from homeport.wire.fine_tuning import FineTuningJobEvent

#: A follower looks for more this often: who tells may be another process.
LOOK_SECONDS = 0.5
#: Whoever has heard nothing for so long is told that the connection is alive.
QUIET_SECONDS = 15.0
#: Events that are read at once.
_SOME = 500


class Told(NamedTuple):
    """events: none where there is nothing to tell but that somebody is there. over: the job has ended, and this is the
    last of it."""

    events: Sequence[FineTuningJobEvent]
    over: bool


class FineTuningEvents:
    def __init__(self, database: Database, holds: Callable[[Owner], bool]) -> None:
        """holds: whether a key that was good is so still."""
        self._database = database
        self._holds = holds
        self._draining = False

    def drain(self) -> None:
        """Followers end, to come again elsewhere. From any thread."""
        self._draining = True

    async def list(self, owner: Owner, job_id: str, window: Window) -> Page[FineTuningJobEvent]:
        """The newest first. Raises NotFound; InvalidRequest: no such place in the list."""
        table = fine_tuning_events
        async with self._database.read() as connection:
            await fine_tuning.find(connection, owner, job_id)
            found = await pages.page(
                connection, sa.select(table), window, seq=table.c.seq, id=table.c.id, within=table.c.job_id == job_id
            )
        return Page.of([_as_object(row) for row in found.rows], has_more=found.has_more)

    async def follow(self, owner: Owner, job_id: str, after: str | None) -> AsyncGenerator[Told, None]:
        """From the first, or the one after that, in their order, until the job is over; the first thing at once. It
        ends without `over` where the process ends, or the key no longer holds.

        Raises NotFound, InvalidRequest, as list; Unavailable: only before the first.
        """
        async with self._database.read() as connection:
            await fine_tuning.find(connection, owner, job_id)
            last = 0 if after is None else await _place(connection, job_id, after)
            rows, over = await _further(connection, job_id, last)
        told_at = float("-inf")
        while True:
            if rows or over or clock.monotonic() - told_at > QUIET_SECONDS:
                yield Told([_as_object(row) for row in rows], over)
                told_at = clock.monotonic()
            if over or self._draining or not self._holds(owner):
                return
            if len(rows) < _SOME:
                await clock.sleep(LOOK_SECONDS)
            last = rows[-1].seq if rows else last
            try:
                async with self._database.read() as connection:
                    rows, over = await _further(connection, job_id, last)
            except Unavailable:  # it may be back before anybody notices
                rows = ()


async def _place(connection: AsyncConnection, job_id: str, after: str) -> int:
    table = fine_tuning_events
    return await pages.place(connection, "after", after, table.c.seq, table.c.id, table.c.job_id == job_id)


async def _further(connection: AsyncConnection, job_id: str, last: int) -> tuple[Sequence["sa.Row[Any]"], bool]:
    """Events after one, and whether these are the last of all."""
    table = fine_tuning_events
    query = sa.select(table).where(table.c.job_id == job_id, table.c.seq > last).order_by(table.c.seq).limit(_SOME)
    rows = (await connection.execute(query)).all()
    status = await connection.scalar(sa.select(fine_tuning_jobs.c.status).where(fine_tuning_jobs.c.id == job_id))
    return rows, status not in states.UNFINISHED and len(rows) < _SOME


def _as_object(row: "sa.Row[Any]") -> FineTuningJobEvent:
    return FineTuningJobEvent(
        id=row.id, created_at=row.created_at, level=row.level, message=row.message, type=row.type, data=row.data
    )
