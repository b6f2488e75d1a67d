"""Where everything is: a description, the shape of the picture and a seed -> placed things, from the back to the front.

As large as they can be so that all are inside and none is hidden; the same for the same seed. Lengths are shares of the
picture's width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, hypot, inf, sqrt
from random import Random
from typing import NamedTuple

from msgspec import structs

from homeport.backends.scene import nature
from homeport.backends.scene.art import Art
from homeport.backends.scene.blocks import Block, Piece, blocks, natural, piece_of
from homeport.backends.scene.description import Description, Note, Placed, Side
from homeport.backends.scene.stages import AIRY, STAGES, Band, Stage, ground_of

#: In one drawing.
MOST_THINGS = 200
#: Share of the picture that things fill together at first, where there are few; and of its sides that one of them may
#: have.
_FILLED, _WIDEST, _HIGHEST = 0.29, 0.8, 0.74
#: Of the sky's height, what is in it may have.
_OF_THE_SKY = 0.85
_LAYERS: Mapping[nature.Place, int] = {"heaven": 0, "sky": 1}
_EDGE = 0.025
#: Of a thing that is before others' backs, at most so much is covered by all of those in front of it.
_COVERED = 0.3
_SHRINKING, _TRIES, _CANDIDATES = 0.9, 32, 36
#: Of a few things several arrangements are tried, and the best is taken.
_FEW, _ARRANGEMENTS = 8, 6


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of the picture: shares of its width, both ways."""

    left: float
    top: float
    width: float
    height: float


class _Stood(NamedTuple):
    """order: farther ones first: heaven, what flies, then by where they stand. box: left, top, right, bottom."""

    block: Block
    order: tuple[int, float]
    box: tuple[float, float, float, float]


def layout(description: Description, art: Art, *, ratio: float, seed: int) -> tuple[Placed, ...]:
    """ratio: height over width."""
    random = Random(seed)
    made = blocks(description, art, random)
    if not made:
        return ()
    ground = ground_of(description)
    stage = STAGES[ground]
    airy = ground in AIRY
    tidy = stage.tidy and not any(block.side for block in made)
    if tidy and airy:
        stood = _rows(made, Area(0.0, 0.0, 1.0, ratio), random)
    elif tidy and len(made) <= 10:
        stood = _on_a_table(made, stage, ratio, random)
    else:
        stood = _scattered(made, stage, ratio, random, airy=airy)
    return _placed(stood)


