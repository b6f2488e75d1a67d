"""One Redis and one PostgreSQL for all these tests.

Those that break nothing share two replicas, or one alone on SQLite. Whoever breaks things has a house of its own, with
a database that is new and a number of Redis that nobody else has.
"""

from collections.abc import Iterator
from itertools import count
from typing import TypedDict

import pytest

from tests.replicas.house import House, housed
from tests.store.servers import PostgresServer, RedisServer, postgres_server, redis_server

_numbers = count()


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """One that a test may kill."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def fragile() -> Iterator[RedisServer]:
    """One that a test may break."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class Stores(TypedDict, total=False):
    database_url: str
    redis_url: str


def stores(postgres: PostgresServer, redis: RedisServer) -> Stores:
    """New ones: what `housed` wants to know of them."""
    number = next(_numbers)
    return {
        "database_url": postgres.create(f"replicas_{number}"),
        "redis_url": f"redis://127.0.0.1:{redis.port}/{number}",
    }


@pytest.fixture(scope="session")
def two(postgres: PostgresServer, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """On PostgreSQL and Redis."""
    with housed(tmp_path_factory.mktemp("two"), replicas=2, **stores(postgres, redis)) as house:
        yield house


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """On SQLite, with its counters in memory."""
    with housed(tmp_path_factory.mktemp("one")) as house:
        yield house


@pytest.fixture(params=["one", "two"])
def house(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue(request.param)
    return found
