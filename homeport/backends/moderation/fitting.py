"""How `heads.json` is made of `sentences.txt`: `python bench/moderations.py --fit`. Nothing is drawn by chance.

Each head is a logistic regression with an L2 penalty, found by Newton's method.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from homeport.backends.moderation import lexicon
from homeport.backends.moderation.categories import CATEGORIES, IMPLIED
from homeport.backends.moderation.heads import Kept, logit, numbers, packed

#: Of the weights' squares, half of it. Between 0.5 and 3 it hardly matters.
PENALTY = 1.0
_STEPS = 40
_SMALL = 1e-8
#: The chance from which on a category is flagged. Chosen on the first half of OpenAI's samples (docs/moderations.md),
#: in steps of 0.1, for few false alarms: of the broad categories, and of those within others, which are rare.
_BROAD, _WITHIN = 0.6, 0.4
FLAGGED_FROM = {category: _WITHIN if IMPLIED[category] else _BROAD for category in CATEGORIES}


class Sentence(NamedTuple):
    text: str
    categories: frozenset[str]


def sentences() -> list[Sentence]:
    """Those of this release, with what their categories imply."""
    found: list[Sentence] = []
    categories: frozenset[str] = frozenset()
    for line in files(__package__).joinpath("sentences.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            named = [name for name in line.strip("[]").split(",") if name]
            categories = frozenset([*named, *(implied for name in named for implied in IMPLIED[name])])
        elif line and not line.startswith("#"):
            found.append(Sentence(line, categories))
    return found


def fitted(given: Sequence[Sentence], vectors: Sequence[bytes], probe: bytes, *, without: slice | None = None) -> Kept:
    """vectors: of the sentences; probe: of heads.PROBE, by the same model. without: numbers that are not looked at."""
    import numpy

    rows = numbers(numpy, [one.text for one in given], vectors)
    if without is not None:
        rows[:, without] = 0
    heads = {}
    for category in CATEGORIES:
        holds = numpy.array([category in one.categories for one in given], float)
        if holds.any():
            heads[category] = packed(_regression(numpy, rows, holds))
    shift = {category: round(-logit(FLAGGED_FROM[category]), 6) for category in heads}
    return Kept(packed(numpy.frombuffer(probe, "<f4")), list(lexicon.names()), heads, shift)


def _regression(numpy: Any, rows: Any, holds: Any) -> Any:
    """A weight for each number; that of the last, the 1, is free."""
    penalty = numpy.eye(rows.shape[1]) * PENALTY
    penalty[-1, -1] = 1e-6
    weights = numpy.zeros(rows.shape[1])
    for _ in range(_STEPS):
        chances = 1 / (1 + numpy.exp(-(rows @ weights)))
        slope = rows.T @ (chances - holds) + penalty @ weights
        curve = (rows * (chances * (1 - chances))[:, None]).T @ rows + penalty
        step = numpy.linalg.solve(curve, slope)
        weights -= step
        if abs(step).max() < _SMALL:
            break
    return weights
