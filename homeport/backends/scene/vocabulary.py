"""What can be drawn, by the words for it: the art's own names, the keywords of emojilib, and our own words.

Names come first, because they are exact; our words correct them; a keyword counts only where it is of one thing alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from homeport.backends.scene.curated import MISLEADING, NOT_A_NAME, OWN
from homeport.backends.scene.words import Token, is_plural, singular

_THINGS = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
_PEOPLE = "People & Body"
_FACES = "Smileys & Emotion"
_SIGNS = "Symbols"
_SKINS = ("light", "medium-light", "medium", "medium-dark", "dark")
#: Of faces: those whose last word is a thing that one may name alone.
_FACE = "face"
#: What is written on signs, and what points: nobody names it as a thing.
_NO_THINGS = ("keycap-", "input-", "japanese-", "backhand-", "index-pointing", "mobile-phone-off", "no-", "two-hearts")
_NO_ENDS = ("-button", "-facing-right", "-oclock", "-thirty", "-blood-type")
#: The thing is named before these words: a teacup without handle.
_AFTER = frozenset("with without in on at of and behind over".split())
_LONGEST_KEYWORD = 30


class Art(NamedTuple):
    """A drawing that a word stands for. name: of the icon. colour: that the word says it has. exact: it is that, and
    not something like it."""

    name: str
    colour: str | None = None
    exact: bool = True


class Vocabulary:
    """words: in the singular, of up to a few words with single spaces -> the drawing.

    It opens no file, and is the same for the same art.
    """

    def __init__(
        self,
        *,
        chars: Mapping[str, str],
        categories: Mapping[str, Sequence[str]],
        keywords: Mapping[str, Sequence[str]],
    ) -> None:
        """chars: code points of a character (`1f600`) -> the icon's name, as the art's `chars.json`. categories: as its
        `metadata.json`: category -> icons' names. keywords: a character -> words for it, as emojilib's."""
        self._category = {name: category for category, names in categories.items() for name in names}
        self._names = frozenset(chars.values())
        self.characters = {
            "".join(chr(int(code, 16)) for code in codes.split("-")): Art(name) for codes, name in chars.items()
        }
        self.words: dict[str, Art] = {}
        self._add(self._own())
        self._add(self._named())
        self._add(self._headed())
        self._add(self._keywords(chars, keywords))
        self._longest: dict[str, int] = {}
        for word in self.words:
            first, length = word.split(" ", 1)[0], word.count(" ") + 1
            self._longest[first] = max(self._longest.get(first, 0), length)

    def find(self, words: str) -> Art | None:
        """Of a word or several, one or many of the thing."""
        return self.words.get(words) or self.words.get(singular(words))

    def longest(self, tokens: Sequence[Token], at: int) -> tuple[Art, str, int] | None:
        """The longest name at that place: its drawing, the word in the singular where there is such a thing, and how
        many tokens it has."""
        most = min(
            self._longest.get(singular(tokens[at].text), self._longest.get(tokens[at].text, 0)), len(tokens) - at
        )
        for length in range(most, 0, -1):
            words = " ".join(token.text for token in tokens[at : at + length])
            one = singular(words)
            if one in self.words:
                return self.words[one], one, length
            if words in self.words:
                return self.words[words], words, length
        return None

    def category(self, name: str) -> str:
        """Of an icon, as the art has it; skins that it has left out are people's."""
        return self._category.get(name, _PEOPLE)

    def is_person(self, name: str) -> bool:
        return self.category(name) == _PEOPLE

    def skin(self, name: str, tone: str) -> str | None:
        """The same person with that skin, where it was drawn."""
        toned = f"{name}-{tone}"
        return toned if toned in self._names else None

    def things(self) -> list[tuple[str, Art]]:
        """What a word that is not here may be near to: names and our words of things, animals and people. No keywords,
        which are too many and too strange."""
        known = (_PEOPLE, *_THINGS)
        found = []
        for word, art in self.words.items():
            named = word == art.name.replace("-", " ") and self._category.get(art.name) in _THINGS
            if art.exact and art.colour is None and (named or word in OWN) and self.category(art.name) in known:
                found.append((word, art))
        return found

    def _add(self, words: Iterator[tuple[str, Art]]) -> None:
        """What is there already stays."""
        for word, art in words:
            self.words.setdefault(word, art)

    def _own(self) -> Iterator[tuple[str, Art]]:
        for word, drawn in OWN.items():
            name, _, colour = drawn.removeprefix("~").partition("/")
            if name in self._names:
                yield word, Art(name, colour or None, not drawn.startswith("~"))

    def _named(self) -> Iterator[tuple[str, Art]]:
        """By the names themselves, and a face of an animal or a person's work by what it is called for short."""
        for name in sorted(self._names):
            if not self._is_thing(name):
                continue
            words = name.replace("-", " ")
            yield words, Art(name)
            if (
                is_plural(words)
                and singular(words) not in self.words
                and singular(words).replace(" ", "-") not in self._names
            ):
                yield singular(words), Art(name)
            first, _, rest = words.partition(" ")
            if self._category.get(name) == _PEOPLE and first in ("man", "woman", "person") and rest:
                yield from self._working(first, rest, name)

    @staticmethod
    def _working(who: str, work: str, name: str) -> Iterator[tuple[str, Art]]:
        """`man-pilot`: a male pilot; `woman-running`: a running woman."""
        called = {"man": ("male", "man"), "woman": ("female", "woman"), "person": ("person",)}[who]
        for one in called:
            yield f"{work} {one}" if work.endswith("ing") else f"{one} {work}", Art(name)
            if work.endswith("ing"):
                yield f"{one} {work}", Art(name)
        words = work.split(" ")
        for before in ("in", "with", "wearing"):
            if words[0] == before and len(words) > 1:
                for one in called:
                    for article in ("a ", "an "):
                        yield f"{one} {before} {article}{' '.join(words[1:])}", Art(name)

    def _headed(self) -> Iterator[tuple[str, Art]]:
        """By the last word of a name, where it is of one thing alone: `wand` of `magic-wand`."""
        heads: dict[str, set[str]] = defaultdict(set)
        for name in self._names:
            if self._is_thing(name) and self._category.get(name) in _THINGS and "-" in name:
                words = name.split("-")
                ends = next((at for at, word in enumerate(words) if word in _AFTER), len(words))
                if ends > 0 and (ends > 1 or ends < len(words)):
                    heads[singular(words[ends - 1])].add(name)
        for head, names in sorted(heads.items()):
            if len(names) == 1 and len(head) > 2 and head not in MISLEADING:
                yield head, Art(min(names))

    def _keywords(self, chars: Mapping[str, str], keywords: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Art]]:
        """Where one thing alone has it, or a thing and its face."""
        found: dict[str, set[str]] = defaultdict(set)
        for character, words in keywords.items():
            name = chars.get("-".join(f"{ord(one):x}" for one in character if one != "\ufe0f"))
            if name is None or not self._is_thing(name) or self._category.get(name) not in _THINGS:
                continue
            for word in words:
                plain = singular(word.lower().replace("_", " ").replace("-", " "))
                if 2 < len(plain) <= _LONGEST_KEYWORD and plain.replace(" ", "").isalpha():
                    found[plain].add(name.removesuffix("-face"))
        for word, names in sorted(found.items()):
            name = min(names)
            if len(names) == 1 and word not in MISLEADING and name in self._names:
                yield word, Art(name)

    def _is_thing(self, name: str) -> bool:
        if name in NOT_A_NAME or name.startswith(_NO_THINGS) or name.endswith(_NO_ENDS):
            return False
        if any(name.endswith(f"-{skin}") and name.removesuffix(f"-{skin}") in self._names for skin in _SKINS):
            return False
        return name in self._category
