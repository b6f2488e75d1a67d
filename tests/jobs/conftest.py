"""A queue on SQLite, and on PostgreSQL for those that want both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store import queues
from tests.store.queues import Bench
from tests.store.servers import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create(f"jobs_{tmp_path.name}")
    with queues.opened(url) as made:
        yield made
