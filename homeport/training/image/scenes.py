"""Pictures with captions: one drawing, several of it, or two beside each other, on a ground of one colour.

Whatever a caption says is to be seen, and what it leaves out is up to chance. Some pairs of a drawing and a ground are
held out: no picture that is trained on has one.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from homeport.training.image.art import Drawing

SIDE = 64
COLOURS = {
    "white": (245, 245, 245),
    "grey": (140, 140, 140),
    "black": (20, 20, 20),
    "red": (215, 40, 45),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 60),
    "green": (50, 165, 75),
    "turquoise": (60, 200, 195),
    "blue": (45, 95, 210),
    "purple": (130, 60, 185),
    "pink": (245, 150, 190),
    "brown": (120, 75, 45),
}
#: So far may each part of a ground's colour be from its name's.
_SHADE = 12
_OPENINGS = ("", "", "", "a drawing of ", "a picture of ")
_COUNTS = {2: "two", 3: "three", 4: "four"}
#: A drawing's size, in shares of the picture's side, by the word for it.
_SIZES = {"small": (0.28, 0.4), "": (0.5, 0.72), "large": (0.82, 0.96)}
#: Where the middle of a drawing is.
_PLACES = {
    "": (0.5, 0.5),
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.27),
    "at the bottom": (0.5, 0.73),
}
_RELATIONS = {
    "to the left of": ((0.26, 0.5), (0.74, 0.5)),
    "to the right of": ((0.74, 0.5), (0.26, 0.5)),
    "above": ((0.5, 0.26), (0.5, 0.74)),
    "below": ((0.5, 0.74), (0.5, 0.26)),
}
#: Middles of several: a row, a corner left free, a square.
_GROUPS = {
    2: ((0.27, 0.5), (0.73, 0.5)),
    3: ((0.5, 0.27), (0.27, 0.73), (0.73, 0.73)),
    4: ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),
}
_WITHOUT_GROUND = 0.1
_BY_ANOTHER_WORD = 0.2
#: One pair in so many is held out.
_HELD_OUT = 16

T = TypeVar("T")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Placed(NamedTuple):
    """x, y: of its middle; side: of its square; in shares of the picture's side."""

    drawing: Drawing
    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Scene:
    """ground: red, green and blue. placed: from the back to the front."""

    caption: str
    ground: tuple[int, int, int]
    placed: Sequence[Placed]

    def picture(self) -> Pixels:
        """SIDE by SIDE, red, green and blue."""
        canvas = Image.new("RGBA", (SIDE, SIDE), (*self.ground, 255))
        for drawing, x, y, share in self.placed:
            side = round(share * SIDE)
            small = drawing.rendered.resize((side, side), Image.Resampling.BOX)
            left, top = round(x * SIDE - side / 2), round(y * SIDE - side / 2)
            canvas.paste(small, (left, top), small)
        return np.asarray(canvas.convert("RGB"))


def held_out(drawing: Drawing, colour: str) -> bool:
    return zlib.crc32(f"{drawing.name} on {colour}".encode()) % _HELD_OUT == 0


def scene(rng: np.random.Generator, drawings: Sequence[Drawing], *, unseen: bool = False) -> Scene:
    """unseen: its first drawing on its ground is a pair that is held out; otherwise none is."""
    while True:
        first, second = (drawings[int(at)] for at in rng.integers(len(drawings), size=2))
        colour = _chosen(rng, tuple(COLOURS))
        if unseen and held_out(first, colour):
            break
        if not unseen and not held_out(first, colour) and not held_out(second, colour):
            break
    what = rng.random()
    if what < 0.55:
        told, placed = _one(rng, first)
    elif what < 0.75:
        told, placed = _several(rng, first)
    else:
        told, placed = _two(rng, first, second)
    if rng.random() >= _WITHOUT_GROUND:
        told = f"{told} on {_article(colour)} background"
    red, green, blue = (int(part) + int(rng.integers(-_SHADE, _SHADE + 1)) for part in COLOURS[colour])
    ground = (max(0, min(255, red)), max(0, min(255, green)), max(0, min(255, blue)))
    return Scene(_chosen(rng, _OPENINGS) + told, ground, placed)


def captions(drawings: Sequence[Drawing]) -> set[str]:
    """Pieces of captions that have every word of them."""
    told = {*_OPENINGS, *COLOURS, *_SIZES, *_PLACES, *_RELATIONS, *_COUNTS.values(), "and a an on a background"}
    for drawing in drawings:
        nouns = (drawing.words, *drawing.other)
        told.update((*nouns, *map(plural, nouns)))
    return told


def plural(noun: str) -> str:
    """Of its head: `glass of milk` becomes `glasses of milk`."""
    for joint in (" of ", " with ", " in ", " and "):
        if joint in noun:
            head, rest = noun.split(joint, 1)
            return f"{plural(head)}{joint}{rest}"
    if _is_plural(noun):
        return noun
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _one(rng: np.random.Generator, drawing: Drawing) -> tuple[str, list[Placed]]:
    size = _chosen(rng, ("small", "", "", "large"))
    place = _chosen(rng, tuple(_PLACES)) if size == "small" else ""
    told = _article(f"{size} {_noun(rng, drawing)}".strip())
    x, y = _PLACES[place]
    side = rng.uniform(*_SIZES[size])
    free = (1 - side) / 3 if not place else 0.06
    placed = Placed(drawing, _near(rng, x, free), _near(rng, y, free), side)
    return f"{told} {place}".strip(), [placed]


def _several(rng: np.random.Generator, drawing: Drawing) -> tuple[str, list[Placed]]:
    count = int(_chosen(rng, tuple(_COUNTS)))
    side = rng.uniform(0.36, 0.44)
    placed = [Placed(drawing, _near(rng, x, 0.03), _near(rng, y, 0.03), side) for x, y in _GROUPS[count]]
    return f"{_COUNTS[count]} {plural(_noun(rng, drawing))}", placed


def _two(rng: np.random.Generator, first: Drawing, second: Drawing) -> tuple[str, list[Placed]]:
    relation = _chosen(rng, tuple(_RELATIONS))
    places = _RELATIONS[relation]
    side = rng.uniform(0.38, 0.46)
    placed = [
        Placed(drawing, _near(rng, x, 0.03), _near(rng, y, 0.03), side)
        for drawing, (x, y) in zip((first, second), places, strict=True)
    ]
    said = relation if rng.random() < 0.7 else "and"
    return f"{_article(_noun(rng, first))} {said} {_article(_noun(rng, second))}", placed


def _noun(rng: np.random.Generator, drawing: Drawing) -> str:
    if drawing.other and rng.random() < _BY_ANOTHER_WORD:
        return _chosen(rng, drawing.other)
    return drawing.words


def _article(noun: str) -> str:
    if _is_plural(noun):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _is_plural(noun: str) -> bool:
    """`grapes` and `pair of chopsticks` are drawings' names. It errs where English does."""
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def _near(rng: np.random.Generator, middle: float, by: float) -> float:
    return middle + rng.uniform(-by, by)


def _chosen(rng: np.random.Generator, among: Sequence[T]) -> T:
    return among[int(rng.integers(len(among)))]
