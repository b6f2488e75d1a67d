"""The art, its colours, and the pixels that become of it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy
import pytest

from homeport.backends.scene import thorvg
from homeport.backends.scene.art import Art
from homeport.backends.scene.colours import COLOURS, apart, seen, shown
from homeport.backends.scene.composing import composed
from homeport.backends.scene.rendering import UNITS, Part, Stopped, document, picture, pixels
from tests.backends.scene.drawings import described, drawn, group, laid_out

SQUARE = '<rect x="0" y="0" width="1000" height="1000" fill="#ff0000"/>'


def alone(art: Art, name: str, colour: str) -> "numpy.ndarray[Any, Any]":
    body = art.body(name, colour, "a")
    return picture(document([Part(body, 0, 1)], (0, 0, 1, 1), 64, 64))


def test_a_sample_of_all_drawings_is_drawn(art: Art) -> None:
    """All of them: tests/backends/scene/every_drawing.py."""
    for name in sorted(art.names)[::37]:
        shape = art.shape(name)
        assert 0 <= shape.left < shape.right <= 1
        assert 0 <= shape.top < shape.bottom <= 1
        assert ElementTree.fromstring(f'<svg xmlns:xlink="x">{art.body(name, "green", "a")}</svg>') is not None


@pytest.mark.parametrize("name", ["airplane-arrival", "shamrock", "violin", "paperclip", "butter", "man-zombie"])
def test_ids_are_unique_and_known(art: Art, name: str) -> None:
    """Those that have gradients and clips of their own."""
    note = laid_out(described(group(name, 2), group(name, 1, colour="red"), group("violin")), art)
    svg = document(composed(note, art), (0, 0, UNITS, UNITS), 100, 100)
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert {one for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg) for one in pair if one} <= set(ids)


def test_a_file_that_is_no_art(tmp_path: Path) -> None:
    for content in ("{}", "[]", '{"icons": {}}', '{"icons": {"a": 1}}', "no JSON"):
        path = tmp_path / "icons.json"
        path.write_text(content)
        with pytest.raises(ValueError, match="icons"):
            Art(path)


@pytest.mark.parametrize("name", ["cat", "cat-face", "dog", "automobile", "red-apple", "house", "bus", "horse", "rose"])
@pytest.mark.parametrize("colour", ["green", "blue", "purple", "red", "yellow"])
def test_what_is_recoloured_has_mostly_that_hue(art: Art, name: str, colour: str) -> None:
    shown_pixels = alone(art, name, colour)
    wanted = seen(COLOURS[colour])
    counted = hits = 0
    for red, green, blue, opacity in shown_pixels.reshape(-1, 4).tolist():
        look = seen(f"#{red:02x}{green:02x}{blue:02x}")
        if opacity > 200 and look.strong > 0.04:
            counted += 1
            hits += apart(look.hue, wanted.hue) < 0.5
    assert hits > 0.4 * counted


@pytest.mark.parametrize(("colour", "low", "high"), [("white", 0.8, 1.0), ("black", 0.0, 0.45)])
def test_white_and_black(art: Art, colour: str, low: float, high: float) -> None:
    for name in ("cat", "dog", "automobile", "red-apple", "rabbit", "swan"):
        solid = [one for one in alone(art, name, colour).reshape(-1, 4).tolist() if one[3] > 250]
        light = [seen(f"#{red:02x}{green:02x}{blue:02x}").light for red, green, blue, _ in solid]
        assert sum(low <= one <= high for one in light) > 0.45 * len(light)


def test_colours_survive_their_space() -> None:
    for colour in COLOURS.values():
        back = shown(seen(colour))
        assert max(abs(int(colour[at : at + 2], 16) - int(back[at : at + 2], 16)) for at in (1, 3, 5)) <= 1


@pytest.mark.parametrize("size", [(64, 64), (64, 192), (1000, 333), (257, 511)])
def test_any_size(art: Art, size: tuple[int, int]) -> None:
    width, height = size
    note = laid_out(described(group("cat"), group("dog"), ground="forest"), art, ratio=height / width)
    shown_pixels = pixels(composed(note, art), width, height)
    assert shown_pixels.shape == (height, width, 4)
    assert (shown_pixels[..., 3] == 255).all()


def test_strips_are_as_the_whole(art: Art) -> None:
    note = laid_out(described(group("cat", 3), group("house"), ground="meadow", weather="rain"), art)
    parts = composed(note, art)
    whole = picture(document(parts, (0, 0, UNITS, UNITS), 700, 700)).astype(int)
    strips = pixels(parts, 700, 700).astype(int)
    assert numpy.abs(whole - strips).max() <= 40  # at edges that fall between strips
    assert numpy.abs(whole - strips).mean() < 0.05


def test_drawn_in_several_threads_at_once_as_in_one(art: Art) -> None:
    note = laid_out(described(group("cat", 3), group("violin"), ground="forest", weather="rain"), art)
    parts = composed(note, art)
    alone = pixels(parts, 300, 300)
    with ThreadPoolExecutor(4) as threads:
        for together in threads.map(lambda _: pixels(parts, 300, 300), range(24)):
            assert (together == alone).all()


def test_what_is_no_svg_is_refused() -> None:
    for text in ("", "cat", '<svg width="8" height="8"'):
        with pytest.raises(ValueError, match="width|ThorVG"):
            picture(text)


def test_no_memory_is_written_that_is_not_there() -> None:
    gaps = numpy.zeros((8, 16, 4), numpy.uint8)[:, ::2]
    svg = document([Part(SQUARE, 0, UNITS)], (0, 0, UNITS, UNITS), 8, 8)
    with pytest.raises(ValueError, match="gaps"):
        thorvg.draw(svg, gaps)


def test_opacity_is_not_in_the_colours() -> None:
    half = SQUARE.replace("/>", ' fill-opacity="0.5"/>')
    for finer in (1, 2):
        seen_through = pixels([Part(half, 0, UNITS)], 16, 16, finer=finer)[8, 8].tolist()
        assert seen_through[0] >= 253
        assert abs(seen_through[3] - 128) <= 1


def test_a_drawing_that_nobody_wants_ends_between_strips() -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(Stopped):
        pixels([Part(SQUARE, 0, UNITS)], 2048, 2048, stopped=stopped)
    assert asked == 3


def test_finer_is_nearer_to_what_it_should_be() -> None:
    line = Part('<path stroke="#000" stroke-width="3" d="M0 0L1000 330"/>', 0, 330)
    best = pixels([line], 100, 100, finer=8).astype(int)
    errors = [numpy.abs(pixels([line], 100, 100, finer=finer).astype(int) - best).sum() for finer in (1, 2, 4)]
    assert errors == sorted(errors, reverse=True)


def test_nothing_but_things_where_the_ground_is_left_out(art: Art) -> None:
    note = laid_out(described(group("cat"), ground="meadow", weather="snow"), art)
    bare = drawn(note, art, bare=True)
    assert (bare[0, :, 3] == 0).all()
    assert 0.03 < (bare[..., 3] > 0).mean() < 0.6
