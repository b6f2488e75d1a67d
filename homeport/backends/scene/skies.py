"""The sky: by day and night, in every weather. What is asked for as a thing, as a moon or clouds, is not in it."""

from collections.abc import Iterator

from homeport.backends.scene.canvas import Canvas, circle, dots, path, run, shape
from homeport.backends.scene.colours import mixed
from homeport.backends.scene.description import Weather
from homeport.backends.scene.rendering import UNITS, Part

_RAINBOW = ("#e8453c", "#f78f2e", "#fbd43b", "#4fb857", "#3b8fe0", "#7a4fc0")
#: How many clouds there are, and how wide the widest.
_CLOUDS: dict[Weather, tuple[int, float]] = {
    "clear": (3, 92),
    "rainbow": (3, 92),
    "wind": (4, 92),
    "cloudy": (8, 150),
    "rain": (8, 165),
    "storm": (9, 180),
    "snow": (7, 160),
    "fog": (0, 0),
}
_FAIR = ("clear", "wind", "rainbow")


def sky(canvas: Canvas, bottom: float | None = None) -> Iterator[Part]:
    """Down to the horizon, or farther."""
    end = canvas.horizon if bottom is None else bottom
    yield run(canvas.sky(), 0.0, end + 6)
    fair = canvas.weather in _FAIR
    if canvas.time == "night" and fair:
        if not canvas.asked_for("star"):
            yield stars(canvas, int(46 * canvas.tall), end)
        if not canvas.asked_for("moon", "sun"):
            yield _disc(0.8, min(0.2 * canvas.high, 0.45 * end), 46, "#fbf3d0")
    if canvas.time in ("dawn", "sunset") and fair and not canvas.asked_for("sun", "moon"):
        x, colour = (0.36, "#fff1c4") if canvas.time == "dawn" else (0.64, "#ffe2a0")
        yield _disc(x, end - 26, 62, colour)
    if canvas.weather == "rainbow" and not canvas.asked_for("rainbow"):
        yield _rainbow(end)
    if not canvas.asked_for("cloud"):
        yield from _clouds(canvas, end)
    if canvas.weather == "storm":
        yield _lightning(canvas, end)


def stars(canvas: Canvas, count: int, bottom: float) -> Part:
    drawn = [
        circle(canvas.between(0, UNITS), canvas.chance() ** 1.2 * bottom, 0.9 + 2.1 * canvas.chance() ** 3)
        for _ in range(count)
    ]
    return dots(drawn, "#f3f0dc", 0.0, bottom)


def cloud(x: float, y: float, wide: float, colour: str) -> Part:
    """A flat one: three humps on a straight base."""
    humps = [
        circle(x + at * wide, y - r * wide * 0.62, r * wide) for at, r in ((-0.5, 0.26), (-0.08, 0.42), (0.38, 0.31))
    ]
    base = (
        f'<rect x="{x - 0.76 * wide:.1f}" y="{y - 0.24 * wide:.1f}" width="{1.45 * wide:.1f}" '
        f'height="{0.34 * wide:.1f}" rx="{0.17 * wide:.1f}"/>'
    )
    return dots([*humps, base], colour, y - 0.8 * wide, y + 0.2 * wide)


def _disc(x: float, y: float, radius: float, colour: str) -> Part:
    """The sun or the moon, with its glow."""
    rings = "".join(
        f'<circle cx="{x * UNITS:.1f}" cy="{y:.1f}" r="{radius * (1 + 0.3 * ring):.1f}" '
        f'fill="{colour}" fill-opacity="{0.16 if ring else 1}"/>'
        for ring in (3, 2, 1, 0)
    )
    return Part(rings, y - 2 * radius, y + 2 * radius)


def _clouds(canvas: Canvas, bottom: float) -> Iterator[Part]:
    count, largest = _CLOUDS[canvas.weather]
    if canvas.time == "night" and count <= 4:
        count = 2
    below = canvas.sky()[1]
    white = {"rain": "#b9c3cd", "storm": "#596274"}.get(canvas.weather, "#ffffff")
    share = {"day": 0.35, "night": 0.78}.get(canvas.time, 0.55)
    many = int(count * min(canvas.tall, 2.0))
    for number in range(many):
        across = (number + canvas.between(0.2, 0.8)) / many
        # Where there are many, by a stride from one side to the other that mixes large and small, high and low.
        x = (across * 4.854) % 1.0 if count > 4 else across
        wide = min(largest, 0.3 * bottom) * canvas.between(0.6, 1.2)
        y = max(bottom * canvas.between(0.08, 0.42 if count > 4 else 0.5), 0.86 * wide)
        yield cloud(x * UNITS, y, wide, mixed(white, below, share))


def _rainbow(bottom: float) -> Part:
    outer, thick = min(0.46 * UNITS, 0.92 * bottom), 13.0
    arcs = "".join(
        f'<circle cx="{UNITS / 2:.1f}" cy="{bottom + 4:.1f}" r="{outer - thick * number:.1f}" fill="none" '
        f'stroke="{mixed(colour, "#ffffff", 0.25)}" stroke-width="{thick + 0.6:.1f}"/>'
        for number, colour in enumerate(_RAINBOW)
    )
    return Part(arcs, bottom - outer - thick, bottom + outer)


def _lightning(canvas: Canvas, bottom: float) -> Part:
    x, y, far = canvas.between(0.2, 0.8) * UNITS, 0.12 * bottom, 0.62 * bottom
    bolt = ((0, 0), (-0.1, 0.42), (0.02, 0.42), (-0.12, 1), (0.2, 0.32), (0.07, 0.32), (0.2, 0))
    steps = [step for right, down in bolt for step in ("L", x + right * far, y + down * far)]
    return Part(shape(path("M", x, y, *steps, "Z"), "#ffe676"), y, y + far)
