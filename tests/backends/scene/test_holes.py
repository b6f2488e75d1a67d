"""Where in a mask something fits, and what fills it."""

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.backends.scene.holes import filled, largest_rectangle

Mask = numpy.ndarray[Any, Any]


def disc(size: int, x: float, y: float, radius: float) -> Mask:
    down, across = numpy.mgrid[:size, :size]
    mask: Mask = (across - x) ** 2 + (down - y) ** 2 < radius**2
    return mask


def covers(mask: Mask) -> bool:
    """The rectangle that is found is inside of it."""
    area = largest_rectangle(mask)
    assert area is not None
    width = mask.shape[1]
    top, left = round(area.top * width), round(area.left * width)
    bottom, right = round((area.top + area.height) * width), round((area.left + area.width) * width)
    assert bottom > top
    assert right > left
    return bool(mask[top:bottom, left:right].all())


def test_of_a_rectangle_all_of_it() -> None:
    mask = numpy.zeros((96, 192), bool)
    mask[20:60, 50:150] = True
    area = largest_rectangle(mask)
    assert area is not None
    assert area.left * 192 == pytest.approx(50, abs=2)
    assert area.top * 192 == pytest.approx(20, abs=2)
    assert area.width * 192 == pytest.approx(100, abs=3)
    assert area.height * 192 == pytest.approx(40, abs=3)


def test_of_a_disc_a_good_part() -> None:
    mask = disc(300, 150, 140, 100)
    area = largest_rectangle(mask)
    assert area is not None
    assert covers(mask)
    assert area.width * area.height * 300**2 > 0.55 * mask.sum()


def test_the_thicker_of_two_that_are_as_large() -> None:
    mask = numpy.zeros((200, 200), bool)
    mask[:20, :] = True
    mask[100:160, 60:120] = True
    area = largest_rectangle(mask)
    assert area is not None
    assert area.top > 0.4


def test_a_hole_of_a_pixel_and_none() -> None:
    mask = numpy.zeros((500, 500), bool)
    assert largest_rectangle(mask) is None
    mask[123, 321] = True
    area = largest_rectangle(mask)
    assert area is not None
    assert area.width == pytest.approx(1 / 500)


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(16, 300),
    holes=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.08, 0.5)), min_size=1, max_size=4),
)
def test_always_inside(size: int, holes: list[tuple[float, float, float]]) -> None:
    mask = numpy.zeros((size, size), bool)
    for x, y, radius in holes:
        mask |= disc(size, x * size, y * size, radius * size)
    if mask.sum() > 60:
        area = largest_rectangle(mask)
        assert area is not None
        if area.width * size > 3 and area.height * size > 3:
            assert covers(mask)


def test_what_is_filled_is_as_what_is_around() -> None:
    """From left to right it grows lighter, in the hole, too; what is known is as it was."""
    picture = numpy.zeros((200, 200, 4), numpy.uint8)
    picture[..., 0] = numpy.arange(200)
    picture[..., 3] = 255
    mask = disc(200, 100, 100, 60)
    whole = picture.copy()
    picture[mask] = 0
    done = filled(picture, mask)
    assert (done[~mask] == picture[~mask]).all()
    assert (done[..., 3] == 255).all()
    error = numpy.abs(done[mask].astype(int) - whole[mask].astype(int))
    assert error.max() < 60
    assert error[:, 0].mean() < 25
    assert done[100, 60, 0] < done[100, 140, 0]


def test_a_hole_that_is_everything_is_something() -> None:
    picture = numpy.full((64, 64, 4), 7, numpy.uint8)
    done = filled(picture, numpy.ones((64, 64), bool))
    assert (done[..., 3] == 255).all()
