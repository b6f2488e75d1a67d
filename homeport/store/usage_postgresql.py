"""Usage in PostgreSQL, beside the state."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from homeport.store.database import Database
from homeport.store.usage_batch import FIELDS, Batch
from homeport.store.usage_row import UsageRow
from homeport.store.usage_tables import costs, hours, usage


class UsagePostgreSQL:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """In the order of their ids: two processes that write the same wait for each other in one order."""
        batch = Batch.of(sorted(rows, key=lambda row: row.request_id))
        async with self._database.write() as connection:
            taken = await connection.execute(_INSERT, {"rows": msgspec.json.encode(batch.values).decode()})
            new = batch.only([*taken.scalars()])
            for table, added in zip((hours, costs), new.sums(), strict=True):
                if added:
                    names = table.c.keys()
                    await connection.execute(_ADD[table.name], [dict(zip(names, one, strict=True)) for one in added])

    async def close(self) -> None:
        pass


def _insert() -> Any:
    """The rows travel as one JSON parameter; the ids of those that are new come back."""
    given = sa.cast(sa.bindparam("rows", type_=sa.Text), postgresql.JSONB)
    column = sa.column("value", postgresql.JSONB)
    rows = sa.func.jsonb_array_elements(given).table_valued(column).render_derived(name="given")
    values = [
        sa.cast(rows.c.value.op("->>", return_type=sa.Text())(sa.literal_column(str(place))), usage.c[name].type)
        for place, name in enumerate(FIELDS)
    ]
    insert = postgresql.insert(usage).from_select(FIELDS, sa.select(*values), include_defaults=False)
    return insert.on_conflict_do_nothing(index_elements=["request_id"]).returning(usage.c.request_id)


def _add(table: sa.Table) -> Any:
    insert = postgresql.insert(table)
    more = {column.name: column + insert.excluded[column.name] for column in table.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=[*table.primary_key.columns], set_=more)


_INSERT = _insert()
_ADD = {table.name: _add(table) for table in (hours, costs)}
