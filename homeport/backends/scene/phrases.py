"""Known phrases, and the longest of them at a place in a text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from homeport.backends.scene.words import Token

T = TypeVar("T")


class Phrases(Generic[T]):
    """What each phrase means. A phrase is words with single spaces, in lower case."""

    def __init__(self, meanings: Mapping[str, T] | Iterable[tuple[str, T]]) -> None:
        pairs = meanings.items() if isinstance(meanings, Mapping) else meanings
        self._meanings: dict[tuple[str, ...], T] = {}
        self._longest: dict[str, int] = {}
        for phrase, meaning in pairs:
            words = tuple(phrase.split(" "))
            self._meanings.setdefault(words, meaning)
            self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))

    def longest(self, tokens: Sequence[Token], at: int) -> tuple[T, int] | None:
        """The meaning of the longest phrase that begins at `at`, and how many tokens it has."""
        most = min(self._longest.get(tokens[at].text, 0), len(tokens) - at)
        for length in range(most, 0, -1):
            words = tuple(token.text for token in tokens[at : at + length])
            if words in self._meanings:
                return self._meanings[words], length
        return None
