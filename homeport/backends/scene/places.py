"""Grounds that people have made, and those where nothing stands."""

from collections.abc import Iterator

from homeport.backends.scene.canvas import Canvas, field, line, path, rect, run, tufts
from homeport.backends.scene.colours import COLOURS, mixed
from homeport.backends.scene.landscapes import hills
from homeport.backends.scene.rendering import UNITS, Part
from homeport.backends.scene.skies import cloud, sky, stars

_PASTELS = ("#e8f1f8", "#f6f0e4", "#e9f4ea", "#f5ebf1")


def plain(canvas: Canvas) -> Iterator[Part]:
    """The colour that is asked for, a little lighter above and darker below; white is white."""
    if canvas.colour == "white":
        yield field("#ffffff", 0.0, canvas.high)
        return
    colour = COLOURS[canvas.colour] if canvas.colour is not None else canvas.random.choice(_PASTELS)
    amount = 0.045 if canvas.colour is not None else 0.07
    yield run((mixed(colour, "#ffffff", amount), mixed(colour, "#1d2a3a", amount)), 0.0, canvas.high)


def city(canvas: Canvas) -> Iterator[Part]:
    high = canvas.high
    windows = "#ffe9a8" if canvas.time in ("night", "sunset") else "#c5d9ec"
    yield from sky(canvas)
    yield _houses(canvas, 0.33 * high, 11, canvas.lit("#a9bfd6"), None)
    yield _houses(canvas, 0.24 * high, 9, canvas.lit("#7f97b5"), windows)
    yield field(canvas.lit("#c9ced4"), canvas.horizon, 0.84 * high)
    yield field(canvas.lit("#a3abb4"), 0.835 * high, 0.848 * high)
    yield from _tarmac(canvas, 0.847 * high, high)


def road(canvas: Canvas) -> Iterator[Part]:
    high = canvas.high
    yield from sky(canvas)
    yield from hills(canvas)
    yield run((canvas.lit("#68b85f"), canvas.lit("#57a653")), canvas.horizon + 0.03 * high, high)
    yield field(canvas.lit("#d8d5c4"), 0.70 * high, 0.95 * high)
    yield from _tarmac(canvas, 0.712 * high, 0.938 * high)
    yield tufts(canvas, 12, 0.965 * high, canvas.lit("#3f8a42"))


def room(canvas: Canvas) -> Iterator[Part]:
    high, dark = canvas.high, canvas.time == "night"
    wall = mixed("#f1dfc6", "#4a4763", 0.35) if dark else "#f1dfc6"
    frame = "#cfcbd8" if dark else "#ffffff"
    floor = mixed("#c08f5e", "#2c2440", 0.4) if dark else "#c08f5e"
    yield _wall(canvas, wall)
    size = min(0.24 * UNITS, 0.34 * high)
    x, y = (0.12 if canvas.chance() < 0.5 else 0.64) * UNITS, 0.14 * high
    yield from _window(canvas, x, y, size, frame)
    yield field(mixed(wall, "#ffffff", 0.55), canvas.horizon - 14, canvas.horizon + 2)
    yield run((mixed(floor, "#ffffff", 0.1), floor), canvas.horizon, high)
    boards = "".join(
        path("M0", canvas.horizon + (high - canvas.horizon) * (row / 5) ** 1.3, "H", UNITS) for row in range(1, 5)
    )
    yield line(boards, mixed(floor, "#3a2410", 0.22), 3, canvas.horizon, high)


