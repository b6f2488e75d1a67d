"""Landscapes: what nature has made."""

from collections.abc import Iterator

from homeport.backends.scene.canvas import Canvas, circle, dots, line, path, ridge, run, shape, tufts
from homeport.backends.scene.colours import mixed
from homeport.backends.scene.rendering import UNITS, Part
from homeport.backends.scene.skies import sky


def hills(canvas: Canvas) -> Iterator[Part]:
    """Far away."""
    high = canvas.high
    yield ridge(canvas, canvas.horizon - 0.05 * high, 0.045 * high, 4, canvas.lit("#8fcf9c"))
    yield ridge(canvas, canvas.horizon - 0.01 * high, 0.03 * high, 5, canvas.lit("#74c274"))


def meadow(canvas: Canvas) -> Iterator[Part]:
    high, near = canvas.high, canvas.lit("#5eb356")
    yield from sky(canvas)
    yield from hills(canvas)
    yield ridge(canvas, canvas.horizon + 0.05 * high, 0.018 * high, 4, near)
    yield run((near, canvas.lit("#4a9a4a")), canvas.horizon + 0.08 * high, high)
    flowers = ("#fdfdf5", "#ffd84d", "#f59bb6", "#fdfdf5")
    yield tufts(canvas, 44, canvas.horizon + 0.09 * high, canvas.lit("#3f8a42"), flowers)


def forest(canvas: Canvas) -> Iterator[Part]:
    high, near = canvas.high, canvas.lit("#5a9a58")
    yield from sky(canvas)
    yield _wood(canvas, canvas.horizon + 0.01 * high, 0.30 * high, 15, canvas.lit("#a5cfae"))
    yield _wood(canvas, canvas.horizon + 0.03 * high, 0.25 * high, 12, canvas.lit("#6fab7e"))
    yield ridge(canvas, canvas.horizon + 0.022 * high, 0.012 * high, 5, near)
    yield run((near, canvas.lit("#3f7a44")), canvas.horizon + 0.06 * high, high)
    yield tufts(canvas, 50, canvas.horizon + 0.07 * high, canvas.lit("#35693a"), ("#e9e2b8", "#d8785f"))


def beach(canvas: Canvas) -> Iterator[Part]:
    high, sand = canvas.high, canvas.lit("#f1d79d")
    yield from sky(canvas)
    yield from _water(canvas, canvas.horizon, 0.69 * high, far="#1f78b8", near="#5cb8de")
    yield ridge(canvas, 0.675 * high, 0.012 * high, 5, canvas.lit("#e8f6f6"))
    yield ridge(canvas, 0.69 * high, 0.012 * high, 5, canvas.lit("#e0c183"))
    yield ridge(canvas, 0.705 * high, 0.012 * high, 5, sand)
    yield run((sand, canvas.lit("#e5c27f")), 0.735 * high, high)
    grains = [
        circle(canvas.between(0, UNITS), canvas.between(0.75, 0.99) * high, canvas.between(1, 2.8))
        for _ in range(int(70 * canvas.tall))
    ]
    yield dots(grains, canvas.lit("#cfa968"), 0.74 * high, high)


def sea(canvas: Canvas) -> Iterator[Part]:
    yield from sky(canvas)
    yield from _water(canvas, canvas.horizon, canvas.high, far="#3f9fd0", near="#14619f")


def underwater(canvas: Canvas) -> Iterator[Part]:
    high = canvas.high
    colours = [canvas.under_water(one) for one in ("#4fc0e3", "#1f86c4", "#0f4e8c")]
    yield run(colours, 0.0, high)
    rays = ""
    for number in range(4):
        x, wide = (0.1 + 0.24 * number + 0.08 * canvas.chance()) * UNITS, canvas.between(30, 80)
        rays += path("M", x, "0h", wide, "L", x + wide * 1.2 - 160, 0.62 * high, "h", -wide * 1.6, "Z")
    yield Part(shape(rays, "#ffffff", opacity=0.1), 0.0, 0.62 * high)
    yield ridge(canvas, 0.86 * high, 0.02 * high, 4, mixed("#b9a878", colours[2], 0.45))
    for number in range(9):
        x, tall = (number + canvas.between(0.2, 0.8)) * UNITS / 9, canvas.between(0.08, 0.21) * min(high, UNITS)
        yield _weed(x, 0.93 * high, tall, mixed("#2f8f63", colours[2], 0.25))
    yield ridge(canvas, 0.915 * high, 0.014 * high, 5, mixed("#d9c58e", colours[1], 0.3))
    bubbles = [
        circle(canvas.between(0, UNITS), canvas.between(0, 0.85) * high, 3 + 8 * canvas.chance() ** 2)
        for _ in range(int(26 * canvas.tall))
    ]
    yield dots(bubbles, "#ffffff", 0.0, 0.88 * high, opacity=0.28)


def mountains(canvas: Canvas) -> Iterator[Part]:
    high, near = canvas.high, canvas.lit("#62a85f")
    yield from sky(canvas)
    yield _peaks(canvas, canvas.horizon - 0.04 * high, 0.36 * high, 3, canvas.lit("#9db3cb"), canvas.lit("#eff5fa"))
    yield _peaks(canvas, canvas.horizon, 0.25 * high, 5, canvas.lit("#7089a6"), canvas.lit("#f5f9fc"))
    yield ridge(canvas, canvas.horizon - 0.01 * high, 0.025 * high, 5, canvas.lit("#7fb98a"))
    yield ridge(canvas, canvas.horizon + 0.03 * high, 0.014 * high, 4, near)
    yield run((near, canvas.lit("#4b914f")), canvas.horizon + 0.055 * high, high)
    yield tufts(canvas, 36, canvas.horizon + 0.07 * high, canvas.lit("#3f7f45"), ("#fdfdf5", "#c9a6ee"))


