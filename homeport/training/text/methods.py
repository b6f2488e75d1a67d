"""What the methods of learning have in common: a loss that is a sum over the units of a batch, and so may be gathered
piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from homeport.training.text.pieces import Pieces

Item = TypeVar("Item")
Given = TypeVar("Given", contravariant=True)


@dataclass(frozen=True)
class Sums:
    """Over the units (tokens to be learnt, or pairs) of some items; loss: to be learnt from. margin: of `dpo`."""

    loss: Tensor
    right: float
    units: int
    margin: float | None = None


@dataclass(frozen=True)
class Score:
    """Means over a batch's units."""

    loss: float
    accuracy: float
    margin: float | None

    @classmethod
    def of(cls, parts: Sequence[Sums]) -> "Score":
        units = sum(part.units for part in parts)
        margins = [part.margin for part in parts if part.margin is not None]
        return cls(
            sum(float(part.loss.detach()) for part in parts) / units,
            sum(part.right for part in parts) / units,
            sum(margins) / units if margins else None,
        )


class Method(Protocol[Given]):
    """units: that an item counts as. tokens: that it takes up in a piece."""

    def units(self, item: Given) -> int: ...

    def tokens(self, item: Given) -> int: ...

    def sums(self, items: Sequence[Given], *, recompute: bool = False) -> Sums: ...


def learn(method: Method[Item], batch: Sequence[Item], pieces: Pieces) -> Score:
    """What is to be learnt of a batch is in the gradients: of the mean over its units, whatever its pieces are."""
    units = sum(map(method.units, batch))
    found = []
    for piece, recompute in pieces.of(batch, method.tokens):
        sums = method.sums(piece, recompute=recompute)
        (sums.loss / units).backward()
        found.append(replace(sums, loss=sums.loss.detach()))
    return Score.of(found)


def look(method: Method[Item], items: Sequence[Item], pieces: Pieces) -> list[Sums]:
    """Nothing is learnt."""
    with torch.no_grad():
        return [method.sums(piece) for piece, _ in pieces.of(items, method.tokens)]
