"""A database of each kind."""

from collections.abc import Iterator

import pytest

from homeport.store.database import Database
from tests.control import databases
from tests.store.servers import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=databases.KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """For one loop: a test is one asyncio.run, which closes it."""
    folder = tmp_path_factory.mktemp("control")
    return Database(databases.empty(request.param, folder, lambda: request.getfixturevalue("postgres")))
