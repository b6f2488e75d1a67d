"""Where things are put: as many as are asked for, in the picture, to be seen, and as they are related."""

from collections import Counter
from typing import get_args

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.backends.scene import composing
from homeport.backends.scene.art import Art
from homeport.backends.scene.blocks import Piece
from homeport.backends.scene.description import Description, Ground, Note, Relation, Side, Size
from homeport.backends.scene.rendering import UNITS, Part, pixels
from tests.backends.scene.drawings import described, group, laid_out, of_group, pieces, spots

ROUND = 0.005
SEEDS = range(6)


def middle(piece: Piece) -> tuple[float, float]:
    return (piece.left + piece.right) / 2, (piece.top + piece.bottom) / 2


def assert_inside(note: Note, art: Art) -> None:
    for piece in pieces(note, art):
        assert piece.left >= -ROUND
        assert piece.top >= -ROUND
        assert piece.right <= 1 + ROUND
        assert piece.bottom <= note.ratio + ROUND


def assert_counts(note: Note) -> None:
    counts = Counter(one.group for one in note.placed)
    assert counts == {number: one.count for number, one in enumerate(note.description.groups)}


@pytest.mark.parametrize("ground", get_args(Ground))
@pytest.mark.parametrize("ratio", [1 / 3, 9 / 16, 1.0, 16 / 9, 3.0])
def test_all_that_is_asked_for_is_in_the_picture(art: Art, ground: Ground, ratio: float) -> None:
    description = described(
        group("house"),
        group("deciduous-tree", 3),
        group("red-apple", 2),
        group("sun"),
        group("automobile"),
        ground=ground,
    )
    note = laid_out(description, art, ratio=ratio)
    assert_counts(note)
    assert_inside(note, art)


@pytest.mark.parametrize("ground", ["plain", "meadow", "table", "underwater", "city"])
@pytest.mark.parametrize("ratio", [1 / 3, 1.0, 3.0])
def test_sixty_sheep_have_room(art: Art, ground: Ground, ratio: float) -> None:
    note = laid_out(described(group("ewe", 60), ground=ground), art, ratio=ratio)
    assert_counts(note)
    assert_inside(note, art)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ground", ["plain", "meadow", "beach", "table", "room", "space"])
def test_nothing_is_hidden(art: Art, ground: Ground, seed: int) -> None:
    """Of each thing's pixels at least 60 of 100 are seen."""
    description = described(group("dog", 2), group("cat", 3), group("deciduous-tree", 2), group("horse"), ground=ground)
    note = laid_out(description, art, seed=seed)
    for share in shares_seen(note, art):
        assert share >= 0.6


def shares_seen(note: Note, art: Art) -> list[float]:
    """Of each thing, how much of what it would be alone is not covered by others."""
    parts = composing.things(note, art)
    masks = [pixels([part], 200, round(200 * note.ratio))[..., 3] > 127 for part in parts]
    covered = numpy.zeros_like(masks[0])
    found = []
    for mask in reversed(masks):
        found.append(float((mask & ~covered).sum() / mask.sum()))
        covered |= mask
    return found


def test_the_same_seed_puts_everything_in_the_same_place(art: Art) -> None:
    description = described(group("dog", 2), group("house"), group("bird", 3), ground="meadow")
    assert laid_out(description, art, seed=7) == laid_out(description, art, seed=7)
    assert laid_out(description, art, seed=7).placed != laid_out(description, art, seed=8).placed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ground", ["plain", "meadow", "room"])
