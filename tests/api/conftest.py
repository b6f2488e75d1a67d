"""Servers that live as long as the tests of this folder, and the official SDK's clients for them."""

from collections.abc import Iterator

import openai
import pytest

from tests.server import KEY, Running, running


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`echo`, and a slow one for whoever wants to leave early."""
    models = {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.05}}
    with running(tmp_path_factory.mktemp("echo"), {"models": models}) as server:
        yield server


@pytest.fixture(scope="session")
def client(echo_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=echo_server.base_url, api_key=KEY, max_retries=0) as made:
        yield made
