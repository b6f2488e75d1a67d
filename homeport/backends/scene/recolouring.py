"""A drawing in another colour: what is mostly there becomes it, with its lights and shades; what is only beside it (a
leaf, a window, an eye, a wheel) stays as it was."""

import re
from collections.abc import Mapping
from math import pi

from homeport.backends.scene.colours import COLOURS, Seen, apart, seen, shown

_COLOUR = re.compile(r'((?:fill|stroke|stop-color|flood-color)=")(#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3})(?=")')
#: Below this a colour is a grey.
_GREY = 0.04
_NEAR_BLACK, _NEAR_WHITE = 0.35, 0.93
#: Hues that belong together: an orange cat has yellow and red hairs.
_TOGETHER = pi / 4.2
#: Share of what is drawn from which something coloured is the main thing, and not something grey.
_MUCH = 0.3
#: The same, beside what is nearly black: tyres, outlines.
_SOME = 0.12
#: How much of the difference between a shade and the main colour is kept.
_RELIEF = 0.85
#: A detail, where it is smaller than this share of all: an eye, which must not vanish in what has become as dark.
_DETAIL = 0.05


def colours_of(body: str) -> list[str]:
    """That an icon's SVG uses, each once."""
    return list(dict.fromkeys(found[2] for found in _COLOUR.finditer(body)))


def recoloured(body: str, areas: Mapping[str, float], colour: str, *, afloat: bool = False) -> str:
    """areas: of each colour of the icon, the share of what is seen that it fills. colour: a name of COLOURS. afloat:
    what is blue is water."""
    changed = _changes(
        {one: area for one, area in areas.items() if not (afloat and _water(seen(one)))}, COLOURS[colour]
    )
    return _COLOUR.sub(lambda found: found[1] + changed.get(found[2], found[2]), body)


def _changes(areas: Mapping[str, float], colour: str) -> dict[str, str]:
    if not areas:
        return {}
    wanted = seen(colour)
    looks = {colour: seen(colour) for colour in areas}
    main = _main(areas, looks)
    kin = {colour for colour, look in looks.items() if _akin(look, main)}
    # Shades of what is very light or very dark must have room above and below.
    middle = min(max(wanted.light, 0.3), 0.955)
    lightest = max((looks[colour].light for colour in kin), default=main.light)
    darkest = min((looks[colour].light for colour in kin), default=main.light)
    up = min(_RELIEF, (1.0 - middle) / max(lightest - main.light, 1e-6))
    down = min(_RELIEF, (middle - 0.12) / max(main.light - darkest, 1e-6))
    changed = {}
    for colour in kin:
        look = looks[colour]
        light = middle + (look.light - main.light) * (up if look.light > main.light else down)
        share = min(max(look.strong / main.strong, 0.45), 1.25) if main.strong > _GREY else 1.0
        changed[colour] = shown(Seen(light, wanted.strong * share, wanted.hue))
    if middle < 0.45:
        for colour, look in looks.items():
            if colour not in kin and look.light < middle + 0.1 and areas[colour] < _DETAIL:
                changed[colour] = shown(Seen(0.93, 0.03, 1.6))
    return changed


def _main(areas: Mapping[str, float], looks: Mapping[str, Seen]) -> Seen:
    """The colour of what is mostly seen: all of a hue together, of which the largest."""
    coloured = {colour: look for colour, look in looks.items() if look.strong >= _GREY and look.light >= _NEAR_BLACK}
    whole = sum(areas.values()) or 1.0
    families = {
        colour: sum(areas[other] for other, its in coloured.items() if apart(its.hue, look.hue) < _TOGETHER)
        for colour, look in coloured.items()
    }
    largest = max(areas, key=lambda colour: areas[colour])
    much = _SOME if looks[largest].light < _NEAR_BLACK else _MUCH
    if families and max(families.values()) >= much * whole:
        solid = {colour: area for colour, area in families.items() if not _glass(looks[colour])}
        if solid and max(solid.values()) >= 0.4 * max(families.values()):
            families = solid
        most = max(families.values())
        chosen = [colour for colour, area in families.items() if area >= 0.5 * most]
        return looks[max(chosen, key=lambda colour: areas[colour])]
    greys = {colour: areas[colour] for colour in looks if colour not in coloured}
    if greys and (largest in greys or not families or sum(greys.values()) > max(families.values())):
        return looks[max(greys, key=lambda colour: greys[colour])]
    return looks[largest]


def _glass(look: Seen) -> bool:
    """Windows are light blue, and of no colour that a thing is called by."""
    return look.light > 0.7 and 3.5 < look.hue % (2 * pi) < 4.5


def _water(look: Seen) -> bool:
    return look.strong > 0.1 and 3.5 < look.hue % (2 * pi) < 4.8


def _akin(look: Seen, main: Seen) -> bool:
    """Whether it takes part in the main colour's change."""
    if main.strong >= _GREY:
        return look.strong >= _GREY * 0.75 and apart(look.hue, main.hue) < _TOGETHER and look.light > 0.2
    if main.light < _NEAR_BLACK:
        return look.strong < _GREY and look.light < 0.6
    return look.strong < _GREY * 1.5 and look.light >= max(_NEAR_BLACK, main.light - 0.45)
