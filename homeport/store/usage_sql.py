"""Where the SQL of usage differs between the two databases, or is more than a column."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from homeport.store.usage_tables import usage

MILLION = 1_000_000


def second(*, sqlite: bool) -> sa.ColumnElement[int]:
    """In which a row's request began. SQLite cuts off what PostgreSQL would round."""
    began = usage.c.started_at
    return sa.cast(began if sqlite else sa.func.floor(began), sa.BigInteger)


def bucket(of: sa.ColumnElement[int], width: int) -> sa.ColumnElement[int]:
    """Its start. A literal: two parameters of one value would be two expressions to GROUP BY."""
    return of - of % sa.literal_column(str(width), sa.BigInteger)


class PriceLines(NamedTuple):
    """The rows of usage, each as often as its price has lines. rows: to select from."""

    rows: sa.FromClause
    item: sa.ColumnElement[str]
    quantity: sa.ColumnElement[int]
    unit: sa.ColumnElement[str]
    pico: sa.ColumnElement[int]


def price_lines(*, sqlite: bool) -> PriceLines:
    each = sa.func.json_each if sqlite else sa.func.json_array_elements
    lines = each(usage.c.price_lines).table_valued(sa.column("value", sa.JSON))
    lines = lines.alias("line") if sqlite else lines.render_derived(name="line")

    def field(place: int, kind: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
        if sqlite:
            return sa.func.json_extract(lines.c.value, sa.literal_column(f"'$[{place}]'"), type_=kind)
        text = lines.c.value.op("->>", return_type=sa.Text())(sa.literal_column(str(place)))
        return text if isinstance(kind, sa.Text) else sa.cast(text, kind)

    number, word = sa.BigInteger(), sa.Text()
    rows = usage.join(lines, sa.true())
    return PriceLines(rows, item=field(0, word), quantity=field(1, number), unit=field(2, word), pico=field(4, number))


def summed_pico(pico: sa.ColumnElement[int]) -> list[sa.ColumnElement[int]]:
    """A sum of money in two parts, of millions and of what is left of them: more than nine million dollars of
    picodollars are more than the databases' integers hold."""
    return [sa.func.coalesce(sa.func.sum(part), 0) for part in (pico // MILLION, pico % MILLION)]


def whole_pico(millions: Any, rest: Any) -> int:
    return int(millions) * MILLION + int(rest)
