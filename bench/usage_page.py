"""The dashboard's pages of usage and of requests over a month of a million rows, on SQLite and PostgreSQL.

What a page of usage shows is one question: money, tokens and requests by the day, grouped. It is asked twice: of the
sums by the hour, as it is, and of the rows themselves, as it would be without those. The newest requests are
asked for as they are, from their own index, and as they would be with an index of the time alone; of all, and of those
that are seldom or never.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from bench.report import Goal, table
from bench.usage import DAY, DAYS, START, made
from homeport.control.usage import Usage
from homeport.store.database import Database
from homeport.store.usage_newest import UsageNewest
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows
from homeport.store.usage_sums import BY_ROW, UsageSums
from homeport.store.usage_tables import usage
from homeport.store.vector_store_usage import VectorStoreUsage
from homeport.wire.admin_usage import ModelParameters
from tests.store.servers import postgres_server

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
NAMES = (SQLITE, POSTGRESQL)
#: One row in so many is of a project, a model and an outcome that no other is of.
SELDOM = 20_000
GROUPS = ("project_id", "api_key_id", "model")
_BATCH = 1000
_PAGE = 50

Asking = Callable[[], Awaitable[object]]


@dataclass
class Pages:
    """by: database -> what is asked -> seconds, one for each round: as it is, and `before`."""

    rows: int
    by: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        heads = ["", *(f"{name}, {when}" for name in self.by for when in ("now", "before"))]
        return f"pages of the dashboard, over {self.rows:,} rows\n" + table(heads, table_rows(self))

    def goals(self) -> list[Goal]:
        """Of a page's data, on the slower database."""
        slowest = max(statistics.median(taken["now"]) for asked in self.by.values() for taken in asked.values())
        whole = self.rows >= 1_000_000
        return [Goal("slowest page of a million rows", slowest if whole else None, 0.6, 0.3, 0.1, unit=" s")]


def run(folder: Path, *, rows: int, rounds: int, names: Sequence[str] = NAMES) -> Pages:
    found = Pages(rows)
    for name, url in _databases(folder, names):
        print(f"{name}: {rows:,} rows are written", file=sys.stderr, flush=True)
        found.by[name] = asyncio.run(_measured(url, rows, rounds))
    return found


def _databases(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    if SQLITE in names:
        yield SQLITE, f"sqlite:///{folder / 'usage-page.db'}"
    if POSTGRESQL in names:
        with ExitStack() as stack, suppress(pytest.skip.Exception):
            yield POSTGRESQL, stack.enter_context(postgres_server()).url


async def _measured(url: str, rows: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    database = Database(url, synchronous="NORMAL")
    store = UsageRows(database)
    await store.create()
    waiting = _seldom(made(rows))
    while batch := list(islice(waiting, _BATCH)):
        await store.write(batch)
    await store.close()
    await _settle(database)
    found: dict[str, dict[str, list[float]]] = {}
    for name, ask in {**_pages(database), **_newest(database)}.items():
        found.setdefault(name, {})["now"] = await _timed(ask, rounds)
    await _old_index(database)
    for name, ask in {**_pages_of_rows(database), **_newest_of_rows(database)}.items():
        found[name]["before"] = await _timed(ask, min(rounds, 2))
    await database.close()
    return found


def _seldom(rows: Iterator[UsageRow]) -> Iterator[UsageRow]:
    for place, row in enumerate(rows):
        if place % SELDOM == SELDOM // 2:
            yield msgspec.structs.replace(row, project_id="proj_seldom", key_id="key_seldom", outcome="failed")
        else:
            yield msgspec.structs.replace(row, list_pico=row.cost_pico)


async def _timed(ask: Asking, rounds: int) -> list[float]:
    """The first round warms up and does not count."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - began)
    return taken[1:]


def _pages(database: Database) -> dict[str, Asking]:
    pages = Usage(UsageSums(database), VectorStoreUsage(database))
    month: dict[str, Any] = {"start_time": START, "end_time": START + DAYS * DAY, "limit": 31}

    def asked(group: Any) -> Asking:
        def ask() -> Awaitable[object]:
            return pages.listed_costs(ModelParameters(**month, group_by=[group]))

        return ask

    return {f"usage, 30 days, by {group}": asked(group) for group in GROUPS}


def _pages_of_rows(database: Database) -> dict[str, Asking]:
    """The same without the hours: the money and the tokens of each day and group, in one query."""
    day = sa.cast(usage.c.started_at, sa.BigInteger) // DAY

    def asked(group: str) -> Asking:
        columns = [day, BY_ROW["key_id" if group == "api_key_id" else group]]
        counts = (usage.c.input_tokens, usage.c.output_tokens, usage.c.cost_pico, usage.c.list_pico)
        query = sa.select(*columns, sa.func.count(), *map(sa.func.sum, counts)).group_by(*columns)

        async def ask() -> None:
            async with database.read() as connection:
                (await connection.execute(query.where(usage.c.started_at >= START))).all()

        return ask

    return {f"usage, 30 days, by {group}": asked(group) for group in GROUPS}


_CHOSEN: dict[str, dict[str, Any]] = {
    "the newest requests": {},
    "the newest requests of a project": {"project_id": [f"proj_{3:024d}"]},
    "the newest requests of a project that has few": {"project_id": ["proj_seldom"]},
    "the newest requests that failed": {"outcome": ["failed"]},
    "the newest requests of a model that nobody asked for": {"model": ["nobody"]},
}


def _newest(database: Database) -> dict[str, Asking]:
    newest = UsageNewest(database)

    def asked(only: Any) -> Asking:
        return lambda: newest.find(_PAGE + 1, only=only)

    return {name: asked(only) for name, only in _CHOSEN.items()}


def _newest_of_rows(database: Database) -> dict[str, Asking]:
    def asked(only: dict[str, Any]) -> Asking:
        chosen = [usage.c[name].in_(values) for name, values in only.items()]
        query = sa.select(usage).where(*chosen).order_by(usage.c.started_at.desc()).limit(_PAGE + 1)

        async def ask() -> None:
            async with database.read() as connection:
                (await connection.execute(query)).all()

        return ask

    return {name: asked(only) for name, only in _CHOSEN.items()}


async def _settle(database: Database) -> None:
    """What PostgreSQL does by itself within a minute of so many rows."""
    if not database.sqlite:
        async with database.read() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await connection.rollback()
            await driver.execute("VACUUM ANALYZE")


async def _old_index(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(sa.text("DROP INDEX ix_usage_newest"))
        await connection.execute(sa.text("CREATE INDEX ix_usage_started_at ON usage (started_at)"))
    await _settle(database)


def table_rows(found: Pages) -> list[list[str]]:
    """What is asked, then of each database the median in milliseconds: as it is, and before."""
    asked = next(iter(found.by.values()))
    return [
        [name, *(_ms(taken[name][when]) for taken in found.by.values() for when in ("now", "before"))] for name in asked
    ]


def _ms(taken: Sequence[float]) -> str:
    return f"{statistics.median(taken) * 1e3:.1f} ms"
