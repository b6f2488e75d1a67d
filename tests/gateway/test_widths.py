"""How many lines of batches are on their way at once, by who answers them."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport import backing
from homeport.backends.engines.echo import Echo
from homeport.backends.text import Occupancy
from homeport.errors import ModelNotFound
from homeport.gateway.endpoints import CHAT, EMBEDDINGS
from homeport.gateway.widths import AT_ONCE, Widths
from homeport.settings import Settings

ONE_ADDRESS = {"base_url": "http://127.0.0.1:1/v1"}


def widths(tmp_path: Path, chosen: int | None = None, *, ready: bool = True, **table: Any) -> Widths:
    settings = msgspec.convert({"server": {"data": str(tmp_path)}, "models": {}, **table}, Settings)
    backed = backing.backing(settings)
    if ready:
        for held in backed.held.values():
            asyncio.run(held.start())
    return Widths(backed.router, chosen)


@pytest.mark.parametrize(("parallel", "chat", "vectors"), [(8, 8, 16), (None, AT_ONCE, AT_ONCE)])
def test_a_model_of_this_machine_has_as_many_as_places(
    tmp_path: Path, parallel: int | None, chat: int, vectors: int
) -> None:
    """Of embeddings twice as many: the next ones are ready when a round of them ends."""
    of = widths(tmp_path, models={"m": {"engine": "echo", "parallel": parallel}})
    assert (of.lines_at_once(CHAT, "m"), of.lines_at_once(EMBEDDINGS, "m")) == (chat, vectors)


def test_lines_alone_may_be_more_than_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Echo, "occupancy", lambda _: (Occupancy("wide", 2, 0, 0, most_lines=8), Occupancy("other", 4, 0, 0))
    )
    assert widths(tmp_path, models={"m": {"engine": "echo"}}).lines_at_once(CHAT, "m") == 8


def test_of_a_model_that_is_being_loaded_nobody_knows(tmp_path: Path) -> None:
    of = widths(tmp_path, ready=False, models={"m": {"engine": "echo", "parallel": 8}})
    assert of.lines_at_once(CHAT, "m") == AT_ONCE


@pytest.mark.parametrize(
    ("upstream", "width"),
    [
        (ONE_ADDRESS, AT_ONCE),
        ({**ONE_ADDRESS, "connections": 16}, 14),
        ({**ONE_ADDRESS, "connections": 1}, 1),
        ({"base_urls": ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"], "connections": 8}, 14),
    ],
)
def test_an_upstream_has_as_many_as_connections_are_for_lines(
    tmp_path: Path, upstream: dict[str, Any], width: int
) -> None:
    assert widths(tmp_path, upstreams={"far": upstream}).lines_at_once(CHAT, "any") == width


def test_of_several_targets_the_widest_counts(tmp_path: Path) -> None:
    routes = {"both": {"targets": [{"model": "m", "weight": 1}, {"upstream": "far", "weight": 1}]}}
    models = {"m": {"engine": "echo", "parallel": 3}}
    of = widths(tmp_path, models=models, upstreams={"far": {**ONE_ADDRESS, "connections": 16}}, routes=routes)
    assert {of.lines_at_once(CHAT, "both") for _ in range(20)} == {14}


def test_the_operator_has_the_last_word(tmp_path: Path) -> None:
    of = widths(tmp_path, 5, models={"m": {"engine": "echo", "parallel": 8}})
    assert of.lines_at_once(CHAT, "m") == 5
    with pytest.raises(ModelNotFound):
        of.lines_at_once(CHAT, "no such model")
