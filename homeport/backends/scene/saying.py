"""A description in English again: what is to be seen, and what of the prompt is not."""

from collections.abc import Sequence

from homeport.backends.scene.describing import MOST_THINGS
from homeport.backends.scene.description import Description, Ground, Group, Side, Time, Weather
from homeport.backends.scene.words import indefinite, number_word, plural

_GROUNDS: dict[Ground, str] = {
    "plain": "",
    "meadow": "a meadow",
    "forest": "a forest",
    "beach": "a beach",
    "sea": "the sea",
    "underwater": "under water",
    "mountains": "mountains",
    "desert": "a desert",
    "snow": "a snowy landscape",
    "city": "a city",
    "road": "a road",
    "room": "a room",
    "table": "a table",
    "sky": "the sky",
    "space": "space",
}
_TIMES: dict[Time, str] = {"day": "", "dawn": "dawn", "sunset": "sunset", "night": "night"}
_WEATHERS: dict[Weather, str] = {
    "clear": "",
    "cloudy": "clouds",
    "rain": "rain",
    "storm": "a storm",
    "snow": "falling snow",
    "fog": "fog",
    "wind": "wind",
    "rainbow": "a rainbow",
}
_SIDES: dict[Side, str] = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "centre": "in the middle",
    "top left": "at the top left",
    "top right": "at the top right",
    "bottom left": "at the bottom left",
    "bottom right": "at the bottom right",
}
_RELATIONS = {"left of": "to the left of", "right of": "to the right of"}


def said(description: Description) -> str:
    """The same words for the same description. Quoted is what stands in the prompt."""
    sentences = [f"A drawing composed of vector art: {_seen(description)}."]
    for words, begin in (
        (description.without, "Kept out, as wanted"),
        (description.unknown, "Not drawn, because there is no picture for it"),
        (description.ignored, "Not followed"),
        (description.left_out, f"Left out, because a drawing holds {MOST_THINGS} things at most"),
    ):
        if words:
            sentences.append(f"{begin}: {', '.join(repr(word) for word in words)}.")
    return " ".join(sentences)


def _seen(description: Description) -> str:
    things = _things(description.groups)
    ground = _GROUNDS[description.ground]
    if description.ground_colour is not None:
        ground = f"{indefinite(description.ground_colour)} background"
    around = [one for one in (ground, _TIMES[description.time], _WEATHERS[description.weather]) if one]
    return "; ".join(", ".join(part) for part in (things, around) if part) or "nothing but the background"


def _things(groups: Sequence[Group]) -> list[str]:
    """A thing that another one stands to is named with that, and only then."""
    parts: list[str] = []
    named: set[int] = set()
    for at, group in enumerate(groups):
        related = group.related
        if at in named and related is None:
            continue
        words = _again(group) if at in named else _named(group)
        named.add(at)
        if related is not None:
            to = []
            for one in related.to:
                to.append(_again(groups[one]) if one in named else _named(groups[one]))
                named.add(one)
            words = f"{words} {_RELATIONS.get(related.relation, related.relation)} {_pair(to)}"
        parts.append(words)
    return parts


def _pair(words: Sequence[str]) -> str:
    """Two of the same are two of it."""
    if len(words) == 2 and words[0] == words[1] and words[0].startswith(("a ", "an ")):
        return f"two {plural(words[0].split(' ', 1)[1])}"
    return " and ".join(words)


def _named(group: Group) -> str:
    words = _adorned(group)
    words = indefinite(words) if group.count == 1 else f"{number_word(group.count)} {plural(words)}"
    if group.instead is not None:
        stands = group.instead if group.count == 1 else plural(group.instead)
        words += f" ({indefinite(stands)} stands for it)" if group.count == 1 else f" ({stands} stand for them)"
    return words if group.side is None else f"{words} {_SIDES[group.side]}"


def _again(group: Group) -> str:
    return f"the {_adorned(group) if group.count == 1 else plural(_adorned(group))}"


def _adorned(group: Group) -> str:
    """What the word says itself is not said twice: a golden retriever."""
    before: list[str] = [] if group.size == "medium" else [group.size]
    if group.colour is not None and group.colour not in group.word:
        before.append(group.colour)
    return " ".join([*before, group.word])
