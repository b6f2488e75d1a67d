"""Threads as their owners see them. What was said in them is in messages.py.

A thread's row stands before all that is in it: who says something, or begins a run, takes it first (`lock`), so what
one of them finds is still so when it is done.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from msgspec import UNSET, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import pages, run_states
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.tool_resources import THREAD_STORE_DAYS, ToolResources
from homeport.errors import NotFound
from homeport.store.queue import Queue
from homeport.store.tables import items, threads
from homeport.wire.fields import Deleted, Page
from homeport.wire.threads import CreateThreadRequest, ListedThread, ModifyThreadRequest, Thread

if TYPE_CHECKING:
    from homeport.control.messages import Messages

PREFIX = "thread_"
#: Characters of a title.
LONGEST_TITLE = 80

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

    async def list(self, owner: Owner, window: Window) -> Page[ListedThread]:
        """All of the project. Raises InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            found = await pages.page(
                connection,
                sa.select(threads),
                window,
                seq=threads.c.seq,
                id=threads.c.id,
                within=sa.and_(threads.c.project_id == owner.project, threads.c.id.startswith(PREFIX, autoescape=True)),
            )
            rows = [row._mapping for row in found.rows]
            titles = await _titles(connection, [row["seq"] for row in rows])
        shown = [ListedThread(**structs.asdict(as_object(row)), title=titles.get(row["seq"])) for row in rows]
        return Page.of(shown, has_more=found.has_more)

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
        """What was said in it goes with it, and its runs; who works on one has lost it. Vector stores stay.

        Raises NotFound.
        """
        async with self._database.write() as connection:
            thread = await find(connection, owner, thread_id, lock=True, alone=True)
            await run_states.abandon(connection, self._queue, thread["seq"])
            await connection.execute(sa.delete(threads).where(threads.c.seq == thread["seq"]))
        return Deleted("thread.deleted", thread_id)


async def find(
    connection: AsyncConnection, owner: Owner, thread_id: str, *, lock: bool = False, alone: bool = False
) -> ThreadRow:
    """lock: nobody else changes it, or says anything in it, until the transaction ends. alone: nor adds anybody rows
    that refer to it, for it is to be deleted; else the deleter and somebody with such a row wait for each other.
    Raises NotFound."""
    query = sa.select(threads).where(threads.c.id == thread_id, threads.c.project_id == owner.project)
    if lock:
        query = query.with_for_update(key_share=not alone)
    found = None
    if thread_id.startswith(PREFIX):  # the table has conversations as well
        found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise _no_such(thread_id)
    return found


def as_object(row: ThreadRow) -> Thread:
    return Thread(
        id=row["id"],
        created_at=row["created_at"],
        tool_resources=row["tool_resources"] or {},
        metadata=row["metadata"] or {},
    )


async def _titles(connection: AsyncConnection, seqs: Sequence[int]) -> Mapping[int, str]:
    """By a thread's `seq`, of those where a user has said something in words."""
    first = (
        sa.select(items.c.seq)
        .where(items.c.thread_seq == threads.c.seq, items.c.type == "message", items.c.role == "user")
        .order_by(items.c.seq)
        .limit(1)
        .correlate(threads)
        .scalar_subquery()
    )
    said = sa.select(threads.c.seq, items.c.content).join(items, items.c.seq == first).where(threads.c.seq.in_(seqs))
    found = {row.seq: _title(row.content or []) for row in await connection.execute(said)}
    return {seq: title for seq, title in found.items() if title}


def _title(parts: Sequence[dict[str, Any]]) -> str:
    said = " ".join(part["text"]["value"] for part in parts if part["type"] == "text")
    words = " ".join(said[: 4 * LONGEST_TITLE].split())
    return words if len(words) <= LONGEST_TITLE else words[: LONGEST_TITLE - 1].rstrip() + "…"


def _no_such(thread_id: str) -> NotFound:
    return NotFound(f"No thread found with id '{thread_id}'.", param="thread_id")
