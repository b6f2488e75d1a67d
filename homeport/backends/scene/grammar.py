"""A prompt as a row of marks (what each word or phrase is), and what is said of each thing before its name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from homeport.backends.scene.description import Ground, Size, Time, Weather
from homeport.backends.scene.lexicon import MEANINGS, Meaning, Role
from homeport.backends.scene.phrases import Phrases
from homeport.backends.scene.vocabulary import Art, Vocabulary
from homeport.backends.scene.words import Token, is_plural, number, same_form, singular, tokens

_PHRASES = Phrases(MEANINGS)
#: Before a text in quotation marks that is to be written.
_WRITTEN = frozenset(
    "text word words saying says reads reading label labelled labeled caption title letters sign".split()
)
_LONGEST_QUOTE = 60
#: Behind a thing that is not there itself.
_AS_SUCH = frozenset("shaped sized themed flavored flavoured coloured colored patterned".split())
#: They end as adverbs do.
_NO_ADVERBS = frozenset("family lily jelly holly belly bully ally assembly trolley dolly doily".split())


class Mark(NamedTuple):
    """role: `thing` where nothing but a name is there, `word` where nobody knows. text: as it was written. word: of a
    name, in the singular. art: of what is a name, perhaps beside its role (`orange`)."""

    role: Role | Literal["thing", "word"]
    text: str
    value: str | int | None = None
    meaning: Meaning | None = None
    art: Art | None = None
    word: str = ""
    several: bool = False


def marks(prompt: str, vocabulary: Vocabulary) -> list[Mark]:
    """The longest known phrase at each place, from the left."""
    found: list[Mark] = []
    row = tokens(prompt)
    at = 0
    while at < len(row):
        mark, length = _mark(row, at, vocabulary)
        if mark.role == "word" and mark.text.lower().endswith("ing") and len(mark.text) > 5:
            if found and found[-1].art is not None:
                mark = mark._replace(role="verb", value="beside")  # a dragon breathing fire
        if row[at].text == '"' and found and found[-1].text.lower() in _WRITTEN:
            mark, length = _quoted(row, at)
        found.append(mark)
        at += length
    return found


def _quoted(row: Sequence[Token], at: int) -> tuple[Mark, int]:
    """What is to be written somewhere: nothing is."""
    ends = range(at + 1, min(at + _LONGEST_QUOTE, len(row)))
    end = next((one for one in ends if row[one].text == '"'), at)
    return Mark("style", " ".join(token.shown for token in row[at + 1 : end]) or '"'), end - at + 1


def _mark(row: Sequence[Token], at: int, vocabulary: Vocabulary) -> tuple[Mark, int]:
    meant = _PHRASES.longest(row, at)
    named = vocabulary.longest(row, at)
    if meant is not None and meant[0].role == "count" and row[at].text in ("a", "the") and meant[1] > 2:
        later = vocabulary.longest(row, at + 1)
        if later is not None and later[2] >= meant[1]:
            meant = (MEANINGS[row[at].text], 1)  # a bunch of grapes is one thing
    length = max(meant[1] if meant else 0, named[2] if named else 0)
    text = " ".join(token.shown for token in row[at : at + max(length, 1)]).replace(" 's", "'s")
    art, word = None, ""
    several = False
    if named is not None and named[2] == length:
        art, word = named[0], named[1]
        words = " ".join(token.text for token in row[at : at + length])
        several = is_plural(words) or same_form(words)
    if meant is not None and meant[1] == length:
        meaning = meant[0]
        return Mark(meaning.role, text, meaning.value, meaning, art, word, several), length
    if art is not None:
        return Mark("thing", text, None, None, art, word, several), length
    return _unknown(row[at], vocabulary), 1


def _unknown(token: Token, vocabulary: Vocabulary) -> Mark:
    text = token.text
    if (count := number(text)) is not None:
        return Mark("count", token.shown, count)
    if not any(one.isalnum() for one in text):
        drawn = vocabulary.characters.get(text)
        if drawn is not None:
            return Mark("thing", token.shown, None, None, drawn, drawn.name.replace("-", " "))
        return Mark("comma" if text in "-|*•" else "skip", token.shown)
    if any(one.isdigit() for one in text):
        return Mark("style", token.shown)
    if text.endswith("ly") and len(text) > 4 and text not in _NO_ADVERBS:
        return Mark("skip", token.shown)
    return Mark("word", token.shown, word=singular(text), several=is_plural(text))


@dataclass(slots=True)
class Named:
    """A thing as it is named, or what is said of one whose name comes later: `a red` in `a red and a blue car`.

    looks: what is not followed, as written. words: the name, of which the last is what it is. ground: that it names
    instead, or stands in. background: it speaks of that.
    """

    determiner: str | None = None
    count: int | None = None
    counted: str = ""
    colours: list[str] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    words: list[Mark] = field(default_factory=list)
    scenery: list[Mark] = field(default_factory=list)
    ground: Ground | None = None
    background: bool = False

    @property
    def told(self) -> bool:
        """It says something, beside `a` or `the`."""
        return bool(self.count or self.colours or self.sizes or self.looks)

    @property
    def of_a_thing(self) -> bool:
        """One of its words is known."""
        return any(mark.role != "word" for mark in self.words)

    @property
    def only_looks(self) -> bool:
        """Nothing but how something is, which need not be what comes next."""
        said = self.determiner or self.count or self.colours or self.sizes or self.words or self.scenery
        return bool(self.looks) and not said and not self.background

    @property
    def head(self) -> Mark:
        return self.words[-1]

    @property
    def text(self) -> str:
        return " ".join(mark.text for mark in self.words)


_ADJECTIVES = ("colour", "size", "look")
_SCENERY = ("ground", "time", "weather")
_NOUNS = ("thing", "word")


def named(row: Sequence[Mark], at: int) -> tuple[Named, int]:
    """What is named from there on, and where it ends: at `at`, where nothing is."""
    found = Named()
    start = at
    while at < len(row):
        mark = row[at]
        after = row[at + 1] if at + 1 < len(row) else None
        if not _takes(found, mark, after, row, at):
            break
        at += 1
        if found.background:
            break
    while at > start and row[at - 1].role in ("comma", "and", "skip", "of") and not found.background:
        at -= 1  # they belong to what comes next
    _without_verb(found)
    return found, at


def _takes(found: Named, mark: Mark, after: Mark | None, row: Sequence[Mark], at: int) -> bool:
    """Whether the mark belongs to the name. It is put into it."""
    role = mark.role
    if role == "verb" and not found.told and not found.determiner and at and row[at - 1].role in _NOUNS:
        return False  # birds fly
    known = role in _NOUNS or (mark.art is not None and _is_name(found, mark, after))
    if known and role in ("style", "skip") and not any(one.role == "thing" for one in row[max(at - 12, 0) : at]):
        known = False  # a picture of ..., but not: a wall, and a picture on it
    if known:
        if found.words and found.words[-1].several and found.words[-1].role == "thing" and role == "thing":
            return False  # cats dogs birds: a list
        if found.words and not (mark.text[0].isalnum() and found.head.text[0].isalnum()):
            return False  # characters that are pictures
        found.words.append(mark)
        return True
    if role == "skip" and mark.text == "'s":
        return _possessed(found, after)
    if role == "measure" and not found.words:
        if found.count is None and is_plural(mark.text.split(" ")[0]):
            found.count = 3
        if found.count is None and after is not None and after.several:
            found.determiner = None  # a bowl of oranges
        return True
    if role == "background":
        found.background = True
        return True
    if mark.text.lower() in _AS_SUCH and found.words and after is not None:
        found.looks.append(f"{found.text} {mark.text}")  # a heart shaped balloon
        found.words.clear()
        return True
    if role in _ADJECTIVES and found.words and not found.of_a_thing:
        found.looks += [word.text for word in found.words]  # a quick brown fox
        found.words.clear()
    if found.words:
        return False
    return _before_name(found, mark, after, row, at)


def _before_name(found: Named, mark: Mark, after: Mark | None, row: Sequence[Mark], at: int) -> bool:
    role = mark.role
    last = row[at - 1].role if at else None
    if role == "determiner":
        if found.determiner is not None or found.colours or found.sizes or found.looks:
            return False
        if found.count is not None and last not in ("of", "measure", "count"):
            return False
        found.determiner = str(mark.value)
    elif role == "count":
        _count(found, mark)
    elif role == "of":
        return found.count is not None and last == "count"
    elif role == "colour":
        found.colours.append(str(mark.value))
    elif role == "size":
        found.sizes.append(cast(Size, mark.value))
    elif role == "look":
        found.looks.append(mark.text)
    elif role == "verb":
        if after is None or after.role not in _NOUNS or not (found.told or found.determiner):
            return False
        found.looks.append(mark.text)
    elif role in _SCENERY:
        if after is None or not (after.role in _NOUNS or (after.art is not None and after.role not in _SCENERY)):
            return False
        found.scenery.append(mark)
    elif role == "comma":
        return last in _ADJECTIVES and after is not None and (after.role in _ADJECTIVES or after.role in _NOUNS)
    elif role == "and":
        return last in _ADJECTIVES and after is not None and after.role in _ADJECTIVES
    elif role == "skip":
        return after is not None and (found.told or found.determiner is not None)
    else:
        return False
    return True


def _is_name(found: Named, mark: Mark, after: Mark | None) -> bool:
    """Of what may be a name or something else: `orange`, `fly`, `mountain`, `toy`."""
    follows = after is not None and (after.role in (*_NOUNS, *_ADJECTIVES, "style") or after.art is not None)
    if mark.role in ("colour", "look", "size"):
        return not follows and not (after is not None and after.role == "background")
    if mark.role == "verb":
        said = bool(found.told or found.determiner)
        return not found.words and (said or after is None or after.role in ("comma", "stop", "and", "or", "with"))
    if mark.role == "ground":
        return not found.words and (found.count or 1) > 1 and not follows
    if mark.role == "weather":
        return False
    return mark.role in ("style", "skip") and bool(found.told or found.determiner) and not follows


def _count(found: Named, mark: Mark) -> None:
    value = int(mark.value or 0)
    if found.count is not None and value in (12, 100, 1000):
        value *= found.count
    elif found.count is not None and found.count in range(20, 100, 10) and value < 10:
        value += found.count
    found.count = value
    found.counted = mark.text
    if mark.meaning is not None and mark.meaning.ground is not None:
        found.ground = mark.meaning.ground


def _possessed(found: Named, after: Mark | None) -> bool:
    """The farmer's hat: whose it is is not shown."""
    if not found.words or after is None or after.role not in (*_NOUNS, "colour", "size", "look"):
        return False
    found.looks.append(found.text + "'s")
    found.words.clear()
    found.determiner = "the"
    return True


def _without_verb(found: Named) -> None:
    """A dog barks, birds migrating: unknown words behind a thing that are no things."""
    while len(found.words) > 1 and found.head.role == "word" and found.words[-2].role == "thing":
        text, before = found.head.text.lower(), found.words[-2]
        if found.head.text[0].isupper() and before.text[0].islower():
            found.looks.append(found.words.pop().text)  # my dog Max
            return
        third = text.endswith("s") and not text.endswith("ss") and not before.several
        if not text.endswith(("ing", "ed")) and not third:
            return
        found.looks.append(found.words.pop().text)


def scenery(mark: Mark) -> tuple[Ground | None, Time | None, Weather | None]:
    """What a mark of these roles says."""
    meaning = mark.meaning
    ground = cast(Ground, mark.value) if mark.role == "ground" else None
    time = cast(Time, mark.value) if mark.role == "time" else meaning.time if meaning else None
    weather = cast(Weather, mark.value) if mark.role == "weather" else meaning.weather if meaning else None
    return ground, time, weather
