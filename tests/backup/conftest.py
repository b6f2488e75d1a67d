"""Data to back up, and places to restore it to."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from tests.backup.houses import Data
from tests.store.servers import PostgresServer, postgres_server

_numbers = count()


class New(Protocol):
    def __call__(self, kind: str, *, full: bool = False) -> Data:
        """On `sqlite` or `postgresql`; empty, or with some of everything."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def made() -> dict[str, Data]:
    """Data of each kind with some of everything, of which tests get copies."""
    return {}


@pytest.fixture
def new(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, made: dict[str, Data]
) -> New:
    def create(name: str, like: str) -> str:
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.create(name, like=like)

    def original(kind: str) -> Data:
        if kind not in made:
            url = create("full", "template1") if kind == "postgresql" else None
            made[kind] = Data(tmp_path_factory.mktemp("full") / "data", url)
            made[kind].fill()
        return made[kind]

    def new(kind: str, *, full: bool = False) -> Data:
        number = next(_numbers)
        folder, name = tmp_path / f"data-{number}", f"backup_{number}"
        if not full:
            return Data(folder, create(name, "template1") if kind == "postgresql" else None)
        source = original(kind)
        shutil.copytree(source.data, folder)
        return Data(folder, create(name, "full") if kind == "postgresql" else None, key=source.key)

    return new
