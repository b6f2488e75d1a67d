"""scene: what is drawn for a prompt, changed by a mask or in words, varied, and refused."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest

from homeport.backends.drawing import Base, Drawn, Wish
from homeport.backends.engines.scene import Scene
from homeport.backends.scene.description import Note
from homeport.errors import InvalidRequest, SettingsError, Unavailable
from tests import model_files

APPLES = "three red apples and a banana on a table"


class Drawer:
    """The engine, in a loop of its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.engine = Scene(model_files.scene())
        self._runner.run(self.engine.start())

    def close(self) -> None:
        self._runner.run(self.engine.close())
        self._runner.close()

    def check(self, wanted: Wish) -> None:
        self.engine.check(wanted)

    def drawn(self, wanted: Wish) -> Drawn:
        return self._runner.run(drawn(self.engine, wanted))


@pytest.fixture(scope="module")
def scene() -> Iterator[Drawer]:
    drawer = Drawer()
    yield drawer
    drawer.close()


def wish(prompt: str = APPLES, width: int = 256, height: int = 256, seed: int = 1, **more: Any) -> Wish:
    return Wish(more.pop("kind", "generation"), prompt, width, height, seed, **more)


async def drawn(scene: Scene, wanted: Wish) -> Drawn:
    scene.check(wanted)
    (only,) = [one async for one in scene.draw(wanted)]
    assert only.last
    assert only.pixels.shape == (wanted.height, wanted.width, 4)
    assert only.pixels.dtype == numpy.uint8
    return only


def note_of(one: Drawn) -> Note:
    assert one.note is not None
    return msgspec.json.decode(one.note, type=Note)


def arts(note: Note) -> Counter[str]:
    return Counter(note.description.groups[one.group].art for one in note.placed)


def photo(width: int = 256, height: int = 256) -> "numpy.ndarray[Any, Any]":
    """Of noise: whatever is changed is found."""
    pixels = numpy.random.default_rng(5).integers(0, 256, (height, width, 4), numpy.uint8)
    pixels[..., 3] = 255
    return pixels


def hole(width: int = 256, height: int = 256) -> "numpy.ndarray[Any, Any]":
    """A disc, and a bit that hangs off it."""
    y, x = numpy.mgrid[:height, :width]
    mask: numpy.ndarray[Any, Any] = ((x - 150) ** 2 + (y - 120) ** 2 < 70**2) | ((x < 30) & (y < 30))
    return mask


def test_what_is_asked_for_is_drawn_and_said(scene: Drawer) -> None:
    one = scene.drawn(wish())
    assert one.revised is not None
    assert "three red apples" in one.revised
    assert "composed" in one.revised
    assert arts(note_of(one)) == {"red-apple": 3, "banana": 1}
    assert (one.pixels[..., 3] == 255).all()


def test_what_is_not_understood_is_said_and_not_drawn(scene: Drawer) -> None:
    one = scene.drawn(wish("a cat playing the theremin"))
    assert "'theremin'" in (one.revised or "")
    assert arts(note_of(one)) == {"cat": 1}


def test_the_same_wish_gives_the_same_picture(scene: Drawer) -> None:
    first, again, other = [scene.drawn(wish(seed=seed)) for seed in (1, 1, 2)]
    assert first.note == again.note
    assert (first.pixels == again.pixels).all()
    assert first.note != other.note


def test_sizes_of_one_shape_are_one_drawing(scene: Drawer) -> None:
    small, large = scene.drawn(wish()), scene.drawn(wish(width=512, height=512))
    assert small.note == large.note


def test_quality_and_style_change_pixels(scene: Drawer) -> None:
    plain = scene.drawn(wish())
    assert (scene.drawn(wish(quality="low"))).pixels.tobytes() == plain.pixels.tobytes()
    fine = scene.drawn(wish(quality="high"))
    assert fine.note == plain.note
    assert (fine.pixels != plain.pixels).any()

    def strength(one: Drawn) -> float:
        colours = one.pixels[..., :3].astype(float)
        return float((colours.max(axis=2) - colours.min(axis=2)).mean())

    vivid, natural = scene.drawn(wish(style="vivid")), scene.drawn(wish(style="natural"))
    assert strength(natural) < strength(plain) < strength(vivid)


def test_a_transparent_background(scene: Drawer) -> None:
    one = scene.drawn(wish("a cat in the rain", transparent=True))
    assert (one.pixels[0, :, 3] == 0).all()
    assert 0.02 < (one.pixels[..., 3] == 255).mean() < 0.7


