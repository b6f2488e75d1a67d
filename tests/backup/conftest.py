"""Data to back up, and places to restore it to."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.backup.houses import Data
from tests.store.servers import PostgresServer, postgres_server

_numbers = count()

New = Callable[[str], Data]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> New:
    """Empty, on `sqlite` or `postgresql`."""

    def new(kind: str) -> Data:
        number = next(_numbers)
        url = None
        if kind == "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres")
            url = server.create(f"backup_{number}")
        return Data(tmp_path / f"data-{number}", url)

    return new
