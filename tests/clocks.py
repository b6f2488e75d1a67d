"""A clock of a test's own, for the modules that it is about. What is set in `homeport.clock` itself reaches the servers
of other tests as well, which live in the same process: they would spin, wait for ever, or lose their leases."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from homeport import clock


def own(monkeypatch: pytest.MonkeyPatch, *modules: str, **functions: Callable[..., Any]) -> None:
    """modules: `store.shared`, ... functions: in the place of those of `homeport.clock`; the others are its own."""
    assert functions.keys() <= {"now", "monotonic", "sleep"}
    given = {"now": clock.now, "monotonic": clock.monotonic, "sleep": clock.sleep, **functions}
    for module in modules:
        monkeypatch.setattr(f"homeport.{module}.clock", SimpleNamespace(**given))
