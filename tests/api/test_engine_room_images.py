"""Models that draw, lent by another process: the same pictures, events, counts and refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.backends.capabilities import Attached, Call
from homeport.backends.engine_room import EngineRoom
from homeport.gateway.endpoints import EDITS, GENERATIONS, VARIATIONS, Endpoint
from tests.api.brush import Brush
from tests.api.test_engine_room import Watched, room, run
from tests.api.test_engine_room_audio import said
from tests.fake_upstream import png

PICTURE = png(colour=7)


@pytest.fixture(scope="module")
def brush() -> Brush:
    return Brush()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, brush: Brush) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("room") / "s"
    with room(path, Watched(), audio=brush):
        yield path


def call_of(endpoint: Endpoint, folder: Path, **fields: Any) -> Call:
    attached: tuple[Attached, ...] = ()
    if endpoint is not GENERATIONS:
        path = folder / "staged"
        path.write_bytes(PICTURE)
        attached = (Attached("image", 'a "naïve"\r\nname.png', len(PICTURE), "0" * 64, path),)
    body = msgspec.json.encode({"model": "dall-e-2", **fields})
    return Call(endpoint.name, "req_1", "dall-e-2", body, bool(fields.get("stream")), model="ears", attached=attached)


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (GENERATIONS, {"prompt": "x", "n": 3, "size": "512x512"}),
        (GENERATIONS, {"prompt": "x", "stream": True}),
        (GENERATIONS, {"prompt": "nothing"}),
        (EDITS, {"prompt": "x"}),
        (EDITS, {"prompt": "x", "stream": True}),
        (VARIATIONS, {"n": 2}),
    ],
    ids=lambda value: getattr(value, "name", None) or str(value),
)
def test_the_same_is_drawn(shared: Path, brush: Brush, tmp_path: Path, endpoint: Endpoint, fields: Any) -> None:
    async def work(seen: EngineRoom) -> None:
        call = call_of(endpoint, tmp_path, **fields)
        here = await said(brush, endpoint, call)
        assert await said(seen.model("ears", "drawing"), endpoint, call) == here
        assert brush.calls[-1].body == call.body
        assert brush.sent[-1] == ({} if endpoint is GENERATIONS else {"image": [PICTURE]})
        if fields.get("prompt") != "nothing":
            assert here[1][-1].images == fields.get("n", 1)

    run(shared, work)


def test_what_it_can(shared: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        lent = seen.model("ears", "drawing")
        assert all(map(lent.can, ("draw", "edit_image", "vary_image")))
        assert not lent.can("chat")

    run(shared, work)
