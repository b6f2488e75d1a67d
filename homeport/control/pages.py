"""Lists in pages: `limit` rows after or before an id, in the order of `seq`, which only grows.

The place of an id is looked for in the whole list, whatever the filters are: an object that stopped matching between
two pages still marks the place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list. before alone: the rows next to it, in the order of the list all the same."""

    limit: int = 20
    after: str | None = None
    before: str | None = None
    descending: bool = False

    @property
    def backwards(self) -> bool:
        return self.before is not None and self.after is None


class Found(NamedTuple):
    rows: Sequence[sa.Row[Any]]
    has_more: bool


async def page(
    connection: AsyncConnection,
    query: "sa.Select[Any]",
    window: Window,
    *,
    seq: "sa.ColumnElement[int]",
    id: "sa.ColumnElement[str]",
    within: "sa.ColumnElement[bool] | None" = None,
) -> Found:
    """The rows of a query. within: what the list is of (a project's keys). Raises InvalidRequest: no such id in it."""
    inside = sa.true() if within is None else within
    query = query.where(inside)
    if window.after is not None:
        here = await place(connection, "after", window.after, seq, id, inside)
        query = query.where(seq < here if window.descending else seq > here)
    if window.before is not None:
        here = await place(connection, "before", window.before, seq, id, inside)
        query = query.where(seq > here if window.descending else seq < here)
    rising = window.descending == window.backwards
    query = query.order_by(seq if rising else seq.desc()).limit(window.limit + 1)
    rows = (await connection.execute(query)).all()
    return Found(*cut(rows, window))


def cut(rows: Sequence[Any], window: Window) -> tuple[Sequence[Any], bool]:
    """Of one row more than was asked for, in the direction that was asked for: the page, in the list's order."""
    kept = rows[: window.limit]
    return (kept[::-1] if window.backwards else kept), len(rows) > window.limit


def among(names: Sequence[str], window: Window) -> tuple[Sequence[str], bool]:
    """The ids of a page, and whether there are more, of a list that was put together: names are all of them, the oldest
    first. Raises InvalidRequest: no such place in it."""
    ordered = names[::-1] if window.descending else names
    begin, end = 0, len(ordered)
    for param, value in (("after", window.after), ("before", window.before)):
        if value is not None:
            if value not in ordered:
                raise unknown_place(param, value)
            if param == "after":
                begin = ordered.index(value) + 1
            else:
                end = ordered.index(value)
    if window.backwards:
        return ordered[max(begin, end - window.limit) : end], end - window.limit > begin
    return ordered[begin : min(end, begin + window.limit)], begin + window.limit < end


def has_pair(metadata: "sa.ColumnElement[Any]", key: str, value: str, *, sqlite: bool) -> "sa.ColumnElement[bool]":
    """Whether a column of pairs, which may be null, has this one."""
    pair = (sa.func.json_each if sqlite else sa.func.json_each_text)(metadata).table_valued("key", "value")
    return sa.select(1).where(pair.c.key == key, pair.c.value == value).exists()


def unknown_place(param: str, value: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{param}': there is no {value!r} in this list; it may have been deleted since. Begin again without "
        f"'{param}'.",
        param=param,
        code="invalid_value",
    )


async def place(
    connection: AsyncConnection,
    param: str,
    value: str,
    seq: "sa.ColumnElement[int]",
    id: "sa.ColumnElement[str]",
    inside: "sa.ColumnElement[bool]",
) -> int:
    """Where an id stands in the list of what is inside. Raises InvalidRequest: it does not."""
    found = await connection.scalar(sa.select(seq).where(id == value, inside))
    if found is None:
        raise unknown_place(param, value)
    return int(found)