class TestEdits:
    def test_outside_of_the_mask_no_pixel_changes(self, scene: Drawer) -> None:
        base, mask = photo(), hole()
        edit = wish("a red balloon", kind="edit", bases=(Base(base, None),), mask=mask, style="vivid")
        one = scene.drawn(edit)
        assert (one.pixels[~mask] == base[~mask]).all()
        assert (one.pixels[mask][:, 3] == 255).all()
        red = (one.pixels[..., 0] > 180) & (one.pixels[..., 1] < 90) & (one.pixels[..., 2] < 110)
        assert red[mask].mean() > 0.1
        assert one.note is None

    def test_things_are_inside_of_it(self, scene: Drawer) -> None:
        """Whole: what is drawn of them alone is as much as without the mask's edge."""
        mask = hole()
        clear = numpy.zeros((256, 256, 4), numpy.uint8)
        edit = wish("two red apples", kind="edit", bases=(Base(clear, None),), mask=mask, transparent=True)
        one = scene.drawn(edit)
        rows, columns = numpy.nonzero(one.pixels[..., 3])
        assert len(rows)
        assert mask[rows, columns].all()
        assert not (one.pixels[mask][:, 3] == 255).all()
        ring = mask & ~numpy.roll(mask, 2, 0) | mask & ~numpy.roll(mask, -2, 0)
        assert (one.pixels[ring][:, 3] == 0).mean() > 0.97

    def test_a_hole_is_filled_with_what_is_around_it(self, scene: Drawer) -> None:
        base = numpy.full((256, 256, 4), 255, numpy.uint8)
        base[..., :3] = (40, 120, 200)
        mask = hole()
        base[mask] = 0
        one = scene.drawn(wish("a banana", kind="edit", bases=(Base(base, None),), mask=mask))
        corner = one.pixels[5, 5]
        assert numpy.abs(corner.astype(int) - (40, 120, 200, 255)).max() <= 3

    def test_a_ground_that_is_named_is_drawn_into_it(self, scene: Drawer) -> None:
        base, mask = photo(), numpy.ones((256, 256), bool)
        mask[:, :100] = False
        edit = wish("a yellow background", kind="edit", bases=(Base(base, None),), mask=mask)
        one = scene.drawn(edit)
        inside = one.pixels[mask].astype(int)
        assert (inside[:, 0] > 180).all()
        assert (inside[:, 2] < 140).all()
        assert (one.pixels[~mask] == base[~mask]).all()

    def test_things_are_taken_out_of_our_own_drawing(self, scene: Drawer) -> None:
        own = scene.drawn(wish("a red balloon in the sky"))
        mask = numpy.ones((256, 256), bool)
        edit = wish("remove the balloon", kind="edit", bases=(Base(own.pixels, own.note),), mask=mask)
        one = scene.drawn(edit)
        red = (one.pixels[..., 0] > 180) & (one.pixels[..., 1] < 90)
        assert not red.any()

    def test_our_own_drawing_is_added_to(self, scene: Drawer) -> None:
        own = scene.drawn(wish("two dogs in a meadow"))
        one = scene.drawn(wish("add a tree", kind="edit", bases=(Base(own.pixels, own.note),), seed=9))
        before, after = note_of(own), note_of(one)
        assert arts(after) == arts(before) + Counter({"deciduous-tree": 1})
        assert set(before.placed) < set(after.placed)

    def test_our_own_drawing_loses_things(self, scene: Drawer) -> None:
        own = scene.drawn(wish("two dogs and a cat in a meadow"))
        one = scene.drawn(wish("remove the dogs", kind="edit", bases=(Base(own.pixels, own.note),)))
        assert arts(note_of(one)) == {"cat": 1}

    def test_another_time_of_day(self, scene: Drawer) -> None:
        own = scene.drawn(wish("a dog in a meadow"))
        one = scene.drawn(wish("make it night", kind="edit", bases=(Base(own.pixels, own.note),)))
        assert note_of(one).placed == note_of(own).placed
        assert one.pixels[..., :3].mean() < 0.6 * own.pixels[..., :3].mean()

    @pytest.mark.parametrize("note", [None, "", "{}", "[" * 100_000, '{"version": 1}'])
    def test_a_foreign_picture_needs_a_mask(self, scene: Drawer, note: str | None) -> None:
        with pytest.raises(InvalidRequest, match="mask") as error:
            scene.check(wish("a cat", kind="edit", bases=(Base(photo(), note),)))
        assert error.value.param == "mask"

    def test_one_picture_at_a_time(self, scene: Drawer) -> None:
        two = (Base(photo(), None), Base(photo(), None))
        with pytest.raises(InvalidRequest, match="one picture"):
            scene.check(wish("a cat", kind="edit", bases=two, mask=hole()))

    def test_a_mask_that_shows_nothing(self, scene: Drawer) -> None:
        with pytest.raises(InvalidRequest, match="mask"):
            scene.check(wish("a cat", kind="edit", bases=(Base(photo(), None),), mask=numpy.zeros((256, 256), bool)))

    def test_a_mask_of_a_few_pixels(self, scene: Drawer) -> None:
        base, mask = photo(), numpy.zeros((256, 256), bool)
        mask[200:203, 17:19] = True
        one = scene.drawn(wish("a cat", kind="edit", bases=(Base(base, None),), mask=mask))
        assert (one.pixels[~mask] == base[~mask]).all()


