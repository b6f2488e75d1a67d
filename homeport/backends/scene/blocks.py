"""Things that belong together: what is on, in, beside or behind something else, put there, as one block that is then
placed as a whole.

Lengths are those of `nature.size`; a block's origin is where it stands, in the middle; y grows downwards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, cos, pi, sin, sqrt
from random import Random

from homeport.backends.scene import nature
from homeport.backends.scene.art import Art, Shape
from homeport.backends.scene.description import Description, Group, Placed, Relation, Side

_SIZES = {"tiny": 0.4, "small": 0.65, "medium": 1.0, "large": 1.5, "huge": 2.2}
#: Between neighbours, of the smaller one's width.
_GAP = 0.16
#: What sits is so much lower than the outline below it, of its height: else it seems to hover.
_SUNK = 0.03
#: At least this share of whatever stands behind is to be seen.
_SEEN = 0.62
#: How far above others these are, where no more is said than that they are.
_UP: Mapping[nature.Place, float] = {"heaven": 0.4, "sky": 0.3}
_TALL = ("tree", "umbrella", "tower", "parachute", "balloon", "arch", "bridge", "mushroom", "tent", "sunflower")


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing: left, top, width, height of what it fills, and the square that it is drawn in."""

    group: int
    left: float
    top: float
    width: float
    height: float
    square: tuple[float, float, float]
    shape: Shape
    mirrored: bool = False

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def moved(self, x: float, y: float) -> "Piece":
        left, top, side = self.square
        square = (left + x, top + y, side)
        return Piece(
            self.group, self.left + x, self.top + y, self.width, self.height, square, self.shape, self.mirrored
        )

    def scaled(self, by: float) -> "Piece":
        left, top, side = self.square
        square = (left * by, top * by, side * by)
        box = (self.left * by, self.top * by, self.width * by, self.height * by)
        return Piece(self.group, *box, square, self.shape, self.mirrored)

    def put(self, by: float, x: float, y: float) -> "Piece":
        """Scaled, then moved."""
        left, top, side = self.square
        square = (left * by + x, top * by + y, side * by)
        box = (self.left * by + x, self.top * by + y, self.width * by, self.height * by)
        return Piece(self.group, *box, square, self.shape, self.mirrored)

    def outline(self, left: float, right: float) -> list[float]:
        """Where it begins from above, between two places."""
        tops = self.shape.tops[::-1] if self.mirrored else self.shape.tops
        start, top, side = self.square
        count = len(tops)
        first = min(max(int((left - start) / side * count), 0), count - 1)
        last = min(max(ceil((right - start) / side * count), first + 1), count)
        return [top + one * side if one < 1.0 else self.bottom for one in tops[first:last]]


@dataclass(frozen=True, slots=True)
class Block:
    """pieces: from the back to the front; main: of these the ones that others are put to. place: of what stands or
    floats below."""

    pieces: tuple[Piece, ...]
    main: tuple[Piece, ...]
    place: nature.Place
    side: Side | None = None

    @property
    def left(self) -> float:
        return min(piece.left for piece in self.pieces)

    @property
    def right(self) -> float:
        return max(piece.right for piece in self.pieces)

    @property
    def top(self) -> float:
        return min(piece.top for piece in self.pieces)

    @property
    def bottom(self) -> float:
        return max(piece.bottom for piece in self.pieces)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def moved(self, x: float, y: float) -> "Block":
        return self._each(lambda piece: piece.moved(x, y))

    def scaled(self, by: float) -> "Block":
        return self._each(lambda piece: piece.scaled(by))

    def put(self, by: float, x: float, y: float) -> "Block":
        """Scaled, then moved."""
        return self._each(lambda piece: piece.put(by, x, y))

    def _each(self, changed: Callable[[Piece], Piece]) -> "Block":
        pieces = tuple(map(changed, self.pieces))
        alone = len(pieces) == 1 and self.main == self.pieces
        return Block(pieces, pieces if alone else tuple(map(changed, self.main)), self.place, self.side)

    def grounded(self) -> "Block":
        """Its origin where it stands."""
        return self.moved(-(self.left + self.right) / 2, -self.bottom)

    def beside(self, others: "Block", *, over: bool) -> "Block":
        """With the pieces of others, drawn over its own, or behind them."""
        pieces = (*self.pieces, *others.pieces) if over else (*others.pieces, *self.pieces)
        return replace(self, pieces=pieces, side=self.side or others.side)


