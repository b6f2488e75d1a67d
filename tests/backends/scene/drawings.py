"""Descriptions as prompts would give them, and where things of a drawing are, by its note and by its pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy

from homeport.backends.scene.art import Art
from homeport.backends.scene.blocks import Piece, piece_of
from homeport.backends.scene.composing import composed
from homeport.backends.scene.description import Description, Group, Note, Related, Relation
from homeport.backends.scene.layout import layout
from homeport.backends.scene.rendering import pixels


def group(art: str, count: int = 1, relation: Relation | None = None, *to: int, **more: Any) -> Group:
    """to: what it is put to."""
    related = Related(relation, to) if relation is not None else None
    return Group(word=art, art=art, count=count, related=related, **more)


def described(*groups: Group, **more: Any) -> Description:
    return Description(groups=groups, **more)


def laid_out(description: Description, art: Art, *, ratio: float = 1.0, seed: int = 1) -> Note:
    placed = layout(description, art, ratio=ratio, seed=seed)
    return Note(seed=seed, ratio=ratio, description=description, placed=placed)


def pieces(note: Note, art: Art) -> list[Piece]:
    """What each thing fills; from the back to the front."""
    return [piece_of(one, art.shape(note.description.groups[one.group].art)) for one in note.placed]


def of_group(note: Note, art: Art, number: int) -> list[Piece]:
    return [piece for piece in pieces(note, art) if piece.group == number]


def drawn(note: Note, art: Art, width: int = 256, *, bare: bool = False) -> "numpy.ndarray[Any, Any]":
    return pixels(composed(note, art, bare=bare), width, round(width * note.ratio))


class Spot(NamedTuple):
    """A connected region, in shares of the width."""

    left: float
    top: float
    right: float
    bottom: float


def spots(mask: "numpy.ndarray[Any, Any]", smallest: int = 12) -> Sequence[Spot]:
    """Regions that hang together, of so many pixels at least; of each row's runs those that touch are joined."""
    height, width = mask.shape
    parents: list[int] = []
    runs: list[tuple[int, int, int, int]] = []

    def root(of: int) -> int:
        while parents[of] != of:
            of = parents[of]
        return of

    before: list[int] = []
    for y in range(height):
        edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([0], mask[y].astype(numpy.int8), [0]))))
        now = []
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            number = len(runs)
            runs.append((y, start, end, number))
            parents.append(number)
            for other in before:
                if runs[other][1] < end and start < runs[other][2]:
                    parents[root(other)] = root(number)
            now.append(number)
        before = now
    found: dict[int, list[tuple[int, int, int, int]]] = {}
    for number, run in enumerate(runs):
        found.setdefault(root(number), []).append(run)
    return [
        Spot(
            min(run[1] for run in its) / width,
            its[0][0] / width,
            max(run[2] for run in its) / width,
            (its[-1][0] + 1) / width,
        )
        for its in found.values()
        if sum(run[2] - run[1] for run in its) >= smallest
    ]
