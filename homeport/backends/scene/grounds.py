"""What is behind the things, and the weather before them: drawn by us, in the flat manner of the art."""

from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random
from typing import NamedTuple

from homeport.backends.scene import landscapes, places, weather
from homeport.backends.scene.canvas import Canvas, field
from homeport.backends.scene.description import Description, Ground
from homeport.backends.scene.rendering import UNITS, Part
from homeport.backends.scene.stages import STAGES, ground_of

_PAINTERS: Mapping[Ground, Callable[[Canvas], Iterator[Part]]] = {
    "plain": places.plain,
    "meadow": landscapes.meadow,
    "forest": landscapes.forest,
    "beach": landscapes.beach,
    "sea": landscapes.sea,
    "underwater": landscapes.underwater,
    "mountains": landscapes.mountains,
    "desert": landscapes.desert,
    "snow": landscapes.snow,
    "city": places.city,
    "road": places.road,
    "room": places.room,
    "table": places.table,
    "sky": places.open_sky,
    "space": places.space,
}
#: Where no weather falls, and where nothing but the colour is to be seen.
_SHELTERED = frozenset[Ground](("room", "table", "space", "underwater"))
#: So that a ground does not repeat the numbers that things were placed by.
_OTHER = 0x5CE9E


class Curtains(NamedTuple):
    """What goes behind all things, and what before them."""

    behind: list[Part]
    before: list[Part]


def ground(description: Description, ratio: float, seed: int, asked_for: Collection[str]) -> Curtains:
    """ratio: height over width. asked_for: names of the drawings that are things: a ground has none of these itself."""
    name = ground_of(description)
    high = ratio * UNITS
    canvas = Canvas(
        high,
        STAGES[name].horizon * high,
        description.time,
        description.weather,
        description.ground_colour,
        asked_for,
        Random(seed ^ _OTHER),
    )
    # Below all of it, so that no gap between two of its parts is a hole.
    behind = [field(canvas.sky()[-1], 0.0, high), *_PAINTERS[name](canvas)]
    return Curtains(behind, [] if name in _SHELTERED else list(weather.falling(canvas)))
