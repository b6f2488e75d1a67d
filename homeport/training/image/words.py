"""Captions as token ids, by a tokenizer of CLIP's form whose merges are made of the captions' own words.

CLIP's form (`vocab.json`, `merges.txt`) is what programs that serve diffusion models read already. Here each word that
captions have is one token; any other falls into pieces that the model takes for "a word that I do not know".
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cached_property

#: Tokens of a caption, its two ends included.
LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
_LAST = "</w>"
_PARTS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


class Words:
    """merges: pairs of pieces, in the order in which they are joined."""

    def __init__(self, merges: Sequence[tuple[str, str]], known: Sequence[str]) -> None:
        self.merges = list(merges)
        self.known = list(known)
        self._rank = {pair: at for at, pair in enumerate(self.merges)}
        self._split: dict[str, list[str]] = {}

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Words":
        """A word is given merges until it is one piece. Those of later words come later in order, so they change
        nothing of the words before."""
        words = cls([], sorted({part for text in texts for part in _PARTS.findall(text.lower())}))
        for word in words.known:
            while len(pieces := words._pieces(word)) > 1:
                pair = (pieces[0], pieces[1])
                words._rank[pair] = len(words.merges)
                words.merges.append(pair)
        return words

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        letters = list(_LETTERS.values())
        joined = ["".join(pair) for pair in self.merges]
        tokens = [*letters, *(letter + _LAST for letter in letters), *joined, START, END]
        return {token: at for at, token in enumerate(dict.fromkeys(tokens))}

    @property
    def start(self) -> int:
        return self.vocabulary[START]

    @property
    def end(self) -> int:
        return self.vocabulary[END]

    @cached_property
    def rows(self) -> list[int]:
        """By token id, the row of the embedding: 0 of whatever is no word; the ends have theirs."""
        named = [*(_bytes(word) + _LAST for word in self.known), START, END]
        row = {token: at for at, token in enumerate(named, start=1)}
        return [row.get(token, 0) for token in self.vocabulary]

    def ids(self, caption: str) -> list[int]:
        """LENGTH of them: cut at the end, or filled up with the token for the end, as CLIP does."""
        found = [self.vocabulary[piece] for word in _PARTS.findall(caption.lower()) for piece in self._cached(word)]
        kept = [self.start, *found[: LENGTH - 2]]
        return kept + [self.end] * (LENGTH - len(kept))

    def unknown(self, caption: str) -> list[str]:
        known = set(self.known)
        return [word for word in _PARTS.findall(caption.lower()) if word not in known]

    def _cached(self, word: str) -> list[str]:
        if word not in self._split:
            self._split[word] = self._pieces(word)
        return self._split[word]

    def _pieces(self, word: str) -> list[str]:
        pieces = list(_bytes(word))
        pieces[-1] += _LAST
        while len(pieces) > 1:
            pairs = set(itertools.pairwise(pieces))
            best = min(pairs, key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            pieces = _joined(pieces, best)
        return pieces


def _joined(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    at = 0
    while at < len(pieces):
        if tuple(pieces[at : at + 2]) == pair:
            joined.append("".join(pair))
            at += 2
        else:
            joined.append(pieces[at])
            at += 1
    return joined


def _letters() -> dict[int, str]:
    """GPT-2's letters for bytes, in its order: those that can be seen stand for themselves, the others for the letters
    from 256 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + at) for at, byte in enumerate(unseen)}


_LETTERS = _letters()


def _bytes(word: str) -> str:
    return "".join(_LETTERS[byte] for byte in word.encode())
