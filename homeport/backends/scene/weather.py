"""Weather that is before all things."""

from collections.abc import Iterator

from homeport.backends.scene.canvas import Canvas, circle, dots, line, path, shape
from homeport.backends.scene.rendering import UNITS, Part


def falling(canvas: Canvas) -> Iterator[Part]:
    match canvas.weather:
        case "rain":
            yield _rain(canvas, 110)
        case "storm":
            yield _rain(canvas, 190)
        case "snow":
            yield _snow(canvas, 150)
        case "fog":
            yield from _fog(canvas)
        case "wind":
            yield _gusts(canvas)


def _rain(canvas: Canvas, count: int) -> Part:
    d = ""
    for _ in range(int(count * canvas.tall)):
        long = canvas.between(16, 40)
        d += path("M", canvas.between(-20, 1080), canvas.between(0, canvas.high), "l", -long * 0.28, long)
    return line(d, "#9fb4d8" if canvas.time == "night" else "#dbe9f5", 2.4, 0.0, canvas.high, opacity=0.75)


def _snow(canvas: Canvas, count: int) -> Part:
    flakes = [
        circle(canvas.between(0, UNITS), canvas.between(0, canvas.high), 2 + 4.5 * canvas.chance() ** 2)
        for _ in range(int(count * canvas.tall))
    ]
    return dots(flakes, "#ffffff", 0.0, canvas.high)


def _fog(canvas: Canvas) -> Iterator[Part]:
    """In banks, the nearer ones lower."""
    colour = "#6d7791" if canvas.time == "night" else "#e9edef"
    high = canvas.high
    for number in range(5):
        y, d = (0.36 + 0.14 * number) * high, ""
        for _ in range(7):
            x, wide, deep = canvas.between(-100, 1100), canvas.between(150, 320), canvas.between(0.022, 0.052) * high
            at = y + canvas.between(-0.025, 0.025) * high
            d += path(
                "M", x - wide, at, "a", wide, deep, 0, 1, 1, 2 * wide, 0, "a", wide, deep, 0, 1, 1, -2 * wide, 0, "z"
            )
        yield Part(shape(d, colour, opacity=0.5), y - 0.09 * high, y + 0.09 * high)


def _gusts(canvas: Canvas) -> Part:
    d = ""
    for _ in range(int(6 * canvas.tall)):
        r = canvas.between(16, 24)
        d += path("M", canvas.between(0, 800), canvas.between(0.1, 0.7) * canvas.high, "h", canvas.between(90, 200))
        d += path("a", r, r, 0, 1, 0, -r, -r)
    return line(d, "#ffffff", 5, 0.0, canvas.high, opacity=0.8)
