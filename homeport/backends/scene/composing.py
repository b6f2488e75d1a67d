"""A note -> the parts of its drawing: the ground, shadows, each thing in its place and colour, and the weather."""

from homeport.backends.scene import nature
from homeport.backends.scene.art import Art
from homeport.backends.scene.blocks import piece_of
from homeport.backends.scene.description import Note, Placed
from homeport.backends.scene.grounds import ground
from homeport.backends.scene.rendering import UNITS, Part
from homeport.backends.scene.stages import AIRY, ground_of

#: How dark a shadow is, and how wide of the thing's width.
_SHADE, _SHADOW = 0.16, 0.46
#: What is put up by these touches the ground nowhere.
#: Signs, and faces that are nobody's, stand on nothing.
_FLAT = ("Symbols", "Smileys & Emotion")
_UP = ("on", "in", "above")


def composed(note: Note, art: Art, *, bare: bool = False) -> list[Part]:
    """From the back to the front, in units. bare: without ground, shadows and weather."""
    if bare:
        return things(note, art)
    description = note.description
    curtain = ground(description, note.ratio, note.seed, {group.art for group in description.groups})
    return [*curtain.behind, *things(note, art, shadows=True), *curtain.before]


def things(note: Note, art: Art, *, shadows: bool = False) -> list[Part]:
    known: dict[tuple[str, str | None], str] = {}
    parts: list[Part] = []
    for placed in note.placed:
        group = note.description.groups[placed.group]
        key = (group.art, group.colour)
        id = known.setdefault(key, f"art{len(known)}")
        if shadows and _casts(note, placed, art):
            parts.append(_shadow(placed, art, group.art))
        parts.append(_thing(placed, id, art.body(group.art, group.colour, id)))
    return parts


def _thing(placed: Placed, id: str, body: str) -> Part:
    x, y, side = placed.x * UNITS, placed.y * UNITS, placed.side * UNITS
    moves = f"translate({x:.3f} {y:.3f})"
    if placed.turned:
        moves += f" rotate({placed.turned:.2f} {side / 2:.3f} {side / 2:.3f})"
    moves += f" translate({side:.3f} 0) scale({-side:.4f} {side:.4f})" if placed.mirrored else f" scale({side:.4f})"
    spare = 0.21 * side if placed.turned else 0.0
    return Part(f'<use href="#{id}" xlink:href="#{id}" transform="{moves}"/>', y - spare, y + side + spare, {id: body})


def _casts(note: Note, placed: Placed, art: Art) -> bool:
    group = note.description.groups[placed.group]
    if art.category(group.art) in _FLAT or nature.place(group.art) not in ("ground", "road"):
        return False
    if group.related is not None and group.related.relation in _UP:
        return False
    lifted = any(
        other.related is not None
        and placed.group in other.related.to[:1]
        and other.related.relation in ("under", "below")
        for other in note.description.groups
    )
    place = ground_of(note.description)
    return not lifted and (place == "plain" or place not in AIRY) and place not in ("sea", "underwater")


def _shadow(placed: Placed, art: Art, name: str) -> Part:
    piece = piece_of(placed, art.shape(name))
    x, y = (piece.left + piece.right) / 2 * UNITS, piece.bottom * UNITS
    wide = _SHADOW * piece.width * UNITS
    high = 0.13 * wide
    return Part(
        f'<ellipse cx="{x:.2f}" cy="{y - 0.25 * high:.2f}" rx="{wide:.2f}" ry="{high:.2f}" fill="#0b1524" '
        f'fill-opacity="{_SHADE}"/>',
        y - 1.3 * high,
        y + high,
    )
