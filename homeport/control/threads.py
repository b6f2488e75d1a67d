"""Threads as their owners see them. What was said in them is in messages.py.

A thread's row stands before all that is in it: who says something, or begins a run, takes it first (`lock`), so what
one of them finds is still so when it is done.
"""

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from msgspec import UNSET, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control.owners import Owner
from homeport.control.tool_resources import THREAD_STORE_DAYS, ToolResources
from homeport.errors import NotFound
from homeport.store.queue import Queue
from homeport.store.tables import runs, threads
from homeport.wire.fields import Deleted
from homeport.wire.threads import CreateThreadRequest, ModifyThreadRequest, Thread

if TYPE_CHECKING:
    from homeport.control.messages import Messages

PREFIX = "thread_"
#: Of a run that holds its thread: nobody says anything, and no other begins (tables.py, `uq_runs_active`).
ACTIVE: Final = ("queued", "in_progress", "requires_action", "cancelling")

ThreadRow = sa.RowMapping


class Threads:
    def __init__(self, queue: Queue, messages: "Messages", resources: ToolResources) -> None:
        self._database = queue.database
        self._queue = queue
        self._messages = messages
        self._resources = resources

    async def create(self, owner: Owner, asked: CreateThreadRequest) -> Thread:
        """Raises NotFound, InvalidRequest."""
        async with self._database.write() as connection:
            shown = as_object(await self.add(connection, owner, asked))
        self._resources.told()
        return shown

    async def add(
        self, connection: AsyncConnection, owner: Owner, asked: CreateThreadRequest, *, param: str = "messages"
    ) -> ThreadRow:
        """`create`, in the caller's transaction. Afterwards call `ToolResources.told`. param: that its messages came
        in."""
        resources = await self._resources.add(connection, owner, asked.tool_resources, days=THREAD_STORE_DAYS)
        row = {
            "id": ids.thread(),
            "project_id": owner.project,
            "created_at": int(clock.now()),
            "metadata": asked.metadata,
            "tool_resources": resources,
        }
        made = sa.insert(threads).values(row).returning(*threads.c)
        thread = (await connection.execute(made)).mappings().one()
        if not asked.messages:
            return thread
        await self._messages.add(connection, owner, thread, asked.messages, param=param)
        return await find(connection, owner, thread["id"])

    async def retrieve(self, owner: Owner, thread_id: str) -> Thread:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return as_object(await find(connection, owner, thread_id))

    async def modify(self, owner: Owner, thread_id: str, asked: ModifyThreadRequest) -> Thread:
        """A run that there is sees the tools' new resources. Raises NotFound, InvalidRequest."""
        said = {name: value for name, value in structs.asdict(asked).items() if value is not UNSET}
        async with self._database.write() as connection:
            thread = await find(connection, owner, thread_id, lock=True)
            if asked.tool_resources is not UNSET:
                before = thread["tool_resources"]
                said["tool_resources"] = await self._resources.changed(connection, owner, before, asked.tool_resources)
            if said:
                changed = sa.update(threads).where(threads.c.seq == thread["seq"]).values(said).returning(*threads.c)
                thread = (await connection.execute(changed)).mappings().one()
        return as_object(thread)

    async def delete(self, owner: Owner, thread_id: str) -> Deleted:
        """What was said in it goes with it, and its runs; who works on one is told. Vector stores stay.

        Raises NotFound.
        """
        async with self._database.write() as connection:
            thread = await find(connection, owner, thread_id)
            # Who works on a run has that, then says something: in the same order nobody waits in a circle.
            theirs = sa.select(runs.c.id, runs.c.status).where(runs.c.thread_seq == thread["seq"])
            held = (await connection.execute(theirs.order_by(runs.c.seq).with_for_update())).all()
            if not (await connection.execute(sa.delete(threads).where(threads.c.seq == thread["seq"]))).rowcount:
                raise _no_such(thread_id)
            for run in held:
                if run.status in ACTIVE:
                    await self._queue.cancel(connection, run.id)
        return Deleted("thread.deleted", thread_id)


async def find(connection: AsyncConnection, owner: Owner, thread_id: str, *, lock: bool = False) -> ThreadRow:
    """lock: nobody else changes it, or says anything in it, until the transaction ends. Raises NotFound."""
    query = sa.select(threads).where(threads.c.id == thread_id, threads.c.project_id == owner.project)
    if lock:
        query = query.with_for_update(key_share=True)  # rows that refer to it may come all the same
    found = None
    if thread_id.startswith(PREFIX):  # the table has conversations as well
        found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise _no_such(thread_id)
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


def _no_such(thread_id: str) -> NotFound:
    return NotFound(f"No thread found with id '{thread_id}'.", param="thread_id")
