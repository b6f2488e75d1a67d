"""The engine by its seam: what its card says, what it refuses, and that it ends when it is told to. The rest of it is
tested through HTTP (tests/api/test_images_diffusion.py)."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy
import pytest

from homeport.backends.drawing import Base, DrawingCard, Wish
from homeport.backends.engines.diffusion import Diffusion
from homeport.errors import InvalidRequest, Unavailable
from tests import diffusion_models as models


def wish(width: int = 64, height: int = 64, **more: Any) -> Wish:
    fields = {"kind": "generation", "prompt": "a red cat", "width": width, "height": height, "seed": 5, **more}
    return Wish(**fields)


def started(folder: Path, **more: Any) -> Diffusion:
    engine = Diffusion(folder, threads=1, **more)
    asyncio.run(engine.start())
    return engine


def test_its_card(tmp_path: Path) -> None:
    engine = started(models.stable_diffusion(tmp_path / "a"))
    assert engine.card == DrawingCard(2000, 64, 4096, 1, 64, edits=True, varies="any", unfinished=True)
    assert engine.tokens("a red cat") == 3
    plain = started(models.stable_diffusion(tmp_path / "b", encoder=None))
    assert (plain.card.edits, plain.card.varies) == (False, "none")


def test_shapes_that_an_export_does_not_draw(tmp_path: Path) -> None:
    engine = started(models.stable_diffusion(tmp_path, size=8))
    engine.check(wish())
    engine.check(wish(1024, 1024))
    with pytest.raises(InvalidRequest, match="draws pictures of 64x64 and of that shape") as caught:
        engine.check(wish(128, 64))
    assert caught.value.param == "size"


def test_one_picture_is_edited(tmp_path: Path) -> None:
    engine = started(models.stable_diffusion(tmp_path))
    given = Base(numpy.zeros((64, 64, 4), numpy.uint8), None)
    engine.check(wish(kind="edit", bases=(given,)))
    with pytest.raises(InvalidRequest, match="edits one image, and there are 2"):
        engine.check(wish(kind="edit", bases=(given, given)))


@pytest.mark.parametrize(("unfinished", "steps", "shown"), [(0, 10, 0), (3, 10, 3), (3, 2, 1), (2, 1, 0)])
def test_pictures_in_the_making(tmp_path: Path, unfinished: int, steps: int, shown: int) -> None:
    """No more than there are steps before the last one."""

    async def run() -> list[bool]:
        engine = Diffusion(models.stable_diffusion(tmp_path), threads=1, steps=steps)
        await engine.start()
        try:
            async with aclosing(engine.draw(wish(unfinished=unfinished))) as drawing:
                return [one.last async for one in drawing]
        finally:
            await engine.close()

    assert asyncio.run(run()) == [False] * shown + [True]


def test_the_end_of_the_server_is_the_end_of_the_picture(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Diffusion(models.stable_diffusion(tmp_path), threads=1, steps=500)
        await engine.start()
        drawing = engine.draw(wish(unfinished=3))
        await anext(drawing)
        rest = asyncio.ensure_future(anext(drawing))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises((Unavailable, asyncio.CancelledError)):  # in the middle of a pass, or between two
            await rest
        assert engine.occupancy()[0].busy == 0

    asyncio.run(run())


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*model_index\.json"):
        started(tmp_path)
