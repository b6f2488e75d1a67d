"""Sums of usage by minute, hour or day of UTC.

They come from the hours where a bucket is at least that wide, and from the rows for minutes and for the ends of a span
that cut through an hour. Both are read in one view of the database, in which they agree: the sums are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from homeport.store import usage_sql
from homeport.store.database import Database
from homeport.store.usage_batch import COUNTS, HOUR
from homeport.store.usage_sql import summed_pico, whole_pico
from homeport.store.usage_tables import costs, hours, usage

#: Column -> the values that it may have.
Only = Mapping[str, Sequence[Any]]

#: The rows' columns by the names that they have in the hours.
BY_ROW: Mapping[str, sa.ColumnElement[Any]] = {**usage.c, "model": usage.c.ran}


class Span(NamedTuple):
    """From `start` up to `end`, unix seconds, in buckets of `width` seconds: a minute, an hour or a day."""

    start: int
    end: int
    width: int

    def whole_hours(self) -> tuple[int, int]:
        """From the first of them to the end of the last; an empty span at `end` when there are none, or in minutes."""
        first, last = -(-self.start // HOUR) * HOUR, self.end // HOUR * HOUR
        return (first, last) if self.width >= HOUR and first < last else (self.end, self.end)


class Sum(NamedTuple):
    """start: of the bucket, a multiple of the width. group: values of the columns that were asked for, in order."""

    start: int
    group: tuple[Any, ...]
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows, or hours, as something to sum up."""

    rows: sa.FromClause
    time: sa.ColumnElement[Any]
    second: sa.ColumnElement[int]
    columns: Mapping[str, sa.ColumnElement[Any]]
    amounts: Sequence[sa.ColumnElement[Any]]
    chosen: Sequence[sa.ColumnElement[bool]] = ()

    def asked(
        self, span: Span, parts: Sequence[tuple[int, int]], group_by: Sequence[str], only: Only
    ) -> sa.Select[Any] | None:
        """None where no part is left."""
        within = [sa.and_(self.time >= start, self.time < end) for start, end in parts if start < end]
        if not within:
            return None
        keys = [usage_sql.bucket(self.second, span.width), *(self.columns[name] for name in group_by)]
        chosen = [_one_of(self.columns[name], values, name) for name, values in only.items()]
        return (
            sa.select(*keys, *self.amounts)
            .select_from(self.rows)
            .where(sa.or_(*within), *self.chosen, *chosen)
            .group_by(*keys)
        )


