"""Heads: a logistic regression for each category, over the numbers of a piece of text.

The numbers are its sentence vector, its words (lexicon.py), and a 1. What is kept in `heads.json` is fitted by
`fitting.py`. A vector of another model means nothing to them: the vector of a probe, which is kept beside them, tells.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from homeport.backends.moderation import lexicon
from homeport.backends.moderation.categories import CATEGORIES

if TYPE_CHECKING:
    pass

#: The vectors are of length 1: so long they are made, for the heads to weigh them as much as words.
LENGTH = 3.0
PROBE = "The quick brown fox jumps over the lazy dog."
#: Cosine of the probe's vector to the one that is kept, from which on it is the same model: other weights of it, of 8
#: bits or 16, come to 0.98.
SAME_MODEL = 0.95
#: A text about children that is sexual is of `sexual/minors`, and others are hardly so. There is no head for it.
_MINORS, _NO_MINORS = 1.0, 0.05

Matrix = "np.ndarray[Any, np.dtype[np.float64]]"


class Kept(msgspec.Struct):
    """probe: its vector; heads: by category, a weight for each number. Both base64 of float32, little-endian. words:
    the names of the lexicon's numbers. shift: added to what a head says, so that 0.5 is where it is flagged."""

    probe: str
    words: list[str]
    heads: dict[str, str]
    shift: dict[str, float]


class Heads:
    def __init__(self, kept: Kept) -> None:
        """Raises ValueError: they are of another lexicon."""
        import numpy

        if kept.words != list(lexicon.names()):
            raise ValueError("heads.json is of another lexicon: fit it again (python bench/moderations.py --fit)")
        self._numpy = numpy
        self.probe = unpacked(numpy, kept.probe)
        self._categories = list(kept.heads)
        self._weights = numpy.stack([unpacked(numpy, kept.heads[category]) for category in self._categories], axis=1)
        self._weights[-1] += [kept.shift[category] for category in self._categories]

    @classmethod
    def read(cls) -> "Heads":
        """Those of this release."""
        raw = files(__package__).joinpath("heads.json").read_bytes()
        return cls(msgspec.json.decode(raw, type=Kept))

    def fit_to(self, probe: bytes) -> bool:
        """Whether they were fitted to the model that made this vector of the probe."""
        vector = self._numpy.frombuffer(probe, "<f4")
        return len(vector) == len(self.probe) and float(vector @ self.probe) >= SAME_MODEL

    def scores(self, texts: Sequence[str], vectors: Sequence[bytes]) -> list[dict[str, float]]:
        """By category, from 0 to 1. vectors: of the texts, of length 1."""
        numpy = self._numpy
        logits = numbers(numpy, texts, vectors) @ self._weights
        chances = 1 / (1 + numpy.exp(-numpy.clip(logits, -30, 30)))
        return [self._whole(text, row) for text, row in zip(texts, chances.tolist(), strict=True)]

    def _whole(self, text: str, chances: Sequence[float]) -> dict[str, float]:
        found = dict(zip(self._categories, chances, strict=True))
        found["sexual/minors"] = found["sexual"] * (_MINORS if lexicon.mentions("minor", text) else _NO_MINORS)
        for category, chance in list(found.items()):
            above, _, within = category.partition("/")
            if within:
                found[above] = max(found[above], chance)  # it is of the whole, too
        return {category: found[category] for category in CATEGORIES}


def numbers(numpy: Any, texts: Sequence[str], vectors: Sequence[bytes]) -> Any:
    """A row a text."""
    rows = numpy.stack([numpy.frombuffer(vector, "<f4") for vector in vectors]).astype(float) * LENGTH
    words = numpy.array([lexicon.numbers(text) for text in texts])
    return numpy.hstack([rows, words, numpy.ones((len(texts), 1))])


def packed(numbers_of: Any) -> str:
    return base64.b64encode(numbers_of.astype("<f4").tobytes()).decode()


def logit(chance: float) -> float:
    return math.log(chance / (1 - chance))


def worst(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of the pieces of one text; of none, nothing."""
    return {category: max((one[category] for one in scores), default=0.0) for category in CATEGORIES}


def unpacked(numpy: Any, text: str) -> Any:
    return numpy.frombuffer(base64.b64decode(text), "<f4").astype(float)
