"""A queue on SQLite, and on PostgreSQL for those that want both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store import queues
from tests.store.queues import Bench
from tests.store.servers import postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Empty."""
    file = f"sqlite:///{tmp_path / 'state.db'}"
    url: str = file if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with queues.opened(url) as made:
        yield made
