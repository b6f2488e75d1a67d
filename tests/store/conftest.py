"""A database of usage to write to, SQLite and PostgreSQL in turn."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.usage_rows import UsageRow, UsageRows
from homeport.store.usage_sums import UsageSums
from homeport.store.usage_tables import costs, hours, metadata
from tests.store import made_usage, queues
from tests.store.made_usage import HOUR
from tests.store.queues import Bench
from tests.store.servers import PostgresServer, postgres_server

T = TypeVar("T")


@dataclass
class Store:
    """A database with the tables of usage, on a loop of its own."""

    runner: asyncio.Runner
    database: Database
    rows: UsageRows
    sums: UsageSums

    def run(self, work: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await work

        return self.runner.run(wrapped())

    def write(self, *rows: UsageRow) -> None:
        self.run(self.rows.write(rows))

    def stored(self, table: sa.Table) -> list[Any]:
        async def read() -> list[Any]:
            async with self.database.read() as connection:
                return [*(await connection.execute(sa.select(table))).all()]

        return self.run(read())

    def execute(self, statement: Any) -> None:
        async def execute() -> None:
            async with self.database.write() as connection:
                await connection.execute(statement)

        self.run(execute())


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    file = f"sqlite:///{tmp_path_factory.mktemp('usage') / 'usage.db'}"
    url = file if request.param == "sqlite" else request.getfixturevalue("postgres").create("usage")
    with asyncio.Runner() as runner:
        database = Database(url, synchronous="NORMAL")
        made = Store(runner, database, UsageRows(database), UsageSums(database))
        made.run(made.rows.create())
        yield made
        made.run(made.rows.close())
        made.run(database.close())


@pytest.fixture
def store(shared: Store) -> Store:
    """Empty."""
    for table in metadata.tables.values():
        shared.execute(sa.delete(table))
    return shared


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a database for the state."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('state') / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create("state")


@pytest.fixture
def bench(state_url: str) -> Iterator[Bench]:
    with queues.opened(state_url) as made:
        yield made


def check_hours(store: Store, rows: list[UsageRow]) -> None:
    """What is kept by the hour is what the rows add up to."""
    names = [column.name for column in hours.primary_key.columns][1:]

    def key(one: UsageRow) -> tuple[Any, ...]:
        values = (one.ran if name == "model" else getattr(one, name) for name in names)
        return (int(one.started_at) // HOUR * HOUR, *values)

    wanted = made_usage.summed(rows, key, made_usage.COUNTS)
    money: dict[tuple[Any, ...], list[int | None]] = {}
    listed: dict[tuple[Any, ...], list[int | None]] = {}
    saved: Counter[tuple[Any, ...]] = Counter()
    for each in rows:
        money.setdefault(key(each), []).append(each.cost_pico)
        listed.setdefault(key(each), []).append(each.list_pico)
        saved[key(each)] += each.saved_pico or 0
    stored = {tuple(one[: 1 + len(names)]): one for one in store.stored(hours)}
    assert stored.keys() == wanted.keys()
    for group, one in stored.items():
        assert {name: getattr(one, name) for name in ("requests", *made_usage.COUNTS)} == wanted[group]
        assert one.cost_pico == sum(pico or 0 for pico in money[group])
        assert one.saved_pico == saved[group]
        assert one.unpriced == money[group].count(None)
        assert one.list_pico == sum(pico or 0 for pico in listed[group])
        assert one.unlisted == listed[group].count(None)
    lines = made_usage.spending(
        rows, lambda one, item, unit: (key(one)[0], one.project_id, one.user_id, one.key_id, item, unit)
    )
    assert {tuple(one[:6]): tuple(one[6:]) for one in store.stored(costs)} == lines