class TestRelations:
    def two(
        self, art: Art, relation: Relation, ground: Ground, seed: int, names: tuple[str, str]
    ) -> tuple[Piece, Piece]:
        """The first is put to the second."""
        note = laid_out(described(group(names[0], 1, relation, 1), group(names[1]), ground=ground), art, seed=seed)
        assert_inside(note, art)
        (one,), (other,) = of_group(note, art, 0), of_group(note, art, 1)
        return one, other

    def test_on(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "on", ground, seed, ("cat", "red-apple"))
        assert one.bottom == pytest.approx(other.top, abs=0.25 * other.height)
        assert other.left < middle(one)[0] < other.right
        below = other.outline(middle(one)[0] - 0.2 * one.width, middle(one)[0] + 0.2 * one.width)
        assert one.bottom >= min(below)

    def test_on_a_couch_one_sits(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "on", ground, seed, ("cat", "couch-and-lamp"))
        assert other.top < one.bottom < other.bottom
        assert other.left < middle(one)[0] < other.right

    def test_under_what_is_tall(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "under", ground, seed, ("dog", "deciduous-tree"))
        assert one.top > middle(other)[1]
        assert other.left < middle(one)[0] < other.right

    def test_under_what_flies(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "under", ground, seed, ("house", "crescent-moon"))
        assert one.top > other.bottom

    def test_above(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "above", ground, seed, ("bird", "house"))
        assert one.bottom < other.top

    def test_below(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "below", ground, seed, ("red-apple", "banana"))
        assert one.top > other.bottom

    def test_left_and_right(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "left of", ground, seed, ("dog", "house"))
        assert one.right < other.left
        one, other = self.two(art, "right of", ground, seed, ("dog", "house"))
        assert one.left > other.right

    def test_beside(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "beside", ground, seed, ("dog", "house"))
        assert one.right < other.left or one.left > other.right
        assert one.bottom == pytest.approx(other.bottom, abs=ROUND)

    @pytest.mark.parametrize("names", [("dog", "house"), ("house", "dog"), ("horse", "horse"), ("horse", "cow")])
    def test_behind_and_in_front(self, art: Art, ground: Ground, seed: int, names: tuple[str, str]) -> None:
        for relation in ("behind", "in front of"):
            note = laid_out(described(group(names[0], 1, relation, 1), group(names[1]), ground=ground), art, seed=seed)
            (one,), (other,) = of_group(note, art, 0), of_group(note, art, 1)
            order = [placed.group for placed in note.placed]
            if relation == "behind":
                assert one.bottom < other.bottom
                assert order.index(0) < order.index(1)
            else:
                assert one.bottom > other.bottom
                assert order.index(0) > order.index(1)
            assert min(shares_seen(note, art)) >= 0.55

    def test_in_a_vessel(self, art: Art, ground: Ground, seed: int) -> None:
        note = laid_out(described(group("red-apple", 3, "in", 1), group("basket"), ground=ground), art, seed=seed)
        (basket,) = of_group(note, art, 1)
        for apple in of_group(note, art, 0):
            assert basket.left <= apple.left + ROUND
            assert apple.right <= basket.right + ROUND
            assert basket.top < apple.bottom < basket.bottom
        assert min(shares_seen(note, art)) >= 0.42

    def test_in_something_else(self, art: Art, ground: Ground, seed: int) -> None:
        one, other = self.two(art, "in", ground, seed, ("bird", "deciduous-tree"))
        assert other.left <= one.left
        assert one.right <= other.right
        assert other.top <= one.top
        assert one.bottom <= other.bottom

    def test_between(self, art: Art, ground: Ground, seed: int) -> None:
        description = described(
            group("cat", 1, "between", 1, 2), group("house"), group("deciduous-tree"), ground=ground
        )
        note = laid_out(description, art, seed=seed)
        cat, house, tree = (of_group(note, art, number)[0] for number in range(3))
        low, high = sorted((house, tree), key=lambda piece: piece.left)
        assert low.right < cat.left
        assert cat.right < high.left

    def test_between_two_of_one_kind(self, art: Art, ground: Ground, seed: int) -> None:
        note = laid_out(described(group("cat", 1, "between", 1), group("dog", 2), ground=ground), art, seed=seed)
        (cat,) = of_group(note, art, 0)
        low, high = sorted(of_group(note, art, 1), key=lambda piece: piece.left)
        assert low.right < cat.left
        assert cat.right < high.left

    def test_around(self, art: Art, ground: Ground, seed: int) -> None:
        note = laid_out(described(group("rabbit", 6, "around", 1), group("house"), ground=ground), art, seed=seed)
        (house,) = of_group(note, art, 1)
        x, y = middle(house)
        sides = {(middle(one)[0] < x, middle(one)[1] < y + 0.3 * house.height) for one in of_group(note, art, 0)}
        assert len(sides) == 4


@pytest.mark.parametrize("side", get_args(Side))
@pytest.mark.parametrize("ground", ["plain", "meadow"])
def test_a_side_of_the_picture(art: Art, side: Side, ground: Ground) -> None:
    for seed in SEEDS:
        note = laid_out(described(group("red-apple", side=side), group("house"), ground=ground), art, seed=seed)
        x, y = middle(of_group(note, art, 0)[0])
        if "left" in side:
            assert x < 0.4
        if "right" in side:
            assert x > 0.6
        if "top" in side:
            assert y < 0.45
        if "bottom" in side:
            assert y > 0.55
        if side == "centre":
            assert 0.4 < x < 0.6


