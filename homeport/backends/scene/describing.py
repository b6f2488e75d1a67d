"""What was read, as a description: what is drawn of it, and what is told."""

from collections.abc import Mapping, Sequence
from typing import Final

from homeport.backends.scene.description import Description, Ground, Group, Related, Time
from homeport.backends.scene.relations import LONGEST_TOLD, tell
from homeport.backends.scene.understanding import Reading
from homeport.backends.scene.vocabulary import Art

#: Things in one drawing, and kinds of them: more are left out, and named.
MOST_THINGS: Final = 60
MOST_GROUPS: Final = 24
_MOONS = frozenset({"crescent-moon", "full-moon", "first-quarter-moon", "last-quarter-moon", "full-moon-face"})
_ALOFT = _MOONS | frozenset(
    "sun sun-with-face star glowing-star shooting-star comet cloud airplane helicopter bird eagle dove kite balloon "
    "parachute rocket bat butterfly small-airplane flying-saucer rainbow".split()
)
#: Where a moon makes no night.
_TIMELESS: tuple[Ground, ...] = ("space", "underwater", "room", "table")


def described(read: Reading, nearest: Mapping[str, Art]) -> Description:
    """nearest: what words that nobody knew are compared with."""
    for at, relation in read.far:
        other = next((one for one in range(len(read.things)) if one != at and not read.relations.leads(one, at)), None)
        if other is not None and read.things[at].relation is None:
            read.relations.put([at], relation, (other,))
    kept = _kept(read, nearest)
    groups = []
    for at, count in kept.items():
        thing = read.things[at]
        art = thing.art or nearest[thing.word]
        to = tuple(list(kept).index(one) for one in thing.to if one in kept)
        whole = thing.relation is not None and len(to) == len(thing.to)
        groups.append(
            Group(
                word=thing.word[:LONGEST_TOLD],
                art=art.name,
                count=count,
                colour=thing.colour,
                size=thing.size,
                side=thing.side,
                related=Related(thing.relation, to) if whole and thing.relation is not None else None,
                instead=art.name.replace("-", " ") if not art.exact or thing.art is None else None,
            )
        )
    dark = not _grounded(read, _TIMELESS) and any(one.art in _MOONS for one in groups)
    time = read.time or ("night" if dark else "day")
    return Description(
        groups=tuple(groups),
        ground=_whole_ground(read, groups, time),
        ground_colour=read.ground_colour,
        time=time,
        weather=read.weather or ("snow" if read.snowy and read.grounds else "clear"),
        unknown=tuple(read.unknown),
        ignored=tuple(read.ignored),
        left_out=tuple(read.left_out),
        without=tuple(read.without),
    )


def _grounded(read: Reading, grounds: Sequence[Ground]) -> bool:
    return bool(read.grounds) and read.grounds[0] in grounds


def _kept(read: Reading, nearest: Mapping[str, Art]) -> dict[int, int]:
    """Places of the things that are drawn, and how many of each. The rest is told."""
    kept: dict[int, int] = {}
    room = MOST_THINGS
    for at, thing in enumerate(read.things):
        if thing.art is None and thing.word not in nearest:
            tell(read.unknown, thing.text)
            continue
        count = min(thing.count, room) if len(kept) < MOST_GROUPS else 0
        if count < thing.count:
            over = thing.count - count
            tell(read.left_out, f"{over} {thing.text}" if over > 1 else thing.text)
        if count:
            kept[at] = count
            room -= count
    return kept


def _whole_ground(read: Reading, groups: Sequence[Group], time: Time) -> Ground:
    """The first that was named; what time and weather it is must be seen somewhere."""
    grounds = [one for one in read.grounds if one != "sky"] or read.grounds
    if grounds:
        return grounds[0]
    if read.snowy or (read.weather == "snow" and not read.edit):
        return "snow"
    if read.edit:
        return "plain"  # what is around is there
    if read.ground_colour is None and (time != "day" or read.weather is not None or read.time is not None):
        return "sky" if groups and all(group.art in _ALOFT for group in groups) else "meadow"
    return "plain"
