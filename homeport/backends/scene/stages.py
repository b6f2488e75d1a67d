"""Where things may be in front of a ground: the bands of a picture, in shares of its height from the top."""

from collections.abc import Mapping
from dataclasses import dataclass

from homeport.backends.scene.description import Description, Ground

Band = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stage:
    """horizon: where what one stands on begins. floor: where feet are. sky: where all of what flies is. road: where
    wheels are; water: where boats float, and deeper fish swim; None: there is none, and they are on the floor. far:
    how large a thing is at the far end of the floor, of what it is at the near end. tidy: things are set out in
    rows."""

    horizon: float
    floor: Band
    sky: Band
    road: Band | None = None
    water: Band | None = None
    far: float = 0.55
    tidy: bool = False


STAGES: Mapping[Ground, Stage] = {
    "plain": Stage(1.0, (0.1, 0.95), (0.05, 0.95), far=1.0, tidy=True),
    "meadow": Stage(0.58, (0.66, 0.95), (0.04, 0.54)),
    "forest": Stage(0.62, (0.70, 0.95), (0.04, 0.50), far=0.62),
    "beach": Stage(0.46, (0.74, 0.95), (0.04, 0.42), water=(0.50, 0.64), far=0.6),
    "sea": Stage(0.46, (0.55, 0.94), (0.04, 0.43), water=(0.54, 0.94), far=0.5),
    "underwater": Stage(0.86, (0.88, 0.96), (0.05, 0.80), water=(0.06, 0.84), far=0.9),
    "mountains": Stage(0.64, (0.70, 0.95), (0.04, 0.42), far=0.6),
    "desert": Stage(0.58, (0.66, 0.95), (0.04, 0.50)),
    "snow": Stage(0.58, (0.66, 0.95), (0.04, 0.50)),
    "city": Stage(0.70, (0.75, 0.80), (0.04, 0.34), road=(0.88, 0.95), far=0.9),
    "road": Stage(0.56, (0.62, 0.67), (0.04, 0.50), road=(0.76, 0.92), far=0.85),
    "room": Stage(0.68, (0.76, 0.95), (0.06, 0.46), far=0.8),
    "table": Stage(0.60, (0.68, 0.90), (0.06, 0.46), far=0.85, tidy=True),
    "sky": Stage(1.0, (0.15, 0.92), (0.1, 0.55), far=1.0),
    "space": Stage(1.0, (0.12, 0.94), (0.05, 0.94), far=1.0),
}
#: Where nothing stands: things are anywhere.
AIRY = frozenset[Ground](("plain", "sky", "space"))


def ground_of(description: Description) -> Ground:
    """What is drawn: where it is night, or rains, one is outside."""
    outside = description.time != "day" or description.weather != "clear"
    plain = description.ground == "plain" and description.ground_colour is None
    return "meadow" if plain and outside else description.ground
