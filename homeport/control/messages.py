"""Messages of threads as their owners see them: rows of `items`.

While a run has a thread, nobody else says anything in it: who wants to takes the thread's row first, as who begins a
run does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import pages, run_states, threads, tool_resources
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.threads import ThreadRow
from homeport.control.tool_resources import Named, ToolResources
from homeport.errors import InvalidRequest, NotFound
from homeport.store import tables
from homeport.store.database import Database
from homeport.store.tables import items
from homeport.wire.fields import Deleted, Page
from homeport.wire.threads import (
    Content,
    CreateMessageRequest,
    ImageFilePart,
    IncompleteDetails,
    Message,
    ModifyMessageRequest,
)

#: Of files that a message shows: the first is the one for them.
IMAGE_PURPOSES = ("vision", "assistants", "assistants_output", "user_data")

MessageRow = Mapping[Any, Any]


class Messages:
    def __init__(self, database: Database, resources: ToolResources) -> None:
        self._database = database
        self._resources = resources

    async def create(self, owner: Owner, thread_id: str, asked: CreateMessageRequest) -> Message:
        """Raises NotFound; InvalidRequest: a run has the thread."""
        async with self._database.write() as connection:
            thread = await threads.find(connection, owner, thread_id, lock=True)
            run = await run_states.active(connection, thread["seq"])
            if run is not None:
                raise InvalidRequest(f"Can't add messages to {thread_id} while a run {run['id']} is active.")
            (row,) = await self.add(connection, owner, thread, [asked])
        self._resources.told()
        return as_object(row, thread_id)

    async def add(
        self,
        connection: AsyncConnection,
        owner: Owner,
        thread: ThreadRow,
        asked: Sequence[CreateMessageRequest],
        *,
        param: str = "",
    ) -> Sequence[MessageRow]:
        """In their order, at the end of a thread that the caller has locked. What is attached goes to the thread's
        tools. Afterwards call `ToolResources.told`. param: that they came in, as a list.

        Raises NotFound, InvalidRequest.
        """
        wheres = [f"{param}[{at}]." if param else "" for at in range(len(asked))]
        named = [one for where, message in zip(wheres, asked, strict=True) for one in _named(message, where)]
        await tool_resources.check_files(connection, owner, named)
        attachments = [attachment for message in asked for attachment in message.attachments or ()]
        if attachments:
            after = await self._resources.attached(connection, owner, thread["tool_resources"], attachments)
            this = tables.threads.c.seq == thread["seq"]
            await connection.execute(sa.update(tables.threads).where(this).values(tool_resources=after))
        now = int(clock.now())
        rows = [_row(owner, thread, message, now) for message in asked]
        if rows:
            await connection.execute(sa.insert(items), rows)
        return rows

    async def list(self, owner: Owner, thread_id: str, window: Window, run_id: str | None) -> Page[Message]:
        """run_id: of those that came of it. Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            thread = await threads.find(connection, owner, thread_id)
            query = sa.select(items)
            if run_id is not None:
                query = query.where(items.c.run_id == run_id)
            found = await pages.page(
                connection, query, window, seq=items.c.seq, id=items.c.id, within=sa.and_(*_inside(thread))
            )
        return Page.of([as_object(row._mapping, thread_id) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, thread_id: str, message_id: str) -> Message:
        """Raises NotFound."""
        async with self._database.read() as connection:
            thread = await threads.find(connection, owner, thread_id)
            query = sa.select(items).where(items.c.id == message_id, *_inside(thread))
            found = (await connection.execute(query)).mappings().one_or_none()
        if found is None:
            raise _no_such(message_id, thread_id)
        return as_object(found, thread_id)

    async def modify(self, owner: Owner, thread_id: str, message_id: str, asked: ModifyMessageRequest) -> Message:
        """Raises NotFound."""
        if asked.metadata is not UNSET:
            async with self._database.write() as connection:
                thread = await threads.find(connection, owner, thread_id)
                changed = sa.update(items).where(items.c.id == message_id, *_inside(thread))
                await connection.execute(changed.values(metadata=asked.metadata))
        return await self.retrieve(owner, thread_id, message_id)

    async def delete(self, owner: Owner, thread_id: str, message_id: str) -> Deleted:
        """Raises NotFound; InvalidRequest: it is being written."""
        async with self._database.write() as connection:
            thread = await threads.find(connection, owner, thread_id)
            this = sa.and_(items.c.id == message_id, *_inside(thread))
            gone = await connection.execute(sa.delete(items).where(this, items.c.status != "in_progress"))
            if not gone.rowcount:
                if await connection.scalar(sa.select(items.c.id).where(this)) is None:
                    raise _no_such(message_id, thread_id)
                raise InvalidRequest(
                    f"The message '{message_id}' is being written by a run. It can be deleted once the run has ended: "
                    "wait for that, or cancel it.",
                    param="message_id",
                )
        return Deleted("thread.message.deleted", message_id)


def as_object(row: MessageRow, thread_id: str) -> Message:
    """row: of `items`, a message of a thread."""
    reason = row["incomplete_reason"]
    return Message(
        id=row["id"],
        created_at=row["created_at"],
        thread_id=thread_id,
        status=row["status"],
        incomplete_details=None if reason is None else IncompleteDetails(reason),
        completed_at=row["completed_at"],
        incomplete_at=row["incomplete_at"],
        role=row["role"],
        content=msgspec.convert(row["content"] or [], list[Content]),
        assistant_id=row["assistant_id"],
        run_id=row["run_id"],
        attachments=row["attachments"] or [],
        metadata=row["metadata"] or {},
    )


def _row(owner: Owner, thread: ThreadRow, asked: CreateMessageRequest, now: int) -> MessageRow:
    return {
        "id": ids.message(),
        "project_id": owner.project,
        "thread_seq": thread["seq"],
        "output": False,
        "created_at": now,
        "type": "message",
        "role": asked.role,
        "status": "completed",
        "content": msgspec.to_builtins(asked.shown_content),
        "attachments": msgspec.to_builtins(asked.attachments),
        "metadata": asked.metadata,
        "assistant_id": None,
        "run_id": None,
        "completed_at": now,
        "incomplete_at": None,
        "incomplete_reason": None,
    }


def _named(asked: CreateMessageRequest, where: str) -> Iterator[Named]:
    """The files that a message names. where: it stands in the request."""
    for at, part in enumerate(asked.parts):
        if isinstance(part, ImageFilePart):
            yield Named(part.image_file.file_id, f"{where}content[{at}].image_file.file_id", IMAGE_PURPOSES)
    for at, attachment in enumerate(asked.attachments or ()):
        yield Named(attachment.file_id, f"{where}attachments[{at}].file_id")


def _inside(thread: ThreadRow) -> tuple["sa.ColumnElement[bool]", ...]:
    return items.c.thread_seq == thread["seq"], items.c.type == "message"


def _no_such(message_id: str, thread_id: str) -> NotFound:
    return NotFound(f"No message found with id '{message_id}' in thread '{thread_id}'.", param="message_id")
