"""Stored chat completions as their owners see them.

Source: listChatCompletions, getChatCompletion, updateChatCompletion, deleteChatCompletion, getChatCompletionMessages.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import pages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.database import Database
from homeport.store.tables import chat_completions as table
from homeport.wire.fields import Deleted, Page
from homeport.wire.stored_completions import DELETED, UpdateChatCompletion, messages_of

Row = sa.RowMapping
Shown = dict[str, Any]


class ChatCompletions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, owner: Owner, window: Window, *, model: str | None = None, metadata: Mapping[str, str]
    ) -> Page[Shown]:
        """model: that was asked for, or has answered. metadata: that they have.

        Raises InvalidRequest: no such place in the list.
        """
        query = sa.select(table.c.completion, table.c.metadata)
        if model is not None:
            query = query.where(sa.or_(table.c.asked == model, table.c.model == model))
        for key, value in metadata.items():
            query = query.where(pages.has_pair(table.c.metadata, key, value, sqlite=self._database.sqlite))
        mine = table.c.project_id == owner.project
        async with self._database.read() as connection:
            found = await pages.page(connection, query, window, seq=table.c.seq, id=table.c.id, within=mine)
        return _page([_shown(row._mapping) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, completion_id: str) -> Shown:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return _shown(await _find(connection, owner, completion_id, table.c.completion, table.c.metadata))

    async def update(self, owner: Owner, completion_id: str, asked: UpdateChatCompletion) -> Shown:
        """Raises NotFound."""
        async with self._database.write() as connection:
            row = await _find(connection, owner, completion_id, table.c.seq, table.c.completion)
            changed = sa.update(table).where(table.c.seq == row["seq"]).values(metadata=asked.metadata)
            await connection.execute(changed)
        return _shown({**row, "metadata": asked.metadata})

    async def delete(self, owner: Owner, completion_id: str) -> Deleted:
        """Raises NotFound."""
        async with self._database.write() as connection:
            row = await _find(connection, owner, completion_id, table.c.seq)
            await connection.execute(sa.delete(table).where(table.c.seq == row["seq"]))
        return Deleted(DELETED, completion_id)

    async def messages(self, owner: Owner, completion_id: str, window: Window) -> Page[Shown]:
        """Of its request. Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            row = await _find(connection, owner, completion_id, table.c.messages)
        all_of = {one["id"]: one for one in messages_of(completion_id, row["messages"])}
        chosen, has_more = pages.among(list(all_of), window)
        return _page([all_of[message_id] for message_id in chosen], has_more=has_more)


async def _find(
    connection: AsyncConnection, owner: Owner, completion_id: str, *columns: "sa.ColumnElement[Any]"
) -> Row:
    """Raises NotFound."""
    query = sa.select(*columns).where(table.c.project_id == owner.project, table.c.id == completion_id)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound(
            f"No chat completion found with id '{completion_id}'. They are kept where the request has 'store': true.",
            param="completion_id",
        )
    return found


def _shown(row: Mapping[Any, Any]) -> Shown:
    return {**row["completion"], "metadata": row["metadata"] or {}}


def _page(data: list[Shown], *, has_more: bool) -> Page[Shown]:
    return Page(data, has_more, data[0]["id"] if data else None, data[-1]["id"] if data else None)