def blocks(description: Description, art: Art, random: Random) -> list[Block]:
    """All things, as often as they are asked for."""
    return _Building(description, art, random).blocks()


def natural(group: Group, art: Art) -> float:
    """The longest side of one of a group, beside others."""
    return nature.size(group.art, art.category(group.art)) * _SIZES[group.size]


def piece_of(placed: Placed, shape: Shape) -> Piece:
    """shape: of its drawing."""
    x, y, side = placed.x, placed.y, placed.side
    left = 1.0 - shape.right if placed.mirrored else shape.left
    return Piece(
        placed.group,
        x + left * side,
        y + shape.top * side,
        shape.width * side,
        shape.height * side,
        (x, y, side),
        shape,
        placed.mirrored,
    )


def parents(groups: Sequence[Group]) -> list[int | None]:
    """Of each group the one that it is put to; None of those that stand for themselves. In no circle, whatever the
    description says."""
    found: list[int | None] = [None] * len(groups)

    def leads_to(start: int, end: int) -> bool:
        at: int | None = start
        while at is not None:
            if at == end:
                return True
            at = found[at]
        return False

    for number, group in enumerate(groups):
        if group.related is not None and group.related.to:
            to = group.related.to[0]
            if 0 <= to < len(groups) and not leads_to(to, number):
                found[number] = to
    return found


