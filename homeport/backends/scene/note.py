"""What a drawing's file says of how it was made, and which of that is believed.

It comes back from clients, who may have changed it. Whatever is read here can be drawn: names are the art's and colours
ours, numbers are numbers of a picture, and there is as much of everything as one drawing may have.
"""

from collections import Counter
from math import isfinite
from typing import Any

import msgspec

from homeport.backends.scene.colours import COLOURS
from homeport.backends.scene.description import VERSION, Description, Note
from homeport.backends.scene.layout import MOST_THINGS

#: Bytes of a note. 200 things take 25,000.
LONGEST = 128 * 1024
#: Pictures are from so much wider than high to so much higher than wide.
STEEPEST = 4.0
_SEEDS = 2**63
_MOST_GROUPS, _MOST_WORDS, _LONGEST_WORD = 64, 256, 400
_decoder = msgspec.json.Decoder(Note)


def written(note: Note) -> str:
    return msgspec.json.encode(note).decode()


def read(text: str | None, names: frozenset[str]) -> Note | None:
    """None: there is none, or it is none that can be drawn. names: of the art."""
    if text is None or len(text) > LONGEST:
        return None
    try:
        note = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    return note if _believable(note, names) else None


def _believable(note: Note, names: frozenset[str]) -> bool:
    if note.version != VERSION or not 0 <= note.seed < _SEEDS:
        return False
    if not isfinite(note.ratio) or not 1 / STEEPEST <= note.ratio <= STEEPEST:
        return False
    return _described(note.description, names) and _placed(note)


def _described(description: Description, names: frozenset[str]) -> bool:
    groups = description.groups
    if len(groups) > _MOST_GROUPS or sum(group.count for group in groups) > MOST_THINGS:
        return False
    said = (*description.unknown, *description.ignored, *description.left_out, *description.without)
    words = [*said, *(group.word for group in groups)]
    if len(said) > _MOST_WORDS or any(len(word) > _LONGEST_WORD or not word.isprintable() for word in words):
        return False
    if description.ground_colour not in (None, *COLOURS):
        return False
    return all(
        group.art in names
        and 1 <= group.count
        and group.colour in (None, *COLOURS)
        and (group.related is None or _refers(group.related.to, len(groups)))
        for group in groups
    )


def _refers(to: tuple[int, ...], count: int) -> bool:
    return 1 <= len(to) <= 2 and all(0 <= one < count for one in to)


def _placed(note: Note) -> bool:
    """As many as are described, and in the picture."""
    counts: Counter[Any] = Counter(one.group for one in note.placed)
    if counts != {number: group.count for number, group in enumerate(note.description.groups)}:
        return False
    most = 2 * max(1.0, note.ratio)
    return all(
        all(map(isfinite, (one.x, one.y, one.side, one.turned)))
        and -most <= one.x <= most
        and -most <= one.y <= most
        and 0 < one.side <= most
        and -360 <= one.turned <= 360
        for one in note.placed
    )