def table(canvas: Canvas) -> Iterator[Part]:
    high, dark, edge = canvas.high, canvas.time == "night", 0.955 * canvas.high
    wood = mixed("#b9834f", "#2b2440", 0.35) if dark else "#b9834f"
    yield _wall(canvas, mixed("#dbe6df", "#3c4260", 0.5) if dark else "#dbe6df")
    if canvas.time != "day" or canvas.weather != "clear":
        size, x = 0.3 * high, canvas.between(0.08, 0.62) * UNITS
        yield from _window(canvas, x, 0.1 * high, size, "#cfcbd8" if dark else "#ffffff")
    yield run((mixed(wood, "#ffffff", 0.2), wood), canvas.horizon, edge)
    grain = ""
    for number in range(9):
        y = canvas.horizon + (edge - canvas.horizon) * (number + 0.5) / 9
        grain += path("M", canvas.between(0, 900), y, "q", canvas.between(60, 120), -5, canvas.between(160, 280), 0)
    yield line(grain, mixed(wood, "#4a2c12", 0.25), 2.5, canvas.horizon, edge)
    yield field(mixed(wood, "#3a220e", 0.4), edge, high)


def open_sky(canvas: Canvas) -> Iterator[Part]:
    yield from sky(canvas, bottom=canvas.high)
    if canvas.asked_for("cloud") or canvas.weather == "fog":
        return
    white = mixed("#ffffff", canvas.sky()[-1], 0.2 if canvas.time == "day" else 0.6)
    for number in range(4):
        x = (number + canvas.between(0, 0.5)) * UNITS / 3.4
        yield cloud(x, canvas.between(0.84, 0.94) * canvas.high, canvas.between(150, 230), white)


def space(canvas: Canvas) -> Iterator[Part]:
    yield run(("#070a1f", "#141544", "#2a1a55"), 0.0, canvas.high)
    for colour in ("#5b3fa8", "#2f5fb8", "#8a3f9a"):
        x, y = canvas.between(0, UNITS), canvas.between(0, canvas.high)
        glow = "".join(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{200 - 45 * ring}" ry="{90 - 20 * ring}" '
            f'transform="rotate(-24 {x:.1f} {y:.1f})" fill="{colour}" fill-opacity="0.13"/>'
            for ring in range(3)
        )
        yield Part(glow, y - 210, y + 210)
    yield stars(canvas, int(150 * canvas.tall), canvas.high)


def _houses(canvas: Canvas, tall: float, count: int, colour: str, windows: str | None) -> Part:
    """A row of them, seen against the sky."""
    walls, lights = "", ""
    for number in range(count):
        x, wide = number * UNITS / count + canvas.between(-3, 3), UNITS / count * canvas.between(0.82, 1.04)
        up = tall * canvas.between(0.45, 1.2)
        walls += rect(x, canvas.horizon - up, wide, up + 2, colour)
        if windows is None:
            continue
        size = wide / 7
        for row in range(int((up - size) / (size * 2.1))):
            for column in range(3):
                if canvas.chance() < 0.72:
                    top = canvas.horizon - up + size * (1 + 2.1 * row)
                    lights += rect(x + size * (1 + 2 * column), top, size, size * 1.1, windows)
    return Part(walls + lights, canvas.horizon - 1.3 * tall, canvas.horizon + 2)


def _tarmac(canvas: Canvas, top: float, bottom: float) -> Iterator[Part]:
    yield field(canvas.lit("#5b636d"), top, bottom)
    middle = (top + bottom) / 2
    dashes = "".join(rect(40 + 160 * number, middle - 4, 90, 8, canvas.lit("#f1ead2")) for number in range(6))
    yield Part(dashes, middle - 5, middle + 5)


def _wall(canvas: Canvas, colour: str) -> Part:
    return run((mixed(colour, "#ffffff", 0.25), colour), 0.0, canvas.horizon)


def _window(canvas: Canvas, x: float, y: float, size: float, frame: str) -> Iterator[Part]:
    """The time and the weather are seen through it."""
    yield Part(rect(x - 10, y - 10, size + 20, size + 20, frame), y - 10, y + size + 10)
    yield run(canvas.sky(), y, y + size, x, size)
    bars = rect(x + size / 2 - 4, y, 8, size, frame) + rect(x, y + size / 2 - 4, size, 8, frame)
    sill = rect(x - 22, y + size + 10, size + 44, 14, mixed(frame, "#8a7f70", 0.2))
    yield Part(bars + sill, y, y + size + 26)
