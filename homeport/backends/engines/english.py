"""English into phonemes, in the alphabet that Kokoro's models read, by the tables and the small models of hibari."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

#: Phonemes of one pass of a model; what is longer goes through it in pieces.
MOST = 400

#: With the marks that letters of some scripts have.
_WORD = re.compile(r"[^\s!-/:-@\[-`{-~]+")
#: misaki's own notation, which would take the target of a link for its sound: `[docs](/guide/)`.
_LINK = re.compile(r"\](?=\()")
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")


class English:
    """Has weights of its own, of about 60 MB once loaded. For one thread at a time."""

    def __init__(self, *, british: bool = False) -> None:
        from hibari.g2p import G2P

        self._unknown = _Unknown(british=british)
        self._phonemes = G2P(oov=self._unknown, british=british)

    def phonemes(self, sentence: str) -> list[str]:
        """In passes; none where there is nothing to be said."""
        read: str = self._phonemes(_LINK.sub("] ", _plain(sentence)))
        if not any(map(str.isalpha, read)):
            return []
        return list(_passes(read))

    def unspeakable(self, text: str) -> str | None:
        """The first word with letters that are not Latin, or so rare that nothing is known of them. A Greek one among
        others, or alone, is a symbol. From any thread."""
        if text.isascii():
            return None
        for word in _WORD.findall(_plain(text)):
            strange = [one for one in word if one.isalpha() and not self._sayable(one)]
            if strange and not (len(strange) == 1 and _greek(strange[0])):
                return str(word)
        return None

    def _sayable(self, letter: str) -> bool:
        latin = letter.isascii() or letter in "ªºµ" or unicodedata.name(letter, "").startswith("LATIN ")
        return latin and self._unknown.knows(letter)


def _greek(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("GREEK ", "OHM "))


def _plain(text: str) -> str:
    """Letters that are others in disguise (`ｆｕｌｌ ｗｉｄｔｈ`, 𝐛𝐨𝐥𝐝) as those, and accents on their letters."""
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text
    return "".join([unicodedata.normalize("NFKC", one) if one > "\u2000" and one.isalpha() else one for one in text])


def _passes(phonemes: str) -> Iterator[str]:
    """Cut at clauses, else between words, else anywhere."""
    while len(phonemes) > MOST:
        clauses = [one.start() for one in _CLAUSE.finditer(phonemes, 0, MOST)]
        at = clauses[-1] if clauses else phonemes.rfind(" ", 1, MOST)
        at = at if at > 0 else MOST
        yield phonemes[:at]
        phonemes = phonemes[at:].lstrip()
    if phonemes:
        yield phonemes


class _Unknown:
    """Words that no lexicon has. hibari's model for them reads so many letters of a word, and those that it knows; here
    the others are not lost."""

    def __init__(self, *, british: bool) -> None:
        import os

        from hibari.g2p.oov import ASSETS, OOV

        self._read: Any = OOV(os.path.join(ASSETS, "oov_gb.onnx" if british else "oov.onnx"))

    def knows(self, letter: str) -> bool:
        return letter in self._read.cin or all(one in self._read.cin for one in _bare(letter))

    def __call__(self, word: str) -> str | None:
        known = "".join([one if one in self._read.cin else _bare(one) for one in word])
        pieces = [known[at : at + self._read.maxlen] for at in range(0, len(known), self._read.maxlen)]
        return "".join([self._read(piece) or "" for piece in pieces]) or None


def _bare(letter: str) -> str:
    """Without its accents; small, where that does not make it a plain one."""
    bare = "".join([one for one in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(one)])
    return bare if bare.isascii() else bare.lower()