def added(note: Note, wanted: Description, art: Art, *, seed: int) -> tuple[Placed, ...]:
    """What is in a drawing stays where it is, and more finds room. wanted: that alone, whose groups come after those of
    the note, and are put to none of them."""
    random = Random(seed)
    made = blocks(wanted, art, random)
    if not made:
        return note.placed
    ground = ground_of(note.description)
    standing = [_standing(placed, note.description, art) for placed in note.placed]
    scales = sorted(
        max(one.block.width, one.block.height) / natural(note.description.groups[placed.group], art)
        for one, placed in zip(standing, note.placed, strict=True)
    )
    most = _first_scale(made, STAGES[ground], note.ratio, airy=ground in AIRY)
    by = min(most, scales[len(scales) // 2]) if scales else most
    stood = _fitting(made, by, STAGES[ground], note.ratio, random, airy=ground in AIRY, standing=standing)
    old = len(note.description.groups)
    placed = list(zip((one.order for one in standing), note.placed, strict=True))
    for one in sorted(stood, key=lambda one: one.order):
        place = next((number for number, (order, _) in enumerate(placed) if order > one.order), len(placed))
        new = [_placing(piece) for piece in one.block.pieces]
        placed[place:place] = [(one.order, structs.replace(piece, group=piece.group + old)) for piece in new]
    return tuple(one for _, one in placed)


def _standing(placed: Placed, description: Description, art: Art) -> _Stood:
    """Of what is in a drawing."""
    name = description.groups[placed.group].art
    piece = piece_of(placed, art.shape(name))
    place = nature.place(name)
    order = (_LAYERS.get(place, 2), piece.bottom if place not in _LAYERS else 0.0)
    return _stood(Block((piece,), (piece,), place), order)


def within(description: Description, art: Art, area: Area, *, seed: int) -> tuple[Placed, ...]:
    """All of it inside of an area, as large as that allows."""
    random = Random(seed)
    made = blocks(description, art, random)
    return _placed(_rows(made, area, random, edge=0.0, filled=0.96, loose=0.0)) if made else ()


def _placed(stood: Sequence[_Stood]) -> tuple[Placed, ...]:
    in_order = sorted(stood, key=lambda one: one.order)
    return tuple(_placing(piece) for one in in_order for piece in one.block.pieces)


def _placing(piece: Piece) -> Placed:
    x, y, side = piece.square
    return Placed(piece.group, round(x, 5), round(y, 5), round(side, 5), mirrored=piece.mirrored)


def _rows(
    made: Sequence[Block],
    area: Area,
    random: Random,
    *,
    edge: float = 0.07,
    filled: float = 0.76,
    loose: float = 1.0,
) -> list[_Stood]:
    """Each beside the other, in so many rows that they are largest. filled: of the area's sides, by one alone. loose:
    how far from its middle they may be, of what is free."""
    made = [block.grounded() for block in made]
    if len({block.main[0].group for block in made}) > 1 and random.random() < 0.5:
        made.reverse()
    width, height = area.width * (1 - 2 * edge), area.height * (1 - 2 * edge)
    rows, by = max(
        ((rows, _scale(rows, width, height)) for rows in _ways(made, width / height)), key=lambda way: way[1]
    )
    of_groups = _of_each_group(made)
    if len(of_groups) > 1 and (scale := _scale(of_groups, width, height)) > 0.75 * by:
        rows, by = of_groups, scale
    alone = min(max(filled, 0.82) * area.width / max(map(_width, rows)), filled * area.height / sum(map(_height, rows)))
    if len(made) == 1:
        by = min(by, alone)
    elif len(rows) == 1:
        by = min(by, 0.6 * area.height / max(map(_height, rows)))
    # Another seed is another picture, even of one thing alone.
    by *= 1 - 0.12 * loose * random.random()
    rows = [[block.scaled(by) for block in row] for row in rows]
    spare = (area.height - sum(map(_height, rows))) / (len(rows) + 1)
    aside = loose * (random.random() - 0.5) * 0.4 * (area.width - max(map(_width, rows)))
    down = loose * (random.random() - 0.5) * 0.5 * spare
    found: list[_Stood] = []
    y = area.top + spare + down
    for row in rows:
        y += _height(row)
        gap = _gap(row)
        x = area.left + (area.width - _width(row)) / 2 + aside
        for block in row:
            found.append(_stood(block.moved(x - block.left, y - block.bottom), (2, y)))
            x += block.width + gap
        y += spare
    return found


def _ways(made: Sequence[Block], shape: float) -> list[list[list[Block]]]:
    """Rows of nearly the same number, for numbers of rows that come into question."""
    count = len(made)
    mean = sum(block.width for block in made) / sum(block.height for block in made)
    likely = sqrt(count * mean / shape)
    ways = []
    for number in range(max(1, int(likely / 2)), min(count, ceil(likely * 2) + 1) + 1):
        ends = [round(count * row / number) for row in range(number + 1)]
        ways.append([list(made[start:end]) for start, end in pairwise(ends)])
    return ways


def _of_each_group(made: Sequence[Block]) -> list[list[Block]]:
    """A row for each."""
    rows: dict[int, list[Block]] = {}
    for block in made:
        rows.setdefault(block.main[0].group, []).append(block)
    return list(rows.values())


def _gap(row: Sequence[Block]) -> float:
    return 0.14 * sum(block.width for block in row) / len(row)


def _width(row: Sequence[Block]) -> float:
    return sum(block.width for block in row) + _gap(row) * (len(row) - 1)


def _height(row: Sequence[Block]) -> float:
    return max(block.height for block in row)


def _scale(rows: Sequence[Sequence[Block]], width: float, height: float) -> float:
    high = sum(map(_height, rows)) + 0.12 * sum(map(_height, rows)) / len(rows) * (len(rows) - 1)
    return min(width / max(map(_width, rows)), height / high)


def _on_a_table(made: Sequence[Block], stage: Stage, ratio: float, random: Random) -> list[_Stood]:
    """In a row, or two, the higher things behind."""
    made = [block.grounded() for block in made]
    nearest, farthest = stage.floor[1] * ratio, stage.floor[0] * ratio
    rows = [made] if len(made) <= 5 else [made[: len(made) // 2], made[len(made) // 2 :]]
    rows.sort(key=_height, reverse=True)
    by = min(0.86 / max(map(_width, rows)), (0.56 if len(made) > 1 else 0.46) * ratio / max(map(_height, rows)))
    if len(rows) > 1:
        by = min(by, (nearest - farthest) / (0.7 * _height(rows[1])))
    found: list[_Stood] = []
    for number, row in enumerate(rows):
        y = farthest + (nearest - farthest) * (0.45 if len(rows) == 1 else number * 0.9)
        scaled = [
            block.scaled(by * (stage.far + (1 - stage.far) * (1 if number or len(rows) == 1 else 0))) for block in row
        ]
        random.shuffle(scaled)
        x = (1 - _width(scaled)) / 2
        gap = _gap(scaled)
        for block in scaled:
            nudge = (random.random() - 0.5) * 0.25 * (nearest - farthest) if len(rows) == 1 and len(row) > 1 else 0.0
            found.append(_stood(block.moved(x - block.left, y + nudge - block.bottom), (2, y + nudge)))
            x += block.width + gap
    return found


def _scattered(made: Sequence[Block], stage: Stage, ratio: float, random: Random, *, airy: bool) -> list[_Stood]:
    """As they are found in nature."""
    by = _first_scale(made, stage, ratio, airy=airy)
    return _fitting(made, by, stage, ratio, random, airy=airy)


def _fitting(
    made: Sequence[Block],
    by: float,
    stage: Stage,
    ratio: float,
    random: Random,
    *,
    airy: bool,
    standing: Sequence[_Stood] = (),
) -> list[_Stood]:
    """by: the scale that is tried first, and smaller ones after it. standing: what is there already."""
    in_order = sorted(made, key=lambda block: -block.width * block.height)
    for attempt in range(_TRIES):
        best, best_cost = None, inf
        for _ in range(_ARRANGEMENTS if len(made) <= _FEW else 1):
            last = attempt == _TRIES - 1
            scattering = _Scattering(stage, ratio, random, standing, len(made), airy=airy, last=last)
            found = scattering.all(in_order, by)
            if found is not None and scattering.cost < best_cost:
                best, best_cost = found, scattering.cost
        if best is not None:
            return best
        by *= _SHRINKING
    raise AssertionError("the last try takes what there is")


def _first_scale(made: Sequence[Block], stage: Stage, ratio: float, *, airy: bool) -> float:
    """The largest that may do."""
    area = sum(piece.width * piece.height for block in made for piece in block.pieces)
    by = min(
        sqrt(_FILLED * ratio / area) / (0.5 + 0.5 * stage.far),
        _WIDEST / max(block.width for block in made),
        _HIGHEST * ratio / max(block.height for block in made),
    )
    flying = [block.height for block in made if block.place in ("heaven", "sky")]
    if flying and not airy:
        by = min(by, _OF_THE_SKY * (stage.sky[1] - stage.sky[0]) * ratio / max(flying))
    driving = [block.width for block in made if block.place == "road"]
    if stage.road is not None and driving:
        by = min(by, (0.92 if len(driving) < 4 else 1.5) / sum(driving))
    standing = [block for block in made if block.place not in ("heaven", "sky")]
    if len(standing) > 4 and not airy:
        # They stand before each other, but may not hide each other: all of the floor, and once their height above it.
        area = sum(block.width * block.height for block in standing)
        floor = (stage.floor[1] - stage.floor[0]) * ratio
        mean = area / sum(block.width for block in standing)
        for _ in range(4):
            by = min(by, sqrt(0.8 * (floor + 0.6 * by * mean) / area) / (0.5 + 0.5 * stage.far))
    return by


class _Scattering:
    def __init__(
        self,
        stage: Stage,
        ratio: float,
        random: Random,
        standing: Sequence[_Stood],
        count: int,
        *,
        airy: bool,
        last: bool,
    ) -> None:
        """count: of blocks. last: what does not fit is put where it hides least."""
        self._stage = stage
        self._ratio = ratio
        self._random = random
        self._candidates = _CANDIDATES if count <= 12 else max(10, _CANDIDATES * 12 // count)
        self._airy = airy
        self._last = last
        #: Of all that stands: low where it is good to look at.
        self.cost = 0.0
        self._stood: list[_Stood] = []
        #: Of each piece that stands, the share of it that is covered.
        self._covered: list[list[float]] = []
        for one in standing:
            self._stand(one)
        self._first = len(self._stood)
        # What covers another thing already, because it was wished so, is no reason against a place.
        self._covered = [[0.0] * len(covered) for covered in self._covered]

    def all(self, made: Sequence[Block], by: float) -> list[_Stood] | None:
        for block in made:
            best, best_cost = None, inf
            for _ in range(self._candidates):
                one = self._somewhere(block, by)
                if one is None:
                    continue
                cost = self._cost(one, best_cost)
                if cost < best_cost:
                    best, best_cost = one, cost
            if best is None or (best_cost >= _FORBIDDEN and not self._last):
                return None
            self._stand(best)
            self.cost += best_cost
        return self._stood[self._first :]

    def _somewhere(self, block: Block, by: float) -> _Stood | None:
        """None: it is too large for the picture."""
        stage, random = self._stage, self._random
        layer, band, middle = self._band(block)
        # What is put first is the largest, and stands rather near.
        near = random.random() if self._stood or layer < 2 or middle else 0.35 + 0.65 * random.random()
        y = (band[0] + (band[1] - band[0]) * near) * self._ratio
        if layer == 2 and not self._airy and not middle:
            far = min(max((y / self._ratio - stage.floor[0]) / (stage.floor[1] - stage.floor[0]), -0.3), 1.0)
            by *= stage.far + (1 - stage.far) * far
        left, top, right, bottom = block.left * by, block.top * by, block.right * by, block.bottom * by
        width, height = right - left, bottom - top
        if width > 1 - 2 * _EDGE or height > self._ratio - 2 * _EDGE:
            if not self._last:
                return None
            less = 0.9 * min(1 / width, self._ratio / height)
            by, left, top, right, bottom = by * less, left * less, top * less, right * less, bottom * less
            width, height = right - left, bottom - top
        from_left, to_right = _across(block.side)
        x = from_left + (to_right - from_left) * random.random()
        x = min(max(x, _EDGE + width / 2), 1 - _EDGE - width / 2) - (left + right) / 2
        down = y - (top + bottom) / 2 if middle else y
        down = min(max(down, _EDGE - top), self._ratio - _EDGE - bottom)
        box = (left + x, top + down, right + x, bottom + down)
        return _Stood(block.put(by, x, down), (layer, down if layer == 2 else 0.0), box)

    def _band(self, block: Block) -> tuple[int, Band, bool]:
        """Which layer, where in it, and whether that says where its middle is, and not where it stands."""
        stage = self._stage
        if block.side in ("top", "top left", "top right"):
            return (2 if block.place not in ("heaven", "sky") else 1), (0.12, 0.34), True
        if block.side in ("bottom", "bottom left", "bottom right"):
            return 2, (0.74, 0.92), True
        if self._airy:
            return (0, stage.sky, True) if block.place == "heaven" else (2, (0.1, 0.9), True)
        low, high = stage.sky
        match block.place:
            case "heaven":
                return 0, (low, low + 0.55 * (high - low)), True
            case "sky":
                return 1, (low + 0.4 * (high - low), high), False
            case "water" if stage.water is not None:
                return 2, stage.water, stage.water[0] < 0.4
            case "afloat" if stage.water is not None:
                return 2, (stage.water[0], stage.water[0] + 0.6 * (stage.water[1] - stage.water[0])), False
            case "road" if stage.road is not None:
                return 2, stage.road, False
        return 2, stage.floor, False

    def _cost(self, one: _Stood, best: float) -> float:
        """Low where it stands free, neither hides nor is hidden, and the picture is balanced. best: what is no better
        is of no interest."""
        cost = 0.0
        own = [0.0] * len(one.block.pieces)
        for other, covered in zip(self._stood, self._covered, strict=True):
            if not _meet(one.box, other.box):
                continue
            behind, front = (one, other) if one.order <= other.order else (other, one)
            shares = [sum(_share(back, piece) for piece in front.block.pieces) for back in behind.block.pieces]
            known = own if behind is one else covered
            worst = max(before + share for before, share in zip(known, shares, strict=True))
            cost += 3.0 * sum(shares) + (_FORBIDDEN * (1 + worst) if worst > _COVERED else 0.0)
            if cost - 1.6 >= best:
                return inf
            if behind is one:
                own = [before + share for before, share in zip(own, shares, strict=True)]
        x, y = _middle(one.box)
        if not self._stood:
            return cost + 0.4 * abs(x - 0.5) + 0.2 * self._random.random()
        size, weight, lean, near = _size(one.box), 0.0, 0.0, 1.6
        wide = one.box[2] - one.box[0]
        for other in self._stood:
            its_x, its_y = _middle(other.box)
            near = min(near, 2 * hypot(x - its_x, y - its_y) / (wide + other.box[2] - other.box[0]))
            weight += _size(other.box)
            lean += (its_x - 0.5) * _size(other.box)
        return cost - near + 0.8 * abs(lean + (x - 0.5) * size) / (weight + size)

    def _stand(self, one: _Stood) -> None:
        own = [0.0] * len(one.block.pieces)
        for other, covered in zip(self._stood, self._covered, strict=True):
            if not _meet(one.box, other.box):
                continue
            if one.order <= other.order:
                own = [
                    before + sum(_share(back, piece) for piece in other.block.pieces)
                    for before, back in zip(own, one.block.pieces, strict=True)
                ]
            else:
                for number, back in enumerate(other.block.pieces):
                    covered[number] += sum(_share(back, piece) for piece in one.block.pieces)
        self._stood.append(one)
        self._covered.append(own)


_FORBIDDEN = 100.0


def _across(side: Side | None) -> Band:
    """Where the middle of something may be, from left to right."""
    match side:
        case "left" | "top left" | "bottom left":
            return 0.1, 0.32
        case "right" | "top right" | "bottom right":
            return 0.68, 0.9
        case "centre":
            return 0.47, 0.53
    return 0.06, 0.94


def _stood(block: Block, order: tuple[int, float]) -> _Stood:
    return _Stood(block, order, (block.left, block.top, block.right, block.bottom))


def _middle(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _size(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _share(back: Piece, front: Piece) -> float:
    """Of what is behind, that the other one covers, by what both fill."""
    across = min(back.right, front.right) - max(back.left, front.left)
    down = min(back.bottom, front.bottom) - max(back.top, front.top)
    return across * down / (back.width * back.height) if across > 0 and down > 0 else 0.0
