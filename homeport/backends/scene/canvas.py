"""What grounds are painted on: its measures, its light, and the strokes that all of them are made of.

In units (rendering.UNITS) of the picture's width. Colours run in stripes of one colour each, so narrow that no eye
tells them from a gradient: rows of one colour are drawn at once, and take little room in a PNG.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from random import Random

from homeport.backends.scene.colours import mixed
from homeport.backends.scene.description import Time, Weather
from homeport.backends.scene.rendering import UNITS, Part

_SKIES: dict[Time, tuple[str, ...]] = {
    "day": ("#58aef0", "#9ad5f8", "#d9f1fb"),
    "dawn": ("#7d9fdc", "#c9b6dd", "#ffd2b5", "#ffe9c9"),
    "sunset": ("#3f4391", "#8d5a9c", "#e5746b", "#ffb668"),
    "night": ("#0b1233", "#18234f", "#2f3f75"),
}
#: What the light does to what it falls on: a colour, and how much of it.
_LIGHT: dict[Time, tuple[str, float]] = {
    "day": ("#ffffff", 0.0),
    "dawn": ("#ffc4a8", 0.18),
    "sunset": ("#c2503f", 0.24),
    "night": ("#0f1838", 0.62),
}
#: The same of the weather: of the sky, and of everything else.
_DULL: dict[Weather, tuple[str, float, float]] = {
    "clear": ("#ffffff", 0.0, 0.0),
    "cloudy": ("#aeb9c4", 0.5, 0.12),
    "rain": ("#7f8d9b", 0.68, 0.28),
    "storm": ("#3f4757", 0.78, 0.45),
    "snow": ("#ccd7e1", 0.6, 0.5),
    "fog": ("#cfd6da", 0.6, 0.4),
    "wind": ("#dfe9f0", 0.2, 0.05),
    "rainbow": ("#cfe4f2", 0.2, 0.0),
}
_STRIPES = 90
#: Levels of a channel from one stripe to the next: what no eye tells apart.
_STEP = 1.6


@dataclass(frozen=True)
class Canvas:
    """high: of the picture. horizon: where the floor begins. colour: of what is plain. words: names of all drawings
    that are asked for as things, and so are no part of the ground."""

    high: float
    horizon: float
    time: Time
    weather: Weather
    colour: str | None
    words: Collection[str]
    random: Random

    @property
    def tall(self) -> float:
        """How many times as much there is to be filled as in a square, at least."""
        return max(1.0, self.high / UNITS)

    def chance(self) -> float:
        return self.random.random()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def asked_for(self, *words: str) -> bool:
        """Whether a thing has one of these in its name."""
        return any(word in name for word in words for name in self.words)

    def lit(self, colour: str) -> str:
        """In the light of this hour and weather."""
        light, how_much = _LIGHT[self.time]
        dull, _, share = _DULL[self.weather]
        if self.time == "night":
            dull, share = mixed(dull, light, 0.7), share * 0.6
        return mixed(mixed(colour, light, how_much), dull, share)

    def under_water(self, colour: str) -> str:
        light, how_much = _LIGHT[self.time]
        return mixed(colour, light, how_much * 0.8)

    def sky(self) -> list[str]:
        """Downwards."""
        dull, share, _ = _DULL[self.weather]
        if self.time == "night":
            dull = mixed(dull, "#0d142e", 0.72)
        return [mixed(one, dull, share) for one in _SKIES[self.time]]


def path(*steps: str | float) -> str:
    """Letters and numbers of a path's `d`."""
    return "".join(
        one if isinstance(one, str) else f" {one:.1f}" if isinstance(one, float) else f" {one}" for one in steps
    )


def line(d: str, colour: str, width: float, top: float, bottom: float, *, opacity: float = 1.0) -> Part:
    """Along a path, with round ends."""
    return Part(
        f'<path fill="none" stroke="{colour}" stroke-opacity="{opacity:g}" stroke-width="{width:g}" '
        f'stroke-linecap="round" d="{d}"/>',
        top - width,
        bottom + width,
    )


def shape(d: str, colour: str, *, opacity: float = 1.0) -> str:
    """What a path encloses."""
    return f'<path fill="{colour}" fill-opacity="{opacity:g}" d="{d}"/>'


def rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"/>'


def field(colour: str, top: float, bottom: float) -> Part:
    """All of the picture's width."""
    return Part(rect(0, top, UNITS, bottom - top, colour), top, bottom)


def circle(x: float, y: float, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def dots(circles: Sequence[str], colour: str, top: float, bottom: float, *, opacity: float = 1.0) -> Part:
    return Part(f'<g fill="{colour}" fill-opacity="{opacity:g}">{"".join(circles)}</g>', top, bottom)


def run(colours: Sequence[str], top: float, bottom: float, left: float = 0.0, width: float = UNITS) -> Part:
    """From one colour to the next, downwards."""
    count = max(1, min(_STRIPES, ceil(_difference(colours) / _STEP)))
    high = (bottom - top) / count
    stripes = []
    for number in range(count):
        at = (number + 0.5) / count * (len(colours) - 1)
        first = min(int(at), len(colours) - 2)
        over = 1.0 if number < count - 1 else 0.0
        colour = mixed(colours[first], colours[first + 1], at - first)
        stripes.append(rect(left, top + number * high, width, high + over, colour))
    return Part(f'<g shape-rendering="crispEdges">{"".join(stripes)}</g>', top, bottom)


def ridge(canvas: Canvas, y: float, swing: float, waves: int, colour: str) -> Part:
    """A hill's outline, from one side to the other, and all that is below it."""
    points = [(UNITS * (number - 0.5) / waves, y + swing * canvas.between(-1, 1)) for number in range(waves + 2)]
    d = path("M", *points[0])
    for (x, at), (next_x, next_y) in pairwise(points):
        d += path("Q", x, at, (x + next_x) / 2, (at + next_y) / 2)
    d += path("L", UNITS + 400, points[-1][1], "V", canvas.high, "H", -400.0, "Z")
    return Part(shape(d, colour), y - swing, canvas.high)


def tufts(canvas: Canvas, count: int, top: float, colour: str, flowers: Sequence[str] = ()) -> Part:
    """Of grass, and flowers among them."""
    drawn = []
    for _ in range(int(count * canvas.tall)):
        near = canvas.chance()
        x, y, size = canvas.between(0, UNITS), top + (canvas.high - top) * near, 5 + 9 * near
        if flowers and canvas.chance() < 0.4:
            drawn.append(f'<g fill="{canvas.lit(canvas.random.choice(flowers))}">{circle(x, y, size * 0.34)}</g>')
            continue
        blades = ((-0.5, -1.0), (0.42, 0.5), (0.12, -1.1), (0.16, 1.1), (0.42, -0.6), (-0.3, 1.1))
        steps = [step for right, down in blades for step in ("l", right * size, down * size)]
        drawn.append(shape(path("M", x, y, *steps, "z"), colour))
    return Part("".join(drawn), top - 20, canvas.high)


def _difference(colours: Sequence[str]) -> float:
    """Of all steps from one colour to the next, in levels of the channel that changes most."""
    return float(
        sum(
            max(abs(int(one[at : at + 2], 16) - int(other[at : at + 2], 16)) for at in (1, 3, 5))
            for one, other in pairwise(colours)
        )
    )