class UsageSums:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._second = usage_sql.second(sqlite=database.sqlite)

    async def used(
        self, page: str, span: Span, counts: Sequence[str], *, group_by: Sequence[str] = (), only: Only | None = None
    ) -> list[Sum]:
        """Amounts: `requests`, and counts of COUNTS. group_by, only: columns of the hours. Raises Unavailable."""
        names = ("requests", *counts)
        sums = [sa.func.sum(hours.c[name]) for name in names]
        by_hour = _Source(hours, hours.c.hour, hours.c.hour, dict(hours.c), sums)
        of_rows = [sa.func.count(), *(sa.func.sum(usage.c[name]) for name in counts)]
        by_row = _Source(usage, usage.c.started_at, self._second, BY_ROW, of_rows)
        found = await self._sums(span, by_hour, by_row, group_by, {"page": [page], **(only or {})})
        return [
            Sum(start, tuple(group), dict(zip(names, amounts, strict=True)))
            for (start, *group), amounts in found.items()
        ]

    async def spending(self, span: Span, *, group_by: Sequence[str] = (), only: Only | None = None) -> list[Sum]:
        """Amounts: `quantity`, meaningful by `unit` alone, and `pico`. group_by, only: columns of the costs."""
        sums = [sa.func.sum(costs.c.quantity), *summed_pico(costs.c.cost_pico)]
        by_hour = _Source(costs, costs.c.hour, costs.c.hour, dict(costs.c), sums)
        line = usage_sql.price_lines(sqlite=self._database.sqlite)
        columns = {**BY_ROW, "line_item": line.item, "unit": line.unit}
        sums = [sa.func.sum(line.quantity), *summed_pico(line.pico)]
        by_row = _Source(line.rows, usage.c.started_at, self._second, columns, sums)
        found = await self._sums(span, by_hour, by_row, group_by, only or {})
        return [
            Sum(start, tuple(group), {"quantity": quantity, "pico": whole_pico(millions, rest)})
            for (start, *group), (quantity, millions, rest) in found.items()
        ]

    async def saved(self, span: Span, *, group_by: Sequence[str] = (), only: Only | None = None) -> list[Sum]:
        """Amounts: `pico`, what answers from the cache would have cost. group_by, only: columns of the hours."""
        kept, each = hours.c.saved_pico, usage.c.saved_pico
        by_hour = _Source(hours, hours.c.hour, hours.c.hour, dict(hours.c), summed_pico(kept), [kept > 0])
        by_row = _Source(usage, usage.c.started_at, self._second, BY_ROW, summed_pico(each), [each > 0])
        found = await self._sums(span, by_hour, by_row, group_by, only or {})
        return [
            Sum(start, tuple(group), {"pico": whole_pico(millions, rest)})
            for (start, *group), (millions, rest) in found.items()
        ]

    async def money(self, span: Span, *, group_by: Sequence[str] = (), only: Only | None = None) -> list[Sum]:
        """Amounts: `requests`, and those that are `unpriced` and `unlisted`; tokens of `input` and `output`; in
        picodollars the `cost`, what was `saved`, and what is `listed`. group_by, only: columns of the hours."""
        kinds = ("cost_pico", "saved_pico", "list_pico")
        counts = [sa.func.sum(hours.c[name]) for name in ("requests", "unpriced", "unlisted")]
        sums = [*counts, *_tokens(hours), *(part for kind in kinds for part in summed_pico(hours.c[kind]))]
        by_hour = _Source(hours, hours.c.hour, hours.c.hour, dict(hours.c), sums)
        known = (usage.c.cost_pico, usage.c.list_pico)  # count() leaves out what is null
        of_rows = [sa.func.count(), *(sa.func.count() - sa.func.count(one) for one in known)]
        sums = [*of_rows, *_tokens(usage), *(part for kind in kinds for part in summed_pico(usage.c[kind]))]
        by_row = _Source(usage, usage.c.started_at, self._second, BY_ROW, sums)
        found = await self._sums(span, by_hour, by_row, group_by, only or {})
        return [Sum(start, tuple(group), _money(amounts)) for (start, *group), amounts in found.items()]

    async def _sums(
        self, span: Span, by_hour: _Source, by_row: _Source, group_by: Sequence[str], only: Only
    ) -> dict[tuple[Any, ...], list[int]]:
        """(start of the bucket, *group) -> amounts."""
        first, last = span.whole_hours()
        asked = [
            by_hour.asked(span, [(first, last)], group_by, only),
            by_row.asked(span, [(span.start, first), (last, span.end)], group_by, only),
        ]
        found: dict[tuple[Any, ...], list[int]] = {}
        async with self._database.read() as connection:
            for one in asked:
                if one is None:
                    continue
                keys = 1 + len(group_by)
                for row in await connection.execute(one):
                    amounts = [int(amount) for amount in row[keys:]]
                    sums = found.setdefault(tuple(row[:keys]), [0] * len(amounts))
                    sums[:] = [total + more for total, more in zip(sums, amounts, strict=True)]
        return found


def _tokens(table: sa.Table) -> list[sa.ColumnElement[int]]:
    """Of prompts and of answers, of every kind."""
    names = [name for name in COUNTS if name.endswith("_tokens")]
    kinds = [[name for name in names if name.startswith("output") is output] for output in (False, True)]
    return [sa.func.sum(sum((table.c[name] for name in kind[1:]), table.c[kind[0]])) for kind in kinds]


def _money(amounts: Sequence[int]) -> dict[str, int]:
    requests, unpriced, unlisted, prompt, answer, *parts = amounts
    cost, saved, listed = (whole_pico(*parts[place : place + 2]) for place in (0, 2, 4))
    return {
        "requests": requests,
        "unpriced": unpriced,
        "unlisted": unlisted,
        "input": prompt,
        "output": answer,
        "cost": cost,
        "saved": saved,
        "listed": listed,
    }


def _one_of(column: sa.ColumnElement[Any], values: Sequence[Any], name: str) -> sa.ColumnElement[bool]:
    """A size may have a grade before it: `hd 1024x1792`."""
    if name == "size":
        return sa.or_(*(sa.or_(column == value, column.endswith(f" {value}", autoescape=True)) for value in values))
    return column.in_(values)
