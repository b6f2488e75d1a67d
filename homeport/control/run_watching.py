"""Whoever watches a run: what it has told, and what it tells (docs/assistants-streaming.md)."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import run_states, runs
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest
from homeport.store import tables
from homeport.store.database import Database
from homeport.store.events import Events
from homeport.store.followers import Told

#: After these nothing comes, unless somebody submits outputs.
STOPS: Final = frozenset(f"thread.run.{status}" for status in (*run_states.OVER, "requires_action"))
_rows: Final = tables.runs.c


class RunWatching:
    def __init__(self, database: Database, events: Events, holds: Callable[[Owner], bool]) -> None:
        """holds: whether a key that was good is so still."""
        self._database = database
        self._events = events
        self._holds = holds

    async def find(self, owner: Owner, thread_id: str, run_id: str) -> int:
        """What `follow` calls it. Raises NotFound; InvalidRequest: what it told is no longer there."""
        async with self._database.read() as connection:
            run = await runs.find(connection, owner, thread_id, run_id)
            theirs = sa.select(tables.run_events.c.number).where(tables.run_events.c.run_seq == run["seq"]).limit(1)
            if await connection.scalar(theirs) is None:
                raise InvalidRequest(
                    "What this run has told is no longer kept. Leave 'stream' out: the run itself is there, and its "
                    "steps.",
                    param="stream",
                    code="events_not_kept",
                )
        seq: int = run["seq"]
        return seq

    async def follow(
        self, owner: Owner, seq: int, after: int = -1, *, to_the_first_stop: bool = False
    ) -> AsyncGenerator[Sequence[Told], None]:
        """Its events after a number, some at once, until there will be none, or it waits for outputs. Nothing at all:
        there was nothing for long. It ends sooner where the process ends, or the key no longer holds.

        to_the_first_stop: nothing after one of STOPS, whatever came of that. Raises Unavailable, only before the first.
        """

        following = self._events.follow(
            seq, after, lambda connection: _is_over(connection, seq), holds=lambda: self._holds(owner)
        )
        async with aclosing(following) as all_told:
            async for some in all_told:
                stops = [at for at, told in enumerate(some) if told.event in STOPS] if to_the_first_stop else []
                yield some[: stops[0] + 1] if stops else some
                if stops:
                    return

    async def is_over(self, seq: int) -> bool:
        """Nothing comes, unless somebody submits outputs. Raises Unavailable."""
        async with self._database.read() as connection:
            return await _is_over(connection, seq)

    async def forget(self, seconds: float) -> None:
        """What was told by those that have ended, and were made longer ago than that. Raises Unavailable."""
        await self._events.sweep(_rows.status.in_(run_states.OVER), int(clock.now() - seconds))


async def _is_over(connection: AsyncConnection, seq: int) -> bool:
    status = await connection.scalar(sa.select(_rows.status).where(_rows.seq == seq))
    return status not in run_states.ACTIVE or status == "requires_action"
