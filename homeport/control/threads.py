"""Threads as their owners see them. What was said in them is in messages.py.

A thread's row stands before all that is in it: who says something, or begins a run, takes it first (`lock`), so what
one of them finds is still so when it is done.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control.owners import Owner
from homeport.errors import NotFound
from homeport.store.tables import runs, threads
from homeport.wire.threads import Thread

PREFIX = "thread_"
#: Of a run that holds its thread: nobody says anything, and no other begins (tables.py, `uq_runs_active`).
ACTIVE: Final = ("queued", "in_progress", "requires_action", "cancelling")

ThreadRow = sa.RowMapping


async def find(connection: AsyncConnection, owner: Owner, thread_id: str, *, lock: bool = False) -> ThreadRow:
    """lock: nobody else changes it, or what is in it, until the transaction ends. Raises NotFound."""
    query = sa.select(threads).where(threads.c.id == thread_id, threads.c.project_id == owner.project)
    if lock:
        query = query.with_for_update()
    found = None
    if thread_id.startswith(PREFIX):  # the table has conversations as well
        found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound(f"No thread found with id '{thread_id}'.", param="thread_id")
    return found


async def active_run(connection: AsyncConnection, thread: ThreadRow) -> str | None:
    """The id of the run that holds a thread, which the caller has locked."""
    query = sa.select(runs.c.id).where(runs.c.thread_seq == thread["seq"], runs.c.status.in_(ACTIVE))
    run_id: str | None = await connection.scalar(query)
    return run_id


def as_object(row: ThreadRow) -> Thread:
    return Thread(
        id=row["id"],
        created_at=row["created_at"],
        tool_resources=row["tool_resources"] or {},
        metadata=row["metadata"] or {},
    )
