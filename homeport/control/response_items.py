"""What a response was made from: its own input, and what was said before it, in the responses that it goes on from or
in its conversation.

Source: listInputItems.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import items as rules
from homeport.control import pages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.store.database import Database
from homeport.store.tables import items, responses
from homeport.wire.fields import Page
from homeport.wire.items import Item, shown


class ResponseItems:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, owner: Owner, response_id: str, window: Window, include: Sequence[str]) -> Page[Item]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            found = sa.select(responses.c.seq).where(responses.c.id == response_id)
            if await connection.scalar(found.where(responses.c.project_id == owner.project)) is None:
                raise no_such_response(response_id)
            all_of_them = await _made_from(connection, response_id, items.c.id, whole=False)
            chosen, has_more = pages.among([row["id"] for row in all_of_them], window)
            rows = await connection.execute(sa.select(items).where(items.c.id.in_(chosen)))
            by_id = {row["id"]: rules.as_item(row) for row in rows.mappings()}
        return Page.of([shown(by_id[item_id], include) for item_id in chosen], has_more=has_more)


def no_such_response(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{response_id}' not found.", param="response_id")


async def until(connection: AsyncConnection, response_id: str) -> list[Item]:
    """All that was said until the end of a response: what the next one goes on from."""
    return [rules.as_item(row) for row in await _made_from(connection, response_id, *items.c, whole=True)]


async def made_from(connection: AsyncConnection, response_id: str) -> list[Item]:
    """What was said before a response, and what came with it."""
    return [rules.as_item(row) for row in await _made_from(connection, response_id, *items.c, whole=False)]


async def of_conversation(connection: AsyncConnection, seq: int) -> list[Item]:
    """All that is in a conversation by now."""
    query = sa.select(items).where(items.c.thread_seq == seq).order_by(items.c.seq)
    return [rules.as_item(row) for row in (await connection.execute(query)).mappings()]


async def _made_from(
    connection: AsyncConnection, response_id: str, *columns: "sa.ColumnElement[Any]", whole: bool
) -> list[sa.RowMapping]:
    """In their order. whole: with what came of the response itself."""
    link = (responses.c.seq, responses.c.previous_id, responses.c.conversation_seq)
    line = sa.select(*link, sa.literal(0).label("age")).where(responses.c.id == response_id).cte("line", recursive=True)
    older = sa.select(*link, line.c.age + 1).where(responses.c.id == line.c.previous_id)
    line = line.union_all(older)
    said = sa.select(*columns).join(line, items.c.response_seq == line.c.seq).order_by(line.c.age.desc(), items.c.seq)
    if not whole:
        said = said.where(sa.or_(line.c.age > 0, ~items.c.output))
    oldest = sa.select(line.c.seq, line.c.conversation_seq).order_by(line.c.age.desc()).limit(1)
    first = (await connection.execute(oldest)).mappings().one()
    before = [] if first["conversation_seq"] is None else await _before(connection, first, columns)
    return [*before, *(await connection.execute(said)).mappings()]


async def _before(
    connection: AsyncConnection, first: sa.RowMapping, columns: "Sequence[sa.ColumnElement[Any]]"
) -> Sequence[sa.RowMapping]:
    """What was in its conversation when a response began."""
    own = sa.select(sa.func.min(items.c.seq)).where(items.c.response_seq == first["seq"]).scalar_subquery()
    query = sa.select(*columns).where(items.c.thread_seq == first["conversation_seq"]).order_by(items.c.seq)
    query = query.where(sa.or_(items.c.seq < own, own.is_(sa.null())))
    return (await connection.execute(query)).mappings().all()
