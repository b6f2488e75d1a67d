"""docs/upstreams.md: its settings are settings, its snippets can be served, its numbers are the code's."""

import re
from pathlib import Path

import msgspec
import pytest

from homeport import app, settings
from homeport.backends.upstreams import breaker, doors
from homeport.gateway import attempts, retries

PAGE = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("toml", SNIPPETS)
def test_the_snippets_can_be_served(toml: str, tmp_path: Path) -> None:
    file = tmp_path / "homeport.toml"
    file.write_text(f"{toml}\n[server]\ndata = {str(tmp_path)!r}\n")
    built = app.build(settings.load(file, {}))
    assert built.upstreams


def test_every_setting_that_it_names_is_one() -> None:
    """Of upstreams, routes, and what a model is asked."""
    words = {field.name for kind in (settings.Upstream, settings.RouteTarget) for field in msgspec.structs.fields(kind)}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = [^`]+)?`", PAGE)) - {"insufficient_quota"}
    assert named <= words
    assert {"retries", "failures", "connections", "queue", "models"} <= words & set(re.findall(r"`([a-z]+)`", PAGE))


def test_its_numbers_are_those_of_the_code() -> None:
    upstream = settings.Upstream()
    assert f"Up to `retries` times ({upstream.retries})" in PAGE
    assert f"`wait_seconds` ({upstream.wait_seconds:g})" in PAGE
    assert (retries.FIRST_BACKOFF, retries.LONGEST_BACKOFF, retries.SPREAD) == (0.5, 8.0, 0.1)
    assert (retries.SHARE, retries.FLOOR, retries.WINDOW) == (0.2, 10, 10.0)
    assert (breaker.FIRST_REST, doors.AVOID_SECONDS, attempts.PATIENCE) == (1.0, 1.0, 0.25)
