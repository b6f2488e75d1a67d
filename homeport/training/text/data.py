"""Examples, and their order: which of them a step is made of."""

import mmap
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from homeport.training.text.ending import Refused
from homeport.training.text.job import Example, Pair

Item = TypeVar("Item", Example, Pair)
Any_co = TypeVar("Any_co", covariant=True)


class Items(Protocol[Any_co]):
    """That are read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int) -> Any_co: ...


class Lines(Generic[Item]):
    """A file's lines, each read anew whenever it is asked for: memory holds where they begin. All of them are looked at
    once, here, so that a run does not end at a line that it comes to after an hour.

    vocabulary: how many tokens the model knows."""

    def __init__(self, file: Path, kind: type[Item], *, vocabulary: int) -> None:
        self._decoder: msgspec.json.Decoder[Item] = msgspec.json.Decoder(kind)
        self._bytes = _mapped(file)
        self._ends = array("Q", [0])
        while (end := self._bytes.find(b"\n", self._ends[-1])) >= 0:
            self._ends.append(end + 1)
        if self._ends[-1] < len(self._bytes):
            self._ends.append(len(self._bytes))
        if not len(self):
            raise Refused(f"{file.name} has no examples.")
        for at in range(len(self)):
            try:
                item = self[at]
                for example in _examples(item):
                    _check(example, vocabulary)
            except ValueError as error:  # msgspec's are of this kind, too
                raise Refused(f"{file.name}, line {at + 1}: {error}.") from None

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: int) -> Item:
        return self._decoder.decode(self._bytes[self._ends[at] : self._ends[at + 1]])


@dataclass(frozen=True)
class Order:
    """Each epoch has every example once, in an order of its own that seed and epoch alone decide: there is no
    generator whose state a run had to keep. Steps and epochs count from 1; the last step of an epoch may be smaller."""

    examples: int
    batch_size: int
    epochs: int
    seed: int

    @property
    def steps_of_an_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_of_an_epoch

    def epoch(self, step: int) -> int:
        return (step - 1) // self.steps_of_an_epoch + 1

    def ends_an_epoch(self, step: int) -> bool:
        return step % self.steps_of_an_epoch == 0

    def batch(self, step: int) -> Sequence[int]:
        start = (step - 1) % self.steps_of_an_epoch * self.batch_size
        return _shuffled(self.examples, self.seed, self.epoch(step))[start : start + self.batch_size]


@lru_cache(maxsize=1)
def _shuffled(examples: int, seed: int, epoch: int) -> Sequence[int]:
    order = array("I", range(examples))
    random.Random(f"{seed} {epoch}").shuffle(order)
    return order


def _mapped(file: Path) -> "mmap.mmap | bytes":
    try:
        with file.open("rb") as opened:
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # nothing in it
        return b""
    except FileNotFoundError:
        raise Refused(f"There is no {file.name}.") from None


def _examples(item: Example | Pair) -> tuple[Example, ...]:
    return (item.preferred, item.rejected) if isinstance(item, Pair) else (item,)


def _check(example: Example, vocabulary: int) -> None:
    before = 1
    for start, end in example.learnt:
        if not before <= start < end <= len(example.tokens):
            raise ValueError("what is to be learnt has to be spans of its tokens, in order, without the first")
        before = end
    if before == 1:
        raise ValueError("nothing of it is to be learnt")
    if not 0 <= min(example.tokens) <= max(example.tokens) < vocabulary:
        raise ValueError(f"the model has {vocabulary} tokens, and it has another one")
