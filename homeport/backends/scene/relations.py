"""Where things stand to each other: what was said of it, kept so that one can be placed after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from homeport.backends.scene.description import Relation, Side, Size
from homeport.backends.scene.lexicon import HATS, VESSELS, WORN
from homeport.backends.scene.vocabulary import Art

#: Words that are told of each sort (`unknown`, `ignored`, ...), and characters of one.
_MOST_TOLD = 24
LONGEST_TOLD = 60
OPENINGS = ("door", "window")
_INVERSE: dict[Relation, Relation] = {
    "on": "under",
    "under": "above",
    "above": "below",
    "below": "above",
    "left of": "right of",
    "right of": "left of",
    "beside": "beside",
    "behind": "in front of",
    "in front of": "behind",
    "in": "around",
}


@dataclass(slots=True)
class Thing:
    """art: None where nobody knows the word yet; tries: what it may be compared by. soft: its relation was not said in
    so many words."""

    word: str
    art: Art | None
    count: int
    text: str
    tries: tuple[str, ...] = ()
    colour: str | None = None
    size: Size = "medium"
    side: Side | None = None
    relation: Relation | None = None
    to: tuple[int, ...] = ()
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Relations:
    """things: those that were named, in their order. ignored: what cannot be followed is told there."""

    things: list[Thing]
    ignored: list[str]

    def relate(self, things: Sequence[int], relation: str, to: Sequence[int]) -> None:
        first = things[-1]
        if relation == "surrounded":
            self.put(to, "around", (first,))
        elif relation == "holding":
            self.put(to, "in", (first,))
        elif relation == "topped":
            self.put(to, "on", (first,))
        elif relation in ("with", "wearing"):
            for at in to:
                self.accompany(at, first, relation)
        elif relation == "in" and self.name(to[0]) in (HATS | WORN):
            self.accompany(to[0], first, "wearing")
        else:
            self.put(things, cast(Relation, relation), (to[0],))

    def accompany(self, at: int, to: int, relation: str) -> None:
        """With a hat: on the head; with a ball: beside."""
        name, whose = self.name(at), self.name(to)
        if name in HATS:
            where: Relation = "on"
        elif name in WORN or relation == "wearing" or name in OPENINGS:
            where = "in front of"
        elif whose in VESSELS:
            where = "in"
        elif (whose, name) in (("birthday-cake", "candle"), ("birthday-cake", "cherries")):
            where = "on"
        else:
            where = "beside"
        self.put([at], where, (to,))
        self.things[at].soft = True

    def name(self, at: int) -> str:
        art = self.things[at].art
        return art.name if art is not None else ""

    def put(self, things: Sequence[int], relation: Relation, to: tuple[int, ...]) -> None:
        """One relation a thing, and no rings: where it has one, the other is told by its own."""
        for at in things:
            thing = self.things[at]
            if at in to:
                continue
            if (thing.relation is None or thing.soft) and not any(self.leads(one, at) for one in to):
                thing.relation, thing.to, thing.soft = relation, to, False
                continue
            other = self.things[to[0]]
            turned = _INVERSE.get(relation)
            if turned is not None and other.relation is None and not self.leads(at, to[0]):
                other.relation, other.to = turned, (at,)
            elif not (thing.relation == relation and thing.to == to):
                tell(self.ignored, f"{relation} the {other.word}")

    def leads(self, start: int, to: int) -> bool:
        """Whether where one stands depends on the other."""
        seen: set[int] = set()
        open_ones = [start]
        while open_ones:
            at = open_ones.pop()
            if at == to:
                return True
            if at not in seen:
                seen.add(at)
                open_ones += self.things[at].to
        return False


def tell(where: list[str], text: str) -> None:
    text = text.strip()[:LONGEST_TOLD]
    if text and len(where) < _MOST_TOLD and text not in where:
        where.append(text)