def desert(canvas: Canvas) -> Iterator[Part]:
    high, near = canvas.high, canvas.lit("#dba85e")
    yield from sky(canvas)
    yield ridge(canvas, canvas.horizon - 0.035 * high, 0.05 * high, 3, canvas.lit("#efca8e"))
    yield ridge(canvas, canvas.horizon + 0.01 * high, 0.035 * high, 4, canvas.lit("#e5b872"))
    yield ridge(canvas, canvas.horizon + 0.06 * high, 0.02 * high, 3, near)
    yield run((near, canvas.lit("#c98f47")), canvas.horizon + 0.09 * high, high)
    waves = "".join(
        path("M", canvas.between(-60, 940), canvas.between(0.70, 0.98) * high, "q40 -10 80 0t80 0")
        for _ in range(int(14 * canvas.tall))
    )
    yield line(waves, canvas.lit("#bd8440"), 3, 0.68 * high, high)


def snow(canvas: Canvas) -> Iterator[Part]:
    high, near = canvas.high, canvas.lit("#eef5fb")
    yield from sky(canvas)
    yield ridge(canvas, canvas.horizon - 0.05 * high, 0.045 * high, 4, canvas.lit("#cfe0ee"))
    yield _wood(canvas, canvas.horizon + 0.005 * high, 0.13 * high, 16, canvas.lit("#9fbccb"))
    yield ridge(canvas, canvas.horizon, 0.025 * high, 5, canvas.lit("#dfebf5"))
    yield ridge(canvas, canvas.horizon + 0.05 * high, 0.018 * high, 4, near)
    yield run((near, canvas.lit("#d5e3f0")), canvas.horizon + 0.08 * high, high)


def _wood(canvas: Canvas, y: float, tall: float, count: int, colour: str) -> Part:
    """Many trees far away, in one colour."""
    d = ""
    for number in range(count):
        x = (number + canvas.between(0.2, 0.8)) * UNITS / count
        high = tall * canvas.between(0.7, 1.2)
        wide = min(high * 0.42, 1.2 * UNITS / count)
        if canvas.chance() < 0.55:
            for step in (0.0, 0.26, 0.5):
                half = wide * (0.34 + 0.4 * step)
                d += path(
                    "M", x, y - high * (1 - step * 0.55), "L", x + half, y - high * (0.62 - step), "h", -2 * half, "Z"
                )
        else:
            r = wide / 2
            d += path(
                "M", x - r, y - high * 0.62, "a", r, r * 1.15, 0, 1, 1, 2 * r, 0, "a", r, r, 0, 0, 1, -2 * r, 0, "Z"
            )
        d += path("M", x - wide * 0.07, y - high * 0.6, "h", wide * 0.14, "V", y + 10, "h", -wide * 0.14, "Z")
    return Part(shape(d, colour), y - 1.4 * tall, y + 10)


def _water(canvas: Canvas, top: float, bottom: float, *, far: str, near: str) -> Iterator[Part]:
    yield run((canvas.lit(far), canvas.lit(near)), top, bottom)
    count, d = int(30 * canvas.tall), ""
    for number in range(count):
        nearness = (number / count) ** 0.9
        wide = (26 + 70 * nearness) * canvas.between(0.7, 1.3)
        y = top + 8 + (bottom - top - 16) * nearness
        d += path("M", canvas.between(0, UNITS), y, "q", wide / 4, -3 - 5 * nearness, wide / 2, "0t", wide / 2, 0)
    yield line(d, canvas.lit(mixed(near, "#ffffff", 0.42)), 2.6, top, bottom)


def _weed(x: float, y: float, tall: float, colour: str) -> Part:
    bends = [step for bend in (-16, 16, -16, 16) for step in ("q", bend, -tall / 8, 0, -tall / 4)]
    return line(path("M", x, y, *bends), colour, 9, y - tall, y)


def _peaks(canvas: Canvas, y: float, tall: float, count: int, rock: str, cap: str) -> Part:
    """With snow on them, and one side in the shade."""
    drawn = ""
    order = list(range(count))
    canvas.random.shuffle(order)
    foot = y + 30
    for number in order:
        x = (number + canvas.between(0.35, 0.65)) * UNITS / count
        up, half = tall * canvas.between(0.72, 1.0), canvas.between(0.85, 1.05) * UNITS / count
        top = y - up
        drawn += shape(path("M", x, top, "L", x + half, foot, "H", x - half, "Z"), rock)
        inner = ("L", x - half * 0.08, y - up * 0.55, "L", x + half * 0.08, y - up * 0.75)
        side = path("M", x, top, "L", x + half, foot, "H", x + half * 0.15, *inner, "Z")
        drawn += shape(side, mixed(rock, "#22334a", 0.14))
        right, low = half * 0.26, (up + 30) * 0.26
        teeth = [
            step
            for across, down in ((0.11, -0.035), (0.1, 0.075), (0.1, -0.075), (0.1, 0.055))
            for step in ("l", -half * across, up * down)
        ]
        drawn += shape(path("M", x, top, "l", right, low, *teeth, "L", x - right, top + low, "Z"), cap)
    return Part(drawn, y - tall, foot)
