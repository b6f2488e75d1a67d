"""The newest rows of usage, of all or of some.

Which rows they are is found in the index alone (`ix_usage_newest`), whatever is chosen: a million that are passed over
are a scan of it, and not a million rows that are read.
"""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.usage_batch import FIELDS
from homeport.store.usage_row import UsageRow
from homeport.store.usage_tables import usage

#: Column -> the values that it may have.
Only = Mapping[str, Sequence[str]]
#: What rows may be chosen by.
COLUMNS = ("project_id", "key_id", "model", "endpoint", "outcome")


class UsageNewest:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self,
        count: int,
        *,
        only: Only | None = None,
        start: float | None = None,
        end: float | None = None,
        after: UsageRow | None = None,
    ) -> list[UsageRow]:
        """At most so many that began in [start, end), and before `after` did. only: of COLUMNS. Raises Unavailable."""
        chosen: list[sa.ColumnElement[bool]] = [usage.c[name].in_(values) for name, values in (only or {}).items()]
        if start is not None:
            chosen.append(usage.c.started_at >= start)
        if end is not None:
            chosen.append(usage.c.started_at < end)
        if after is not None:
            seq = sa.select(usage.c.seq).where(usage.c.request_id == after.request_id).scalar_subquery()
            chosen.append(sa.tuple_(usage.c.started_at, usage.c.seq) < sa.tuple_(sa.literal(after.started_at), seq))
        newest = (usage.c.started_at.desc(), usage.c.seq.desc())
        found = sa.select(usage.c.seq).where(*chosen).order_by(*newest).limit(count)
        async with self._database.read() as connection:
            seqs = [*(await connection.execute(found)).scalars()]
            rows = sa.select(*(usage.c[name] for name in FIELDS)).where(usage.c.seq.in_(seqs)).order_by(*newest)
            return [msgspec.convert(list(row), UsageRow) for row in await connection.execute(rows)]
