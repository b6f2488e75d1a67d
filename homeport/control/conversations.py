"""Conversations as their owners see them, and the items in them. Threads can be read as conversations, too
(thread_items.py); who wants to change one, says so to `/v1/threads`.

A conversation is a row of `threads`. An item that a response has as well stays with it, when it is taken out of a
conversation or that is deleted.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import items as rules
from homeport.control import pages, thread_items
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.threads import PREFIX as THREAD
from homeport.errors import InvalidRequest, NotFound
from homeport.store.database import Database
from homeport.store.tables import items, responses, threads
from homeport.wire.conversations import (
    Conversation,
    CreateConversationBody,
    CreateConversationItems,
    UpdateConversationBody,
)
from homeport.wire.fields import Deleted, Page
from homeport.wire.items import InputItem, Item, read, shown

Row = sa.RowMapping


async def find(
    connection: AsyncConnection,
    owner: Owner,
    conversation_id: str,
    *,
    lock: bool = False,
    alone: bool = False,
    param: str = "conversation_id",
) -> Row:
    """One that may be changed. lock: nobody else does, nor adds to it, until the transaction ends: so whoever has seen
    an item has seen all that are before it. alone: nor adds anybody rows that refer to it, for it is to be deleted.
    param: where it was named.

    Raises NotFound; InvalidRequest: it is a thread.
    """
    found = await _find(connection, owner, conversation_id, lock=lock, alone=alone, param=param)
    if conversation_id.startswith(THREAD):
        raise InvalidRequest(
            f"'{conversation_id}' is a thread: as a conversation it can be read, and not written to. Say more in it by "
            f"`POST /v1/threads/{conversation_id}/messages`, or go on in a new conversation that is given its items.",
            param=param,
            code="thread_is_read_only",
        )
    return found


async def locked(connection: AsyncConnection, seq: int) -> bool:
    """Whether it is there; nobody else changes it, until the transaction ends."""
    query = sa.select(threads.c.seq).where(threads.c.seq == seq).with_for_update(key_share=True)
    return await connection.scalar(query) is not None


async def hold(connection: AsyncConnection, of: "sa.ColumnElement[bool]") -> None:
    """Of a response (`of`, of `responses`): nobody deletes its conversation until the transaction ends. Who changes
    the response begins with it, as `run_states.hold_thread` says."""
    its = sa.select(responses.c.conversation_seq).where(of).scalar_subquery()
    query = sa.select(threads.c.seq).where(threads.c.seq == its)
    await connection.execute(query.with_for_update(read=True, key_share=True))


async def _find(
    connection: AsyncConnection,
    owner: Owner,
    conversation_id: str,
    *,
    lock: bool = False,
    alone: bool = False,
    param: str = "conversation_id",
) -> Row:
    """Raises NotFound."""
    query = sa.select(threads).where(threads.c.id == conversation_id, threads.c.project_id == owner.project)
    if lock:
        query = query.with_for_update(key_share=not alone)  # else rows that refer to it may come all the same
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound(f"Conversation with id '{conversation_id}' not found.", param=param)
    return found


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def create(self, owner: Owner, asked: CreateConversationBody) -> Conversation:
        """Raises InvalidRequest; NotFound: an item that is referred to."""
        coming = read(asked.items or [], "items")
        row = {
            "id": ids.conversation(),
            "project_id": owner.project,
            "created_at": int(clock.now()),
            "metadata": asked.metadata,
        }
        async with self._database.write() as connection:
            made = sa.insert(threads).values(**row).returning(threads)
            conversation = (await connection.execute(made)).mappings().one()
            await _add(connection, owner, conversation, coming)
        return as_object(conversation)

    async def retrieve(self, owner: Owner, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return as_object(await _find(connection, owner, conversation_id))

    async def update(self, owner: Owner, conversation_id: str, asked: UpdateConversationBody) -> Conversation:
        """Raises NotFound; InvalidRequest: it is a thread."""
        async with self._database.write() as connection:
            conversation = await find(connection, owner, conversation_id)
            changed = sa.update(threads).where(threads.c.seq == conversation["seq"]).values(metadata=asked.metadata)
            await connection.execute(changed)
        return as_object({**conversation, "metadata": asked.metadata})

    async def delete(self, owner: Owner, conversation_id: str) -> Deleted:
        """Raises NotFound; InvalidRequest: it is a thread."""
        async with self._database.write() as connection:
            conversation = await find(connection, owner, conversation_id, lock=True, alone=True)
            await _take_out(connection, items.c.thread_seq == conversation["seq"])
            await connection.execute(sa.delete(threads).where(threads.c.seq == conversation["seq"]))
        return Deleted("conversation.deleted", conversation_id)

    async def add_items(
        self, owner: Owner, conversation_id: str, asked: CreateConversationItems, include: Sequence[str]
    ) -> Page[Item]:
        """Raises NotFound; InvalidRequest, also where it is a thread."""
        coming = read(asked.items, "items")
        async with self._database.write() as connection:
            conversation = await find(connection, owner, conversation_id, lock=True)
            made = await _add(connection, owner, conversation, coming)
        return Page.of([shown(item, include) for item in made], has_more=False)

    async def list_items(
        self, owner: Owner, conversation_id: str, window: Window, include: Sequence[str]
    ) -> Page[Item]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            conversation = await _find(connection, owner, conversation_id)
            if conversation_id.startswith(THREAD):
                places = {place.id: place for place in await thread_items.places(connection, conversation["seq"])}
                chosen, has_more = pages.among(list(places), window)
                data = await thread_items.load(connection, [places[item_id] for item_id in chosen])
            else:
                query, within = sa.select(items), items.c.thread_seq == conversation["seq"]
                found = await pages.page(connection, query, window, seq=items.c.seq, id=items.c.id, within=within)
                data, has_more = [rules.as_item(row._mapping) for row in found.rows], found.has_more
        return Page.of([shown(item, include) for item in data], has_more=has_more)

    async def retrieve_item(self, owner: Owner, conversation_id: str, item_id: str, include: Sequence[str]) -> Item:
        """Raises NotFound."""
        async with self._database.read() as connection:
            conversation = await _find(connection, owner, conversation_id)
            if conversation_id.startswith(THREAD):
                places = await thread_items.places(connection, conversation["seq"])
                found = await thread_items.load(connection, [place for place in places if place.id == item_id])
            else:
                query = sa.select(items).where(_this(conversation, item_id))
                found = [rules.as_item(row) for row in (await connection.execute(query)).mappings()]
        if not found:
            raise _no_such_item(conversation_id, item_id)
        return shown(found[0], include)

    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> Conversation:
        """Raises NotFound; InvalidRequest: it is a thread."""
        async with self._database.write() as connection:
            conversation = await find(connection, owner, conversation_id)
            if not await _take_out(connection, _this(conversation, item_id)):
                raise _no_such_item(conversation_id, item_id)
        return as_object(conversation)


def as_object(row: Mapping[Any, Any]) -> Conversation:
    return Conversation(id=row["id"], created_at=row["created_at"], metadata=row["metadata"] or {})


def _this(conversation: Row, item_id: str) -> "sa.ColumnElement[bool]":
    return sa.and_(items.c.thread_seq == conversation["seq"], items.c.id == item_id)


def _no_such_item(conversation_id: str, item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id}' not found in conversation '{conversation_id}'.", param="item_id")


async def _add(connection: AsyncConnection, owner: Owner, conversation: Row, coming: Sequence[InputItem]) -> list[Item]:
    """Raises NotFound."""
    made = rules.named(coming, await rules.referenced(connection, owner, coming, "items"))
    await rules.add(connection, owner, made, thread_seq=conversation["seq"])
    return made


async def _take_out(connection: AsyncConnection, which: "sa.ColumnElement[bool]") -> int:
    """How many. A response that has them keeps them."""
    kept = sa.update(items).where(which, items.c.response_seq.is_not(None)).values(thread_seq=None)
    gone = sa.delete(items).where(which, items.c.response_seq.is_(None))
    return (await connection.execute(gone)).rowcount + (await connection.execute(kept)).rowcount
