"""What a row of marks says: which things there are, what is said of which, where they stand, and where all of it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from homeport.backends.scene.colours import COLOURS
from homeport.backends.scene.description import Ground, Relation, Side, Size, Time, Weather
from homeport.backends.scene.grammar import Mark, Named, named, scenery
from homeport.backends.scene.lexicon import (
    HATS,
    LOOSE,
    NATURAL,
    ON_IT,
    PAIRS,
    PARTS,
    PLAIN_VERBS,
    SEEN_IN_IT,
    SNOWY,
    STYLE_WORDS,
    VERBS,
    VESSELS,
    WORN,
)
from homeport.backends.scene.relations import OPENINGS, Relations, Thing, tell
from homeport.backends.scene.vocabulary import Art, Vocabulary
from homeport.backends.scene.words import is_plural, same_form, singular

#: Things that are kept in mind: more than a drawing holds (describing.py), as not every one can be drawn.
_MOST_NAMED = 48
#: Several, where nobody says how many.
_SOME = 3
_PER_COLOUR = 2
#: Plants that stand in a field of them: an apple orchard.
_PLANTED = 5

_SKINS = {"black": "dark", "brown": "medium-dark", "dark brown": "dark", "white": "light", "tan": "medium"}
#: Grounds that one is in, without a word for it: a fish underwater.
_BY_ITSELF = ("underwater", "outdoors", "outside", "indoors", "indoor", "downtown", "outdoor", "nature")
#: The second is at the first, and not the first at the second.
_ACCOMPANIES = ("with", "wearing", "holding", "topped", "surrounded")
_MAKES_PLACE = ("with", "by", "for", "into", "to")
#: What belongs to the thing before, also behind an `and`.
_CARRIED = HATS | WORN | frozenset(OPENINGS)


@dataclass(slots=True)
class _Pending:
    """A relation whose second thing comes next. things: the first ones; None: they come later (`On the table ...`).
    weak: of a verb, for which one more word may say it."""

    relation: str
    things: list[int] | None
    weak: bool = False


@dataclass
class Reading:
    """What was read so far. subjects: the things that the next words may be about. mains: those that they were about
    before the last relation. all_of_them: a list is spoken of as a whole (`a cat and a dog on ...`). joined: how the
    last name is tied to the next."""

    vocabulary: Vocabulary
    edit: bool
    things: list[Thing] = field(default_factory=list)
    grounds: list[Ground] = field(default_factory=list)
    ground_colour: str | None = None
    time: Time | None = None
    weather: Weather | None = None
    unknown: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    subjects: list[int] = field(default_factory=list)
    mains: list[int] = field(default_factory=list)
    targeted: bool = False
    all_of_them: bool = False
    pending: _Pending | None = None
    between: tuple[list[int], int] | None = None
    front: tuple[str, list[int]] | None = None
    side: Side | None = None
    waiting: list[Named] = field(default_factory=list)
    before: Named | None = None
    joined: str | None = None
    after_scene: bool = False
    negated: bool = False
    spent: bool = False
    replacing: bool = False
    replaced: Named | None = None
    contents: bool = False
    far: list[tuple[int, Relation]] = field(default_factory=list)
    companions: list[int] = field(default_factory=list)
    host: int | None = None
    scene: Ground | None = None
    snowy: bool = False

    @property
    def relations(self) -> Relations:
        return Relations(self.things, self.ignored)

    def read(self, row: Sequence[Mark]) -> None:
        at = 0
        while at < len(row):
            mark = row[at]
            if self.replacing and mark.text.lower() in _MAKES_PLACE:
                self.replacing = self.negated = False
                at += 1
                continue
            found, end = named(row, at)
            if end > at and not found.only_looks:
                self._named(found, row[end] if end < len(row) else None)
                at = end
            else:
                at = self._marked(mark, row, at)
        self._stop()

    # What is not a name

    def _marked(self, mark: Mark, row: Sequence[Mark], at: int) -> int:
        """Returns where to read on."""
        role = mark.role
        after = row[at + 1] if at + 1 < len(row) else None
        if self.negated and self.spent and role not in ("and", "or", "comma", "skip"):
            self.negated = False
        if role in ("and", "or", "comma"):
            self._joined(role, row, at)
        elif role == "stop":
            self._stop()
        elif role in ("relation", "with"):
            self._relation(str(mark.value))
        elif role == "verb":
            self._verb(mark)
        elif role == "look" and after is not None and after.role == "determiner" and mark.text.lower() in VERBS:
            self._verb(mark._replace(value=VERBS[mark.text.lower()].value or "beside"))
        elif role == "look":
            self._look(mark)
        elif role in ("colour", "size"):
            self._described(mark)
        elif role == "is":
            return self._is(row, at + 1)
        elif role == "pronoun":
            self._pronoun()
        elif role == "of it":
            self._of_it(cast(Relation, mark.value), row[at - 1] if at else None)
        elif role == "side":
            self._side(cast(Side, mark.value), row[at - 1] if at else None, after)
        elif role in ("ground", "time", "weather"):
            self._scenery(mark)
        elif role in ("front", "back"):
            self._depth("in front of" if role == "front" else "behind")
        elif role == "of":
            self._of()
        elif role in ("no", "remove", "replace"):
            self._not(role)
        elif role == "command":
            self._command()
        elif role == "style":
            tell(self.ignored, mark.text)
        elif role == "style of":
            return self._style_of(row, at)
        return at + 1

    def _joined(self, role: str, row: Sequence[Mark], at: int) -> None:
        self.joined = role
        if role == "comma":
            self._aloft()
        if self.pending is not None and self.pending.weak:
            self.pending = None
        if role == "comma" and self.front is None and self.pending is not None and self.pending.things is None:
            self.pending = None
        if not (self.negated and self.spent) or role == "or":
            return
        follows = row[at + 1] if at + 1 < len(row) else None
        if follows is None or follows.role in ("determiner", "count", "and"):
            self.negated = False
        elif role == "comma":
            self.negated = _or_follows(row, at + 1)

    def _aloft(self) -> None:
        """`Above` without a word for what: those that are there, or the ground."""
        if self.pending is None or self.pending.weak or self.pending.relation != "above":
            return
        last = self.things[-1] if self.pending.things else None
        if last is not None and last.soft and last.relation == "beside":  # a house with birds above
            last.relation, last.soft = "above", False
        elif last is not None and last.relation is None:
            last.side = last.side or "top"
        self.pending = None

    def _stop(self) -> None:
        self._aloft()
        self._drop_waiting()
        self._settle_between()
        self.subjects, self.mains, self.targeted = [], [], False
        self.pending = self.front = self.side = self.joined = self.before = None
        self.after_scene = self.negated = self.replacing = self.contents = False
        self.replaced = self.host = self.scene = None
        self.companions = []

    def _command(self) -> None:
        self.negated = self.replacing = False
        self.pending = None

    def _relation(self, relation: str) -> None:
        self._settle_between()
        if self.scene is not None and relation in ("with", "wearing"):
            self.pending = None
        elif self.pending is not None and self.pending.weak:
            self.pending = _Pending(relation, self.pending.things)
        elif self.subjects:
            things = self.subjects
            if self.targeted and self.joined is not None and self.mains:
                things = self.mains
            if not self.targeted and (relation in ("with", "wearing") or not self.all_of_them):
                things = things[-1:]
            self.pending = _Pending(relation, list(things))
        elif not self.after_scene and relation not in ("with", "wearing"):
            self.pending = _Pending(relation, None)
        self.joined = None

    def _verb(self, mark: Mark) -> None:
        if not self.subjects:
            if mark.text.lower() not in PLAIN_VERBS and not self.after_scene and self.joined is None:
                tell(self.ignored, mark.text)
            return
        if mark.text.lower() not in PLAIN_VERBS:
            tell(self.ignored, mark.text)
        if mark.value is not None:
            self.pending = _Pending(str(mark.value), list(self.mains if self._goes_on() else self.subjects), weak=True)
        self.joined = None

    def _goes_on(self) -> bool:
        """It is said of those before the last relation: a dog with a ball, and runs."""
        return self.targeted and self.joined is not None and bool(self.mains)

    def _look(self, mark: Mark) -> None:
        if mark.text.lower() not in PLAIN_VERBS:
            tell(self.ignored, mark.text)
        self.joined = None if self.joined != "and" else "and"

    def _described(self, mark: Mark) -> None:
        if self.subjects:
            self._adorn(self.subjects, mark)
        else:
            tell(self.ignored, mark.text)

    def _adorn(self, things: Sequence[int], mark: Mark) -> None:
        """By what was said after them: the cars are red."""
        for at in things:
            thing = self.things[at]
            if mark.role == "size":
                thing.size = cast(Size, mark.value)
            elif thing.colour is None:
                self._colour(thing, str(mark.value))
            elif thing.colour != mark.value:
                tell(self.ignored, mark.text)

    def _is(self, row: Sequence[Mark], at: int) -> int:
        """Adjectives behind `is`, where no name follows them."""
        end = at
        while end < len(row) and row[end].role in ("colour", "size", "look", "skip", "and", "word"):
            if row[end].role == "and" and (end + 1 >= len(row) or row[end + 1].role not in ("colour", "size", "look")):
                break
            end += 1
        while end > at and row[end - 1].role in ("and", "skip"):
            end -= 1
        if end < len(row) and (row[end].role == "thing" or (row[end].art and row[end].role != "verb")):
            return at
        if self.after_scene and not self.subjects:
            for mark in row[at:end]:
                if mark.role == "colour":
                    self._ground_colour(mark)
            return end
        if not self.subjects:
            return at
        for mark in row[at:end]:
            if mark.role in ("colour", "size"):
                self._adorn(self.subjects, mark)
            elif mark.role in ("look", "word"):
                self._look(mark)
        if end > at:
            self.mains, self.targeted = self.subjects, True
        return end

    def _ground_colour(self, mark: Mark) -> None:
        if self.scene is None or mark.value not in NATURAL.get(self.scene, ()):
            tell(self.ignored, mark.text)

    def _pronoun(self) -> None:
        about = self.pending.things if self.pending is not None and self.pending.things is not None else []
        if self.companions and self.pending is not None and about == [self.host]:
            self.relations.relate(self.companions, self.pending.relation, about)
            self.pending = None
            return
        known = [at for at in self.mains if at not in about]
        if not known and len(about) > 1 and self.pending is not None:  # a house, and a dog beside it
            known, about = about[:-1], about[-1:]
            self.pending.things = about
        if not known:
            known = [at for at in range(len(self.things)) if at not in about]
        if not known:
            self.pending = None
            return
        if self.pending is None:
            self.subjects, self.targeted = [known[-1]], False
        elif self.pending.things is not None:
            self.relations.relate(self.pending.things, self.pending.relation, [known[-1]])
            self.pending = None
        else:
            self.front = (self.pending.relation, [known[-1]])
            self.pending = None
        self.joined = None

    def _of_it(self, relation: Relation, last: Mark | None) -> None:
        """To its left stands a dog; a dog to its left."""
        self.pending = None
        opens = last is None or last.role in ("comma", "and", "stop")
        if opens or not self.subjects:
            about = self.front[1] if self.front is not None else self.mains or self.subjects
            about = about or list(range(len(self.things)))
            if about:
                self.front = (relation, about[-1:])
                self.subjects, self.mains, self.targeted = [], [], False
        else:
            known = [at for at in range(len(self.things)) if at not in self.subjects[-1:]]
            if known:
                self.relations.relate(self.subjects[-1:], relation, known[-1:])
        self.joined = None

    def _side(self, side: Side, last: Mark | None, after: Mark | None) -> None:
        self.pending = None
        opens = last is None or last.role in ("comma", "and", "stop", "command")
        ends = after is None or after.role in ("stop", "comma", "and", "or")
        fronted = opens and (not ends or (bool(self.subjects) and self.things[self.subjects[-1]].side is not None))
        if self.subjects and not fronted and not self.negated:
            self.things[self.subjects[-1]].side = side
        elif fronted or not self.subjects:
            self.side = side
            self.subjects, self.targeted, self.mains = [], False, []
            self.after_scene = True
        self.joined = None

    def _depth(self, relation: Relation) -> None:
        self.pending = None
        if self.subjects and self.scene is None:
            self.far += [(at, relation) for at in self.subjects[-1:]]

    def _of(self) -> None:
        if not self.subjects or self.joined is not None:
            return
        last = self.things[-1]
        if last.art is not None and last.art.name in VESSELS:
            self.pending = _Pending("holding", [len(self.things) - 1])
        elif last.art is not None:
            self.contents = True

    def _not(self, role: str) -> None:
        self._drop_waiting()
        self.pending = None
        self.negated, self.spent = True, False
        if role == "replace":
            self.replacing = True

    def _style_of(self, row: Sequence[Mark], at: int) -> int:
        end = at + 1
        while end < len(row) and end - at < 7 and row[end].role not in ("comma", "stop", "with", "relation"):
            end += 1
        tell(self.ignored, " ".join(mark.text for mark in row[at:end]).removeprefix("in the ").removeprefix("in "))
        return end

    # Scenery

    def _scenery(self, mark: Mark, looks: Named | None = None) -> None:
        ground, time, weather = scenery(mark)
        relation = self.pending.relation if self.pending is not None else None
        things = self.pending.things if self.pending is not None else None
        self.pending = None
        if self.negated:
            self.spent = True
            return
        if time is not None:
            self.time = time if self.time in (None, "day") else self.time
        if weather is not None:
            self.weather = weather if self.weather in (None, "clear") else self.weather
        if ground is not None:
            self._ground(ground, mark, relation, things)
        for text in looks.looks if looks is not None else ():
            tell(self.ignored, text)
        for colour in looks.colours if looks is not None else ():
            if ground is None or colour not in NATURAL.get(ground, ()):
                tell(self.ignored, colour)
        self.scene = ground or self.scene or "sky"
        if not self.subjects or relation is None:
            self.after_scene = not self.subjects

    def _ground(self, ground: Ground, mark: Mark, relation: str | None, things: list[int] | None) -> None:
        if mark.value == SNOWY:
            self.snowy = True
            return
        if relation in ("under", "below") and ground in ("sea", "underwater"):
            ground = "underwater"
        elif relation in ("under", "below") and ground not in ("sky", "snow", "forest", "mountains", "meadow"):
            tell(self.unknown, mark.text)
            return
        elif relation == "above" and ground != "sky":
            for at in things or ():
                self.things[at].side = self.things[at].side or "top"
        if ground == "sky" and relation in ("under", "below", None) and not mark.text.lower().startswith("clouds"):
            return  # it is there anyway
        if mark.text.lower() in SEEN_IN_IT:
            tell(self.unknown, mark.text)
        if ground not in self.grounds:
            self.grounds.append(ground)
            if len(self.grounds) > 1 and not _is_part(ground, self.grounds[:-1]):
                tell(self.ignored, mark.text)

    # Names

    def _named(self, found: Named, after: Mark | None) -> None:
        for mark in found.scenery:
            if self.negated:
                continue
            if mark.role != "ground" and mark.text.lower().endswith(("y", "ing", "lit", "cast")):
                pending = self.pending
                self._scenery(mark)
                self.pending, self.scene = pending, None
            else:
                tell(self.ignored, mark.text)
        if found.background:
            self._background(found)
        elif not found.words:
            self._unnamed(found, after)
        elif after is not None and after.role == "ground" and after.text.lower() not in _BY_ITSELF and _bare(after):
            self._in_a_place(found)
        elif self.negated:
            self._unwanted(found)
        elif not found.of_a_thing and after is not None and after.text.lower() in STYLE_WORDS:
            for text in [*found.looks, *(mark.text for mark in found.words)]:
                tell(self.ignored, text)
        elif self.contents:
            self.contents = False
            tell(self.ignored, found.text)
        else:
            self._things(found)

    def _background(self, found: Named) -> None:
        self.pending = None
        if self.negated:
            self.spent = True
            if not self.replacing:
                tell(self.without, "background")
            return
        if found.colours:
            self.ground_colour = found.colours[0]
        for text in [*found.looks, *(mark.text for mark in found.words), *found.colours[1:]]:
            tell(self.ignored, text)
        self.after_scene = not self.subjects

    def _unnamed(self, found: Named, after: Mark | None) -> None:
        if not found.told:
            if found.ground is not None:
                self.grounds.append(found.ground)
            return
        if after is not None and after.role in ("ground", "time", "weather"):
            if found.count in (None, 1):
                self._scenery_looks(found, after)
                return
        if self.pending is not None and self.pending.relation == "in" and found.colours and self.pending.things:
            for at in self.pending.things:
                self._colour(self.things[at], found.colours[0])
            for text in [*found.colours[1:], *found.looks]:
                tell(self.ignored, text)
            self.pending = None
            return
        if found.counted.lower() == "one" and found.colours and self.before is not None and not self.negated:
            self._things(replace(self.before, determiner="a", count=1, counted="", colours=found.colours, looks=[]))
            return
        if not (found.colours or found.sizes or found.looks):
            return
        if self.subjects and self.joined is None and self.pending is None and not (found.determiner or found.count):
            self._turned(found)  # make the car red
        elif self.replaced is not None or (after is not None and after.role in ("and", "or", "comma")):
            self.waiting.append(found)
        else:
            self._unused(found)

    def _turned(self, found: Named) -> None:
        for at in self.subjects:
            thing = self.things[at]
            if found.colours and thing.colour is None:
                self._colour(thing, found.colours[0])
            thing.size = found.sizes[-1] if found.sizes else thing.size
        for text in [*found.looks, *found.colours[1:]]:
            tell(self.ignored, text)

    def _scenery_looks(self, found: Named, ground: Mark) -> None:
        """A dark forest, a red table: of how it looks, what is not there anyway is told."""
        if self.negated:
            return
        for text in found.looks:
            tell(self.ignored, text)
        for colour in found.colours:
            if colour not in NATURAL.get(str(ground.value), ()) and ground.role == "ground":
                tell(self.ignored, colour)

    def _in_a_place(self, found: Named) -> None:
        """An apple orchard is full of them; a dog park is not."""
        head = found.head
        if self.negated:
            self._unwanted(found)
        elif head.art is not None and self._grows(head.art.name):
            found.count = found.count or _PLANTED
            self.pending = None
            self._things(found)
            self.subjects = []
        else:
            for text in [*found.looks, found.text]:
                tell(self.ignored, text)

    def _grows(self, name: str) -> bool:
        return self.vocabulary.category(name) == "Food & Drink" or name in (
            "sunflower", "tulip", "rose", "blossom", "hyacinth", "cherry-blossom", "hibiscus", "cactus", "palm-tree",
            "evergreen-tree", "deciduous-tree",
        )  # fmt: skip

    def _unwanted(self, found: Named) -> None:
        self.spent = True
        if self.replacing:
            self.replaced = found
        tell(self.without, " ".join([*found.colours, found.text]).lower())

    def _things(self, found: Named) -> None:
        """New ones, or one that was named before, and what they have to do with others."""
        head = found.head
        word = head.word or head.text.lower()
        if self._is_part_of_something(found, word):
            return
        if word in ON_IT and found.determiner == "the" and self.pending is not None and self._before(found) is None:
            if self.pending.things and (len(self.things) > len(self.pending.things) or self.companions):
                self._pronoun()  # on its roof
                self._drop_waiting()
                return
        if self.edit and found.determiner == "the" and self.pending is not None and self._before(found) is None:
            self.pending = None  # it is in the picture that was given
            self.joined = None
            self._drop_waiting()
            return
        known = self._before(found)
        new = [known] if known is not None else self._new(found)
        if known is not None:
            for mark_colour in found.colours:
                if self.things[known].colour is None:
                    self._colour(self.things[known], mark_colour)
        if found.ground is not None and found.ground not in self.grounds:
            self.grounds.append(found.ground)
        self.before = found
        if not new:
            self.pending = None
            return
        if self.side is not None:
            for at in new:
                self.things[at].side = self.side
            self.side = None
        self._tie(new)
        self.joined = self.scene = None

    def _is_part_of_something(self, found: Named, word: str) -> bool:
        """A cat with green eyes: they are hers, and as they are."""
        about = self.pending
        if about is None or about.relation not in ("with", "wearing") or not about.things or word not in PARTS:
            return False
        if not self.vocabulary.find(word) and found.head.role == "word" and len(found.words) > 1:
            return False
        if word in LOOSE and not found.head.several:
            return False
        tell(self.ignored, " ".join([*found.colours, *found.looks, found.text]))
        self.host = about.things[-1]
        self.pending = None
        return True

    def _before(self, found: Named) -> int | None:
        """The same thing, named before: the cat."""
        if found.determiner != "the" or self.waiting or found.count not in (None, 1):
            return None
        head = found.head
        for at in range(len(self.things) - 1, max(len(self.things) - 64, 0) - 1, -1):
            thing = self.things[at]
            same = thing.word == head.word or (head.art is not None and thing.art == head.art)
            if same and (not found.colours or thing.colour in (None, found.colours[0])):
                return at
        return None

    def _new(self, found: Named) -> list[int]:
        several = found.head.several
        waiting, self.waiting = self.waiting, []
        apart = [one for one in waiting if one.determiner or one.count]
        made: list[int] = []
        if waiting and (apart or found.determiner or found.count):
            for one in waiting:
                made += self._make(found, one, one.count or 1)
            made += self._make(found, found, self._count(found))
        elif waiting:
            each = _PER_COLOUR if several else 1
            for one in [*waiting, found]:
                made += self._make(found, one, each)
        else:
            self._share(found)
            colours = found.colours
            total = self._count(found)
            if len(colours) > 1 and (total > 1 or several):
                total = found.count or max(len(colours) * _PER_COLOUR, total)
                share, over = divmod(total, len(colours))
                for at, colour in enumerate(colours):
                    if share + (at < over):
                        made += self._make(found, found, share + (at < over), colour)
            else:
                made += self._make(found, found, total)
                for text in colours[1:]:
                    tell(self.ignored, text)
        return made

    def _share(self, found: Named) -> None:
        """Black cats and dogs: both, but not what has a colour of its own, as food has."""
        before = self.before
        if self.joined != "and" or before is None or found.told or found.determiner or not found.head.several:
            return
        if before.count or before.determiner or not before.head.several or self.pending is not None:
            return
        if found.head.art is not None and self.vocabulary.category(found.head.art.name) == "Food & Drink":
            return
        named_for = before.head.word.split(" ")[0]
        found.colours = before.colours[:1] or ([named_for] if named_for in COLOURS else [])
        found.sizes = list(before.sizes)

    def _count(self, found: Named) -> int:
        head = found.head
        if "pair" in found.counted and head.art is not None and head.art.name in PAIRS:
            return 1
        if found.count is not None:
            return max(found.count, 1)
        if not head.several or found.determiner in ("a", "another"):
            return 1
        if is_plural(head.word) or (same_form(head.word) and found.determiner == "the"):
            return 1
        return _SOME

    def _make(self, found: Named, said: Named, count: int, colour: str | None = None) -> list[int]:
        """said: the adjectives. Returns its place, or nothing where there is no more room."""
        head = found.head
        for mark in found.words[:-1]:
            if head.role != "word" and said is found:
                tell(self.ignored, mark.text)
        for text in said.looks:
            if text.lower() not in PLAIN_VERBS:
                tell(self.ignored, text)
        if len(self.things) >= _MOST_NAMED:
            tell(self.left_out, f"{count} {found.text}" if count > 1 else found.text)
            return []
        word = head.word or head.text.lower()
        if head.art is not None and head.role != "word":
            thing = Thing(word, head.art, count, found.text)
        else:
            text = found.text
            thing = Thing(
                singular(text.lower()), None, count, text, tuple(dict.fromkeys((singular(text.lower()), word)))
            )
        if thing.word == "glasses" and count > 1 and (drunk := self.vocabulary.find("tumbler glass")) is not None:
            thing.word, thing.art = "glass", drunk  # nobody wears two
        thing.size = said.sizes[-1] if said.sizes else "medium"
        if head.art is not None and head.art.colour is not None:
            thing.colour = head.art.colour
        colour = colour or (said.colours[0] if said.colours else None)
        if colour is not None:
            self._colour(thing, colour)
        self.things.append(thing)
        return [len(self.things) - 1]

    def _colour(self, thing: Thing, colour: str) -> None:
        """Of people, black and white are skins."""
        if thing.art is not None and self.vocabulary.is_person(thing.art.name):
            skin = self.vocabulary.skin(thing.art.name, _SKINS.get(colour, ""))
            if skin is not None:
                thing.art = Art(skin, None, thing.art.exact)
                thing.word = f"{colour} {thing.word}"
                return
            if colour == "blond":  # their hair
                tell(self.ignored, colour)
                return
        thing.colour = colour

    # What stands where to what

    def _tie(self, new: list[int]) -> None:
        if self.between is not None and self.joined == "and":
            things, first = self.between
            self.between = None
            self.relations.put(things, "between", (first, new[0]))
            self.mains, self.subjects, self.targeted = things, new, True
            return
        self._settle_between()
        pending, self.pending = self.pending, None
        if pending is not None and pending.things is None:
            self.front = (pending.relation, new)
            self.subjects, self.mains, self.targeted = [], [], False
            return
        if pending is not None and pending.things is not None:
            if pending.relation == "between":
                self.between = (pending.things, new[0])
            else:
                self.relations.relate(pending.things, pending.relation, new)
            self.mains, self.subjects, self.targeted = pending.things, new, True
            if pending.relation in _ACCOMPANIES or self.things[new[0]].to == (
                pending.things[-1],
            ):  # what follows is said of the first again
                self.host, self.companions, self.subjects = pending.things[-1], new, pending.things
            return
        if self.host is not None and self.joined is not None and all(self.relations.name(at) in _CARRIED for at in new):
            self.companions = [*self.companions, *new]
            for at in new:
                self.relations.accompany(at, self.host, "wearing")
            return
        if self.front is not None:
            self.relations.relate(new, self.front[0], self.front[1])
        self.all_of_them = self.joined == "and" or len(new) > 1
        if self.joined in ("and", "or", "comma") and self.subjects and not self.targeted:
            self.subjects = [*self.subjects, *new]
        else:
            self.subjects, self.mains = list(new), []
        self.targeted = False
        self.after_scene = False
        self.host, self.companions = None, []

    def _settle_between(self) -> None:
        """Between two trees: one stands on each side."""
        if self.between is None:
            return
        things, first = self.between
        self.between = None
        thing = self.things[first]
        if thing.count > 1 and len(self.things) < _MOST_NAMED:
            half = thing.count // 2
            self.things.append(Thing(thing.word, thing.art, half, thing.text, thing.tries, thing.colour, thing.size))
            thing.count -= half
            self.relations.put(things, "between", (first, len(self.things) - 1))
        else:
            self.relations.put(things, "beside", (first,))

    def _drop_waiting(self) -> None:
        """Adjectives that nothing came for; of a replacement, they are the new look of what was named."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if self.replaced is not None:
                replaced, self.replaced = self.replaced, None
                replaced.colours, replaced.sizes, replaced.looks = one.colours, one.sizes, one.looks
                self.without = self.without[:-1]
                self._new(replaced)
                continue
            self._unused(one)

    def _unused(self, found: Named) -> None:
        for text in [*found.colours, *found.sizes, *found.looks]:
            tell(self.ignored, text)


#: A ground in which the other is seen anyway.
_WITHIN: dict[Ground, tuple[Ground, ...]] = {
    "beach": ("sea", "sky"),
    "mountains": ("meadow", "sky"),
    "city": ("road", "sky"),
    "room": ("table",),
}


def _is_part(ground: Ground, of: Sequence[Ground]) -> bool:
    return ground == "sky" or any(ground in _WITHIN.get(one, ()) for one in of)


def _bare(mark: Mark) -> bool:
    """A word for a place without one that says where to it."""
    return mark.text.split(" ", 1)[0].lower() not in ("under", "in", "on", "at", "beneath", "below", "inside", "bottom")


def _or_follows(row: Sequence[Mark], at: int) -> bool:
    """Before the list ends."""
    for mark in row[at : at + 24]:
        if mark.role == "or":
            return True
        if mark.role not in ("thing", "word", "comma", "colour", "size", "look", "ground"):
            return False
    return False
