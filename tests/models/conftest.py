"""A web of our own, and no waiting between tries."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.models import fake_web


@pytest.fixture
def web() -> Iterator[fake_web.Web]:
    with fake_web.running() as found:
        yield found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.backends.weights.download.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"
