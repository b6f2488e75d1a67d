"""Colours by their English names, and a space in which one is lighter or stronger than another as the eye sees it.

Source of the space: Björn Ottosson, "A perceptual color space for image processing" (Oklab), 2020.
"""

from math import atan2, cbrt, cos, hypot, pi, sin
from typing import NamedTuple

#: What a group may be coloured as (description.Group.colour). Spaces, no hyphens.
COLOURS = {
    "white": "#f7f7f5",
    "ivory": "#f6efdc",
    "cream": "#f7e9c6",
    "beige": "#e3d2b0",
    "silver": "#c3c8ce",
    "light grey": "#c4c7ca",
    "grey": "#8b9096",
    "dark grey": "#54585d",
    "black": "#2a2b30",
    "pink": "#ff8fbd",
    "light pink": "#ffc4dc",
    "hot pink": "#f7328c",
    "dark pink": "#d6336c",
    "magenta": "#e0219b",
    "red": "#e5282e",
    "light red": "#fb7a74",
    "dark red": "#9c1620",
    "crimson": "#c3123c",
    "scarlet": "#ee2a1b",
    "maroon": "#7a1a26",
    "burgundy": "#7b1335",
    "coral": "#ff7b5f",
    "salmon": "#fa8f7d",
    "peach": "#ffc3a0",
    "orange": "#fb8b1e",
    "light orange": "#ffb766",
    "dark orange": "#d9650a",
    "amber": "#f9ac12",
    "gold": "#e8b021",
    "golden": "#e6ab35",
    "yellow": "#fbd528",
    "light yellow": "#fdeb8f",
    "dark yellow": "#c99f0e",
    "mustard": "#cf9d1f",
    "blond": "#ecd08a",
    "lime": "#a6dd2b",
    "light green": "#8ddb83",
    "green": "#2fae4a",
    "dark green": "#176233",
    "olive": "#7d8130",
    "emerald": "#12a870",
    "mint": "#9ee8c6",
    "turquoise": "#2fccc3",
    "teal": "#0f8583",
    "cyan": "#22c4e0",
    "aqua": "#3fd6df",
    "sky blue": "#74c2f5",
    "light blue": "#93c8f4",
    "blue": "#2b6fe4",
    "royal blue": "#2d53d3",
    "dark blue": "#1b3a8f",
    "navy": "#1c2c5e",
    "indigo": "#4636a8",
    "lavender": "#c2b3f2",
    "lilac": "#c9a4e4",
    "light purple": "#bd97ec",
    "violet": "#8244dd",
    "purple": "#8f3fc4",
    "dark purple": "#54227f",
    "light brown": "#b98a5c",
    "brown": "#84532c",
    "dark brown": "#50301a",
    "tan": "#cfa878",
    "bronze": "#a8712f",
    "copper": "#b9693c",
}


class Seen(NamedTuple):
    """light: 0 (black) to 1 (white). strong: 0 (grey) to about 0.3. hue: radians; of a grey it says nothing."""

    light: float
    strong: float
    hue: float


def seen(colour: str) -> Seen:
    """Of `#rrggbb` or `#rgb`."""
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = (_linear(int(digits[place : place + 2], 16) / 255) for place in (0, 2, 4))
    long = cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    light = 0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short
    a = 1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short
    return Seen(light, hypot(a, b), atan2(b, a))


def shown(colour: Seen) -> str:
    """As `#rrggbb`; what no screen can show is made weaker until one can."""
    light = min(max(colour.light, 0.0), 1.0)
    strong = max(colour.strong, 0.0)
    for _ in range(24):
        channels = _channels(light, strong, colour.hue)
        if all(-0.002 <= channel <= 1.002 for channel in channels):
            break
        strong *= 0.9
    else:
        channels = _channels(light, 0.0, 0.0)
    return "#" + "".join(f"{round(255 * _encoded(min(max(channel, 0.0), 1.0))):02x}" for channel in channels)


def apart(one: float, other: float) -> float:
    """Of two hues: how far, 0 to pi."""
    return abs((one - other + pi) % (2 * pi) - pi)


def mixed(one: str, other: str, share: float) -> str:
    """share: of the other one."""
    first, second = seen(one), seen(other)
    a = (1 - share) * first.strong * cos(first.hue) + share * second.strong * cos(second.hue)
    b = (1 - share) * first.strong * sin(first.hue) + share * second.strong * sin(second.hue)
    return shown(Seen((1 - share) * first.light + share * second.light, hypot(a, b), atan2(b, a)))


def _channels(light: float, strong: float, hue: float) -> tuple[float, float, float]:
    """Linear light."""
    a, b = strong * cos(hue), strong * sin(hue)
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _encoded(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