def test_sizes(art: Art) -> None:
    for seed in SEEDS:
        sizes: list[Size] = ["tiny", "small", "medium", "large", "huge"]
        description = described(*(group("red-apple", size=size) for size in sizes))
        note = laid_out(description, art, seed=seed)
        wide = [of_group(note, art, number)[0].width for number in range(5)]
        assert wide == sorted(wide)
        assert wide[4] > 4 * wide[0]


def test_things_are_where_they_are_in_nature(art: Art) -> None:
    for seed in SEEDS:
        description = described(
            group("sun"), group("airplane"), group("dog", 2), group("deciduous-tree", 2), ground="meadow"
        )
        note = laid_out(description, art, seed=seed)
        assert middle(of_group(note, art, 0)[0])[1] < 0.4
        assert of_group(note, art, 1)[0].bottom < 0.6
        for number in (2, 3):
            assert all(piece.bottom > 0.62 for piece in of_group(note, art, number))
        beach = laid_out(described(group("sailboat"), group("crab"), ground="beach"), art, seed=seed)
        assert of_group(beach, art, 0)[0].bottom < 0.66
        assert of_group(beach, art, 1)[0].bottom > 0.7


def test_farther_is_smaller_and_higher(art: Art) -> None:
    note = laid_out(described(group("ewe", 20), ground="meadow"), art)
    by_depth = sorted(pieces(note, art), key=lambda piece: piece.bottom)
    assert by_depth[0].width < by_depth[-1].width
    assert [piece.bottom for piece in pieces(note, art)] == [piece.bottom for piece in by_depth]


def test_pixels_are_where_the_note_says(art: Art) -> None:
    description = described(group("red-apple", 3, colour="blue"), group("banana", 2), ground="table")
    note = laid_out(description, art)
    whole = pixels(composing.things(note, art), 400, 400)
    blue = (whole[..., 2] > 150) & (whole[..., 0] < 90) & (whole[..., 1] < 160) & (whole[..., 3] > 200)
    found = sorted(spots(blue, smallest=100))
    apples = sorted(of_group(note, art, 0), key=lambda piece: piece.left)
    assert len(found) == 3
    for spot, apple in zip(found, apples, strict=True):
        assert spot.left == pytest.approx(apple.left, abs=0.02)
        assert spot.right == pytest.approx(apple.right, abs=0.02)
        assert spot.bottom == pytest.approx(apple.bottom, abs=0.02)


RELATIONS = st.sampled_from(get_args(Relation))
NAMES = st.sampled_from("cat house red-apple deciduous-tree sun basket fish automobile person-standing cloud".split())


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    """Whatever a note may say: with circles, and things put to themselves."""
    count = draw(st.integers(1, 5))
    numbers = st.integers(0, count - 1)
    groups = []
    for _ in range(count):
        to = draw(st.lists(numbers, min_size=1, max_size=2))
        relation = draw(st.none() | RELATIONS)
        size, side = draw(st.sampled_from(get_args(Size))), draw(st.none() | st.sampled_from(get_args(Side)))
        many = draw(st.integers(1, 12))
        groups.append(
            group(draw(NAMES), many, relation, *to, size=size, side=side)
            if relation
            else group(draw(NAMES), many, size=size, side=side)
        )
    return described(*groups, ground=draw(st.sampled_from(get_args(Ground))))


@settings(max_examples=60, deadline=None)
@given(description=descriptions(), ratio=st.floats(0.25, 4.0), seed=st.integers(0, 2**63 - 1))
def test_any_description_can_be_laid_out(art: Art, description: Description, ratio: float, seed: int) -> None:
    note = laid_out(description, art, ratio=ratio, seed=seed)
    assert_counts(note)
    assert_inside(note, art)


def test_parts_say_how_high_they_are(art: Art) -> None:
    """What a strip leaves out would not have been seen in it."""
    note = laid_out(described(group("cat", 2), group("house"), ground="forest", weather="rain", time="night"), art)
    for part in composing.composed(note, art):
        alone = pixels([Part(part.svg, 0.0, UNITS, part.needs)], 200, 200)[..., 3]
        rows = numpy.flatnonzero(alone.any(axis=1))
        if len(rows):
            assert part.top <= rows[0] * UNITS / 200 + 5
            assert part.bottom >= (rows[-1] + 1) * UNITS / 200 - 5
