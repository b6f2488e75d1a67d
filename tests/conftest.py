"""What every folder of tests may use."""

import asyncio
import functools
import importlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests import model_files

if TYPE_CHECKING:
    from homeport.backends.engines.llama_cpp import LlamaCpp
    from tests.llama import Llama

#: How fast a machine is, is nothing that a test can find wrong.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def trust_once() -> None:
    """Each client that a test makes of the SDK would read the system's authorities, 30 to 50 ms, for a server that
    speaks plain HTTP: one context is enough for all of them. Of both HTTP libraries."""
    with suppress(ImportError):
        library: Any = importlib.import_module("httpcore2")
        library.default_ssl_context = functools.cache(library.default_ssl_context)
    with suppress(ImportError):
        transports: Any = importlib.import_module("httpx._transports.default")
        make, kept = transports.create_ssl_context, functools.cache(transports.create_ssl_context)
        transports.create_ssl_context = lambda verify=True, cert=None, trust_env=True: (
            kept() if verify is True and cert is None and trust_env else make(verify, cert, trust_env)
        )


trust_once()

#: Folders whose files take longest: they go first, so that at the end no process waits for another's.
SLOW = ("replicas", "training", "backup", "engines", "store")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where an id holds an address of memory, every process of a run has other tests than the next."""
    if addressed := next((item.nodeid for item in items if " at 0x" in item.nodeid), None):
        raise pytest.UsageError(f"Give this test ids: {addressed}")
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in SLOW)


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """The default model's GGUF."""
    return model_files.smollm2()


@pytest.fixture
def smollm2(smollm2_file: Path) -> "Iterator[LlamaCpp]":
    """The default model in an engine of its own, not yet started; closed after the test."""
    pytest.importorskip("xllamacpp")
    from tests import llama

    engine = llama.unstarted(smollm2_file)
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="session")
def llama(smollm2_file: Path) -> "Iterator[Llama]":
    """The default model in an engine that all tests share, started, with its own loop."""
    pytest.importorskip("xllamacpp")
    from tests.llama import Llama, unstarted

    shared = Llama(unstarted(smollm2_file))
    yield shared
    shared.close()
