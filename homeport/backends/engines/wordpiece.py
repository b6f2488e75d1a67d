"""BERT's tokenizer, for models without their own library: text into the ids of a WordPiece vocabulary.

Source: Devlin et al. 2018 and the reference implementation of "uncased" models: clean, split CJK, drop accents, lower
case; words at white space and punctuation; then the longest piece of the vocabulary that fits, from the left. What
looks like a special token is text like any other.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

#: A longer word is unknown as a whole.
_LONGEST_WORD = 100
#: Words whose pieces are remembered.
_REMEMBERED = 50_000
_CJK = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)
#: Control, format, private use, surrogates.
_DROPPED = frozenset({"Cc", "Cf", "Co", "Cs"})
_ASCII_WORDS = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class WordPiece:
    """starts: pieces that begin a word, goes_on: those that continue one; both with their ids."""

    def __init__(self, starts: Mapping[str, int], goes_on: Mapping[str, int], special: Mapping[str, int]) -> None:
        """special: ids of `[CLS]`, `[SEP]`, `[UNK]` and `[PAD]`. Raises KeyError without one of them."""
        self.first, self.last = special["[CLS]"], special["[SEP]"]
        self.unknown, self.padding = special["[UNK]"], special["[PAD]"]
        self.size = 1 + max(max(ids.values(), default=0) for ids in (starts, goes_on, special))
        self._starts = starts
        self._goes_on = goes_on
        self._words: dict[str, tuple[int, ...]] = {}

    @classmethod
    def read(cls, file: Path) -> "WordPiece":
        """`vocab.txt`: a piece a line, those that continue a word behind `##`; or a JSON list of pieces, those that
        begin one behind U+2581. Raises OSError, ValueError, KeyError."""
        text = file.read_text("utf-8")
        if file.suffix == ".json":
            pieces = json.loads(text)
            begins = {place: piece[1:] for place, piece in enumerate(pieces) if piece[:1] == "\u2581"}
            continues = {place: piece for place, piece in enumerate(pieces) if piece[:1] != "\u2581"}
        else:
            pieces = text.split("\n")
            pieces = pieces[:-1] if pieces[-1] == "" else pieces
            begins = {place: piece for place, piece in enumerate(pieces) if piece[:2] != "##"}
            continues = {place: piece[2:] for place, piece in enumerate(pieces) if piece[:2] == "##"}
        special = {piece: place for place, piece in enumerate(pieces) if re.fullmatch(r"\[[A-Z]+\]", piece)}
        starts = {piece: place for place, piece in begins.items() if piece and piece not in special}
        goes_on = {piece: place for place, piece in continues.items() if piece and piece not in special}
        return cls(starts, goes_on, special)

    def ids(self, text: str) -> list[int]:
        """Without those around it."""
        ids: list[int] = []
        for word in _words(text):
            pieces = self._words.get(word)
            if pieces is None:
                pieces = self._pieces(word)
                if len(self._words) < _REMEMBERED:
                    self._words[word] = pieces
            ids += pieces
        return ids

    def _pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > _LONGEST_WORD:
            return (self.unknown,)
        found: list[int] = []
        at = 0
        while at < len(word):
            known = self._goes_on if at else self._starts
            for end in range(len(word), at, -1):
                piece = known.get(word[at:end])
                if piece is not None:
                    found.append(piece)
                    at = end
                    break
            else:
                return (self.unknown,)
        return tuple(found)


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORDS.findall(_ASCII_UNPRINTABLE.sub("", text).lower())
    words: list[str] = []
    for run in _plain(text).split():
        begun = 0
        for at, char in enumerate(run):
            if _is_punctuation(char):
                words += [run[begun:at], char] if at > begun else [char]
                begun = at + 1
        if begun < len(run):
            words.append(run[begun:])
    return words


def _plain(text: str) -> str:
    clean = "".join(
        [" " if char.isspace() and char not in "\x1c\x1d\x1e\x1f" else char for char in text if _stays(char)]
    )
    split = _CJK.sub(r" \1 ", clean)
    bare = [char for char in unicodedata.normalize("NFD", split) if unicodedata.category(char) != "Mn"]
    return "".join([char.lower() for char in bare])


def _stays(char: str) -> bool:
    return char in "\t\n\r" or (char != "\ufffd" and unicodedata.category(char) not in _DROPPED)


def _is_punctuation(char: str) -> bool:
    """All of ASCII that is neither letter, digit nor space counts as such."""
    return ("!" <= char <= "/" or ":" <= char <= "@" or "[" <= char <= "`" or "{" <= char <= "~") or (
        unicodedata.category(char)[0] == "P"
    )
