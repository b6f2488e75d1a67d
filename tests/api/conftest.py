"""Servers that live as long as the tests of this folder, and the official SDK's clients for them."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import openai
import pytest

from homeport.settings import DEFAULT_MODEL
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer, postgres_server

#: `make test` runs some files of this folder again, with the SDK's older generation (Makefile).
assert openai.__version__.partition(".")[0] == os.environ.get("OPENAI_SDK", "3"), openai.__version__

ECHO_MODEL = {"engine": "echo"}
_numbers = count()


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`echo`, and a slow one for whoever wants to leave early."""
    models = {"echo": ECHO_MODEL, "slow": {"engine": "echo", "delay": 0.05}}
    with running(tmp_path_factory.mktemp("echo"), {"models": models}) as server:
        yield server


@pytest.fixture(scope="session")
def client(echo_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=echo_server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory, smollm2_file: Path) -> Iterator[Running]:
    """The default model, as `make run` serves it, on one thread; `echo` beside it."""
    models = {DEFAULT_MODEL: {"path": str(smollm2_file), "engine": "llama_cpp", "threads": 1}, "echo": ECHO_MODEL}
    with running(tmp_path_factory.mktemp("real"), {"models": models}) as server:
        yield server


@pytest.fixture(scope="session")
def real_client(real_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=real_server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", params=databases.KINDS)
def owning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for what projects own, once for each kind of database."""
    url = None
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.create(f"owning_{next(_numbers)}")  # it may be asked for more than once
    with running(tmp_path_factory.mktemp("owning"), {"database_url": url} if url else {}) as server:
        yield server


@pytest.fixture(scope="session")
def mine(owning: Running) -> Iterator[openai.OpenAI]:
    with client_of(owning) as made:
        yield made


@pytest.fixture(scope="session")
def theirs(owning: Running) -> Iterator[openai.OpenAI]:
    """A client of another project."""
    with client_of(owning, new_key(owning, new_project(owning, "strangers"))) as made:
        yield made
