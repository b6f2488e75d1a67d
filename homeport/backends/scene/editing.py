"""A drawing of ours that is changed in words: what is to come, what is to go, and where all of that happens."""

from msgspec import structs

from homeport.backends.scene.art import Art
from homeport.backends.scene.description import Description, Group, Note, Related
from homeport.backends.scene.layout import added, layout
from homeport.backends.scene.stages import ground_of
from homeport.backends.scene.words import singular


def changed(note: Note, wanted: Description, art: Art, *, seed: int, ratio: float) -> Note:
    """wanted: what the prompt was understood as. What it does not speak of stays, and stays where it was, while the
    picture's shape and ground do."""
    note = _without(note, wanted.without)
    old = note.description
    places = {number: len(old.groups) + number for number in range(len(wanted.groups))}
    groups = (*old.groups, *(_referring(group, places) for group in wanted.groups))
    description = structs.replace(wanted, groups=groups, **_scenery(old, wanted))
    if ratio == note.ratio and ground_of(description) == ground_of(old):
        placed = added(note, wanted, art, seed=seed)
    else:
        placed = layout(description, art, ratio=ratio, seed=note.seed)
    return Note(seed=note.seed, ratio=ratio, description=description, placed=placed)


def _scenery(old: Description, wanted: Description) -> dict[str, str | None]:
    """The new ground, time and weather, where the prompt names them."""
    if wanted.ground == "plain" and wanted.ground_colour is None:
        ground, colour = old.ground, old.ground_colour
    else:
        ground, colour = wanted.ground, wanted.ground_colour
    return {
        "ground": ground,
        "ground_colour": colour,
        "time": wanted.time if wanted.time != "day" else old.time,
        "weather": wanted.weather if wanted.weather != "clear" else old.weather,
    }


def _without(note: Note, words: tuple[str, ...]) -> Note:
    """Without the things that are called so."""
    gone = {singular(word.lower()) for word in words}
    groups = note.description.groups
    kept = [
        number
        for number, group in enumerate(groups)
        if gone.isdisjoint((singular(group.word.lower()), group.art, group.art.replace("-", " ")))
    ]
    if len(kept) == len(groups):
        return note
    places = {old: new for new, old in enumerate(kept)}
    return Note(
        seed=note.seed,
        ratio=note.ratio,
        description=structs.replace(
            note.description, groups=tuple(_referring(groups[number], places) for number in kept)
        ),
        placed=tuple(structs.replace(one, group=places[one.group]) for one in note.placed if one.group in places),
    )


def _referring(group: Group, places: dict[int, int]) -> Group:
    """To the same groups, by their new places; to nothing, where one of them is gone."""
    if group.related is None:
        return group
    to = tuple(places[one] for one in group.related.to if one in places)
    related = Related(group.related.relation, to) if len(to) == len(group.related.to) else None
    return structs.replace(group, related=related)
