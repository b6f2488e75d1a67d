"""What a drawing shows, in data: what the prompt was understood as, and where each thing was put.

It is written into a PNG as its note, by which the drawing is varied and edited again, and which tests read.
"""

from typing import Literal

from msgspec import Struct

#: Of the note's form. Another one is not read.
VERSION = 1

Size = Literal["tiny", "small", "medium", "large", "huge"]
Side = Literal["left", "right", "top", "bottom", "centre", "top left", "top right", "bottom left", "bottom right"]
Relation = Literal[
    "on", "under", "above", "below", "left of", "right of", "beside", "behind", "in front of", "in", "between", "around"
]
Ground = Literal[
    "plain",
    "meadow",
    "forest",
    "beach",
    "sea",
    "underwater",
    "mountains",
    "desert",
    "snow",
    "city",
    "road",
    "room",
    "table",
    "sky",
    "space",
]
Time = Literal["day", "dawn", "sunset", "night"]
Weather = Literal["clear", "cloudy", "rain", "storm", "snow", "fog", "wind", "rainbow"]


class Related(Struct, frozen=True):
    """to: groups, by their places in the description; two of `between`, otherwise one."""

    relation: Relation
    to: tuple[int, ...]


class Group(Struct, frozen=True, kw_only=True):
    """So many of one thing. word: as the prompt calls it, in the singular. art: the name of its drawing. colour: a name
    of colours.py; None: as it is drawn. side: of the picture. instead: what stands for it, where that is not quite it
    (`balloon` for a hot air balloon)."""

    word: str
    art: str
    count: int = 1
    colour: str | None = None
    size: Size = "medium"
    side: Side | None = None
    related: Related | None = None
    instead: str | None = None


class Description(Struct, frozen=True, kw_only=True):
    """ground_colour: a name of colours.py, of what is plain. What else the prompt says, in its words and their order:

    unknown: it names something to be seen, and there is no drawing of it. ignored: how something or the whole should
    look, which is not followed ("fluffy", "oil painting"). left_out: known, and more than one drawing holds ("40
    dogs"). without: it must not be seen, or is to be taken away, and is not drawn ("no people").
    """

    groups: tuple[Group, ...] = ()
    ground: Ground = "plain"
    ground_colour: str | None = None
    time: Time = "day"
    weather: Weather = "clear"
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing in it can be drawn: no thing, no ground, and nothing to be taken away."""
        scenery = (self.ground, self.ground_colour, self.time, self.weather) != ("plain", None, "day", "clear")
        return not self.groups and not scenery and not self.without


class Placed(Struct, frozen=True):
    """One thing. group: its place in the description. x, y: of its upper left corner; side: of the square that it
    fills; all in shares of the picture's width, so that a drawing is the same at every size of one shape. turned:
    degrees, clockwise. mirrored: left to right."""

    group: int
    x: float
    y: float
    side: float
    turned: float = 0.0
    mirrored: bool = False


class Note(Struct, frozen=True, kw_only=True):
    """placed: from the back to the front. ratio: the picture's height over its width."""

    version: int = VERSION
    seed: int
    ratio: float
    description: Description
    placed: tuple[Placed, ...]
