"""Curves in a terminal, of braille: a character has two dots by four."""

from collections.abc import Sequence
from typing import NamedTuple

#: Dots of a character -> bits of its code, from the top left.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800

Points = Sequence[tuple[float, float]]


class Cell(NamedTuple):
    """A character, and the number of the curve that is on top in it; None: it is blank."""

    text: str
    curve: int | None


def cells(curves: Sequence[Points], *, columns: int, rows: int, right: float) -> list[list[Cell]]:
    """Rows from the top, in which the lowest value is at the bottom and the highest at the top. Points of a curve are
    in the order of their x, from 0 to `right`; those that fall on one column of dots are their mean. Later curves are
    on top."""
    low, high = reach(curves)
    bits = [[0] * columns for _ in range(rows)]
    owner: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for number, curve in enumerate(curves):
        before: tuple[int, int] | None = None
        for x, value in _columns(curve, width=2 * columns, right=right):
            share = (value - low) / (high - low) if high > low else 0.5
            y = round((1 - share) * (4 * rows - 1))
            for dot_x, dot_y in _line(before or (x, y), (x, y)):
                bits[dot_y // 4][dot_x // 2] |= _BITS[dot_y % 4][dot_x % 2]
                owner[dot_y // 4][dot_x // 2] = number
            before = x, y
    return [
        [Cell(chr(_BLANK + bit) if bit else " ", curve) for bit, curve in zip(*row, strict=True)]
        for row in zip(bits, owner, strict=True)
    ]


def reach(curves: Sequence[Points]) -> tuple[float, float]:
    """Lowest and highest value. Of none 0 and 1."""
    values = [value for curve in curves for _, value in curve]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _columns(curve: Points, *, width: int, right: float) -> list[tuple[int, float]]:
    """Means by column of dots, from the left."""
    found: dict[int, list[float]] = {}
    for x, value in curve:
        found.setdefault(min(width - 1, int(x / right * width)) if right > 0 else 0, []).append(value)
    return [(column, sum(values) / len(values)) for column, values in sorted(found.items())]


def _line(begin: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Dots from one to the other, both with."""
    (x0, y0), (x1, y1) = begin, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    return [(x0 + round((x1 - x0) * at / steps), y0 + round((y1 - y0) * at / steps)) for at in range(steps + 1)]