class _Building:
    def __init__(self, description: Description, art: Art, random: Random) -> None:
        self._groups = description.groups
        self._art = art
        self._random = random
        self._parents = parents(self._groups)
        self._other_ends = self._of_between()

    def blocks(self) -> list[Block]:
        return [
            block
            for number, parent in enumerate(self._parents)
            if parent is None and number not in self._other_ends.values()
            for block in self._built(number)
        ]

    def _of_between(self) -> dict[int, int]:
        """Group that is between -> the second of those that it is between, where that stands for itself."""
        found: dict[int, int] = {}
        for number, group in enumerate(self._groups):
            related = group.related
            if related is None or related.relation != "between" or len(related.to) < 2 or self._parents[number] is None:
                continue
            second = related.to[1]
            root = number
            while (above := self._parents[root]) is not None:
                root = above
            if 0 <= second < len(self._groups) and self._parents[second] is None and second != root:
                if second not in found.values():
                    found[number] = second
        return found

    def _built(self, number: int) -> list[Block]:
        """One block for each thing of a group, or one for all of them, where others are put to them together."""
        group = self._groups[number]
        made = [self._single(number) for _ in range(group.count)]
        putting = [other for other, parent in enumerate(self._parents) if parent == number]
        for other in putting:
            relation = self._relation(other)
            if relation in ("on", "in", "under"):
                made = self._shared_out(made, self._built(other), relation)
        together = [other for other in putting if self._relation(other) not in ("on", "in", "under")]
        if not together:
            return made
        whole = self._row(made)
        for other in together:
            whole = self._put(whole, other)
        return [whole.grounded() if whole.place in ("heaven", "sky") else whole]

    def _relation(self, number: int) -> Relation:
        related = self._groups[number].related
        assert related is not None
        return related.relation

    def _single(self, number: int) -> Block:
        group = self._groups[number]
        shape = self._art.shape(group.art)
        category = self._art.category(group.art)
        side = natural(group, self._art) / max(shape.width, shape.height)
        mirrored = nature.turns(group.art, category) and self._random.random() < 0.5
        piece = piece_of(Placed(number, 0.0, 0.0, side, mirrored=mirrored), shape)
        piece = piece.moved(-(piece.left + piece.right) / 2, -piece.bottom)
        return Block((piece,), (piece,), nature.place(group.art), group.side)

    def _shared_out(self, bases: list[Block], given: list[Block], relation: Relation) -> list[Block]:
        """Each base gets as many as the others, the first ones one more."""
        shares = [given[number :: len(bases)] for number in range(len(bases))]
        put = {"on": self._on, "in": self._in, "under": self._under}[relation]
        return [put(base, share) if share else base for base, share in zip(bases, shares, strict=True)]

    def _row(self, made: Sequence[Block]) -> Block:
        """Beside each other; many in several rows, the farther ones higher."""
        if len(made) == 1:
            return made[0]
        columns = len(made) if len(made) <= 5 else ceil(sqrt(len(made) * 2.0))
        rows = [made[first : first + columns] for first in range(0, len(made), columns)]
        tallest = max(block.height for block in made)
        placed: list[Block] = []
        for depth, row in enumerate(rows):
            gap = _GAP * min(block.width for block in row)
            width = sum(block.width for block in row) + gap * (len(row) - 1)
            x = -width / 2 + (0.5 * row[0].width if depth % 2 else 0.0)
            for block in row:
                placed.insert(0, block.moved(x - block.left, -0.8 * tallest * depth))
                x += block.width + gap
        pieces = tuple(piece for block in placed for piece in block.pieces)
        main = tuple(piece for block in placed for piece in block.main)
        whole = Block(pieces, main, made[0].place, made[0].side)
        return whole.moved(-(whole.left + whole.right) / 2, 0.0)

    def _put(self, base: Block, number: int) -> Block:
        relation = self._relation(number)
        made = self._built(number)
        if relation == "around" and len(made) > 2:
            return _around(base, made)
        if relation == "between":
            return self._between(base, made, self._other_ends.get(number))
        block = self._row(made)
        match relation:
            case "above":
                shift = (self._random.random() - 0.5) * 0.3 * base.width
                gap = _UP.get(block.place, 0.12 * min(base.height, block.height) + 0.05)
                return base.beside(block.moved(shift, base.top - gap - block.bottom), over=False)
            case "below":
                return _lifted(base, block, gap=0.12 * min(base.height, block.height) + 0.05)
            case "behind":
                return _behind(base, block, self._random)
            case "in front of":
                return _in_front(base, block, self._random)
            case "left of":
                return _aside(base, block, to_the_left=True)
            case "right of":
                return _aside(base, block, to_the_left=False)
            case _:
                return _aside(base, block, to_the_left=self._random.random() < 0.5)

    def _between(self, base: Block, made: list[Block], other: int | None) -> Block:
        """Of one group that is several, in the middle of these."""
        middle = self._row(made)
        if other is not None:
            return _aside(_aside(base, middle, to_the_left=False), self._row(self._built(other)), to_the_left=False)
        if len(base.main) < 2:
            return _aside(base, middle, to_the_left=False)
        by_place = sorted(base.main, key=lambda piece: piece.left)
        split = (by_place[len(by_place) // 2 - 1].right + by_place[len(by_place) // 2].left) / 2
        room = middle.width + 2 * _GAP * min(middle.width, by_place[0].width)

        def apart(piece: Piece) -> Piece:
            return piece.moved(-room / 2 if (piece.left + piece.right) / 2 < split else room / 2, 0.0)

        opened = replace(base, pieces=tuple(map(apart, base.pieces)), main=tuple(map(apart, base.main)))
        return opened.beside(middle.moved(split - (middle.left + middle.right) / 2, -middle.bottom), over=True)

    def _on(self, base: Block, given: list[Block]) -> Block:
        if nature.is_upright(self._groups[base.main[0].group].art):
            return self._in(base, given)
        if all(nature.is_worn(self._groups[block.main[0].group].art) for block in given):
            given = _fitted(given, 0.85 * base.main[0].width, 0.4 * base.main[0].height)
        return _on(base, given, self._groups[base.main[0].group].art)

    def _in(self, base: Block, given: list[Block]) -> Block:
        thing = base.main[0]
        if nature.holds(self._groups[thing.group].art):
            given = _fitted(given, 0.86 * thing.width, 1.6 * thing.height)
            for block, x in _side_by_side(given, thing):
                deep = _rim(thing) + min(0.4 * thing.height, 0.24 * block.height)
                base = base.beside(block.moved(x - (block.left + block.right) / 2, deep - block.bottom), over=False)
            return base
        if nature.has_deck(self._groups[thing.group].art):
            given = _fitted(given, 0.8 * thing.width, 0.5 * thing.height)
            for block, x in _side_by_side(given, thing):
                down = _rim(thing) + 0.06 * thing.height - block.bottom
                base = base.beside(block.moved(x - (block.left + block.right) / 2, down), over=True)
            return base
        given = _fitted(given, 0.7 * thing.width, 0.42 * thing.height)
        for block, x in _side_by_side(given, thing):
            middle = thing.top + 0.42 * thing.height
            down = middle - (block.top + block.bottom) / 2
            base = base.beside(block.moved(x - (block.left + block.right) / 2, down), over=True)
        return base

    def _under(self, base: Block, given: list[Block]) -> Block:
        """At the foot of what is tall; of anything else, that is lifted."""
        thing = base.main[0]
        art = self._groups[thing.group].art
        if base.place == "ground" and any(word in art for word in _TALL):
            given = _fitted(given, 1.0 * thing.width, 0.42 * thing.height)
            for block, x in _side_by_side(given, thing):
                base = base.beside(block.moved(x - (block.left + block.right) / 2, -block.bottom), over=True)
            return base
        row = self._row(given)
        gap = {"heaven": 0.5, "sky": 0.15}.get(base.place)
        return _lifted(base, row, gap=-_SUNK * row.height if gap is None else gap)


def _on(base: Block, given: list[Block], art: str) -> Block:
    """Each on the outline below it, where that is flat and high. art: of what they are on."""
    thing = base.main[0]
    given = _fitted(given, (2.2 if len(given) == 1 else 1.2) * thing.width, 3.0 * thing.height)
    part = thing.width / len(given)
    for number, block in enumerate(given):
        foot = 0.36 * min(block.main[0].width, part)
        x, y = _seat(thing, thing.left + part * number, thing.left + part * (number + 1), foot)
        middle = (block.main[0].left + block.main[0].right) / 2
        sunk = max(_SUNK * block.main[0].height, nature.seat(art) * thing.height)
        down = y + sunk - block.main[0].bottom
        base = base.beside(block.moved(x - middle, down), over=True)
    return base


def _rim(thing: Piece) -> float:
    """Of a vessel: where it is nearly as wide as it is, below its handle."""
    outline = sorted(thing.outline(thing.left, thing.right))
    return outline[int(0.7 * (len(outline) - 1))]


def _seat(thing: Piece, left: float, right: float, foot: float) -> tuple[float, float]:
    """Where something with so wide a foot sits best, between two places."""
    best = (float("inf"), (left + right) / 2, thing.top)
    for step in range(21):
        x = left + (right - left) * step / 20
        if x - foot < thing.left - 1e-9 or x + foot > thing.right + 1e-9:
            continue
        outline = thing.outline(x - foot, x + foot)
        uneven = (max(outline) - min(outline)) / thing.height
        low = (min(outline) - thing.top) / thing.height
        off = abs(x - (left + right) / 2) / thing.width
        best = min(best, (1.3 * uneven + 0.35 * low + 0.5 * off, x, min(outline)))
    return best[1], best[2]


def _side_by_side(given: Sequence[Block], thing: Piece) -> list[tuple[Block, float]]:
    """Each with where its middle is, in the middle of a thing."""
    gap = 0.06 * min(block.width for block in given)
    x = (thing.left + thing.right) / 2 - (sum(block.width for block in given) + gap * (len(given) - 1)) / 2
    found = []
    for block in given:
        found.append((block, x + block.width / 2))
        x += block.width + gap
    return found


def _fitted(given: list[Block], width: float, height: float) -> list[Block]:
    """Smaller, where together they are wider than that, or one of them is higher."""
    whole = sum(block.width for block in given) * (1.06 if len(given) > 1 else 1.0)
    by = min(1.0, width / whole, height / max(block.height for block in given))
    return [block.scaled(by) for block in given] if by < 1.0 else given


def _aside(base: Block, block: Block, *, to_the_left: bool) -> Block:
    gap = _GAP * min(base.width, block.width)
    x = base.left - gap - block.right if to_the_left else base.right + gap - block.left
    up, floats = (one.place in ("sky", "heaven") for one in (block, base))
    if floats and not up:
        # What stands beside the moon stands below it, too.
        raised = base.moved(0.0, block.top - 0.6 * block.height - base.bottom)
        return replace(raised.beside(block.moved(x, 0.0), over=True), place=block.place)
    y = -0.45 * base.height if up and not floats else 0.0
    return base.beside(block.moved(x, y), over=True)


def _lifted(base: Block, block: Block, *, gap: float) -> Block:
    """base above block, which stands where base stood."""
    lifted = base.moved(0.0, block.top - gap - base.bottom)
    under = block.moved((base.left + base.right) / 2 - (block.left + block.right) / 2, 0.0)
    whole = lifted.beside(under, over=True)
    return replace(whole, place=block.place)


def _behind(base: Block, block: Block, random: Random) -> Block:
    """Farther, so higher; so much aside that most of it is seen."""
    up = 0.1 * base.height
    above = max(0.0, block.height + up - base.height) / block.height
    hidden = max(0.0, 1.0 - _SEEN) / max(1.0 - above, 1e-6)
    covered = min(0.6 * min(base.width, block.width), hidden * block.width)
    side = 1 if random.random() < 0.5 else -1
    x = base.right - covered - block.left if side > 0 else base.left + covered - block.right
    return base.beside(block.moved(x, -up), over=False)


def _in_front(base: Block, block: Block, random: Random) -> Block:
    """Nearer, so lower; base is to be seen all the same."""
    down = 0.12 * min(base.height, block.height)
    tall = min(1.0, (block.height - down) / base.height)
    covered = min(min(base.width, block.width), (1 - _SEEN) * base.width / max(tall, 1e-6))
    side = 1 if random.random() < 0.5 else -1
    if covered >= min(base.width, block.width):
        x = side * 0.1 * base.width + (base.left + base.right) / 2 - (block.left + block.right) / 2
    else:
        x = base.right - covered - block.left if side > 0 else base.left + covered - block.right
    if base.place == "heaven" and block.place not in ("heaven", "sky"):
        raised = base.moved(0.0, -0.6 * block.height - base.bottom)
        return replace(raised.beside(block.moved(x, 0.0), over=True), place=block.place)
    return base.beside(block.moved(x, down), over=True)


def _around(base: Block, made: Sequence[Block]) -> Block:
    """On an ellipse; those at its far side behind."""
    largest = max(max(block.width, block.height) for block in made)
    across = max(base.width / 2 + 0.75 * largest, len(made) * largest * 1.15 / (2 * pi) * 1.35)
    flies = base.place in ("sky", "heaven", "water") or made[0].place in ("sky", "water")
    deep = (
        max(base.height / 2 + 0.7 * largest, 0.75 * across)
        if flies
        else max(0.42 * across, 0.5 * largest + 0.2 * base.height)
    )
    middle = -base.height / 2 if flies else -0.12 * base.height
    centre = (base.left + base.right) / 2
    for number in range(len(made)):
        turn = 2 * pi * (number + 0.5) / len(made) + pi / 2
        block = made[number]
        x, y = centre + across * cos(turn), middle + deep * sin(turn)
        if flies:
            y += block.height / 2
        base = base.beside(block.moved(x - (block.left + block.right) / 2, y - block.bottom), over=sin(turn) > 0)
    return base
