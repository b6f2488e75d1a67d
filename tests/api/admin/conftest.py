"""The Admin API, once for each kind of database."""

from collections.abc import Iterator

import pytest

from tests.api.admin.served import Served, serving
from tests.control import databases
from tests.store.servers import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=databases.KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Shared by the tests of a file: each makes its own projects, and looks at nobody else's."""
    folder = tmp_path_factory.mktemp("admin")
    with serving(databases.empty(request.param, folder, lambda: request.getfixturevalue("postgres"))) as made:
        yield made


@pytest.fixture
def project(served: Served) -> str:
    """The id of a new one."""
    made: str = served.admin.projects.create(name="Blue").id
    return made