class TestVariations:
    @pytest.mark.parametrize("prompt", [APPLES, "two dogs and a house in a meadow at sunset", "a red heart"])
    def test_the_same_things_in_other_places(self, scene: Drawer, prompt: str) -> None:
        own = scene.drawn(wish(prompt))
        made = [
            scene.drawn(wish("", kind="variation", bases=(Base(own.pixels, own.note),), seed=seed))
            for seed in (1, 2, 2)
        ]
        for one in made:
            assert note_of(one).description == note_of(own).description
            assert note_of(one).placed != note_of(own).placed
            assert (one.pixels != own.pixels).any()
            assert (one.pixels != own.pixels[:, ::-1]).any()
        assert made[0].note != made[1].note == made[2].note

    def test_in_another_shape(self, scene: Drawer) -> None:
        own = scene.drawn(wish())
        one = scene.drawn(wish("", 384, 256, kind="variation", bases=(Base(own.pixels, own.note),)))
        assert arts(note_of(one)) == arts(note_of(own))

    def test_a_foreign_picture_cannot_be_varied(self, scene: Drawer) -> None:
        with pytest.raises(InvalidRequest, match="diffusion") as error:
            scene.check(wish("", kind="variation", bases=(Base(photo(), None),)))
        assert error.value.param == "image"


@pytest.mark.parametrize("prompt", ["justice", "quantum entanglement of theremins", "???", "the"])
def test_a_prompt_in_which_nothing_can_be_drawn(scene: Drawer, prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="animals, plants") as error:
        scene.drawn(wish(prompt))
    assert error.value.param == "prompt"


def test_shapes_that_are_too_long(scene: Drawer) -> None:
    for width, height in ((64, 512), (512, 64)):
        with pytest.raises(InvalidRequest) as error:
            scene.check(wish(width=width, height=height))
        assert error.value.param == "size"


def test_who_comes_when_the_queue_is_full_is_sent_away() -> None:
    async def run() -> None:
        engine = Scene(model_files.scene(), parallel=1, queue=1)
        await engine.start()
        large = wish(width=2048, height=2048)
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(drawn(engine, large))
            await until(lambda: engine.occupancy()[0].waiting == 1)
            with pytest.raises(Unavailable) as error:
                await drawn(engine, large)
            assert error.value.code == "model_overloaded"
        assert engine.occupancy()[0].busy == 0
        await engine.close()

    asyncio.run(run())


def test_who_leaves_lets_the_next_one_draw() -> None:
    """What was begun ends at its next strip."""

    async def run() -> None:
        engine = Scene(model_files.scene(), parallel=1)
        await engine.start()
        leaving = asyncio.ensure_future(drawn(engine, wish(width=4096, height=4096)))
        await until(lambda: engine.occupancy()[0].busy == 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert engine.occupancy()[0].busy == 0
        await drawn(engine, wish(width=64, height=64))
        await engine.close()

    asyncio.run(run())


def test_other_threads_are_not_pretended() -> None:
    with pytest.raises(SettingsError, match="one thread"):
        Scene(model_files.scene(), threads=4)


def test_files_that_are_no_art(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Scene(tmp_path / "icons.json")
        try:
            await engine.start()
        finally:
            await engine.close()

    (tmp_path / "icons.json").write_text("{}")
    with pytest.raises(ValueError, match="icons"):
        asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (nothing tells a test of these moments)
        await asyncio.sleep(0.001)
