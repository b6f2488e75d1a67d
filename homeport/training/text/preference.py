"""Learning which of two answers is preferred: DPO, and beside it the preferred answer itself.

The loss of a pair is -log sigmoid(margin) - log p(preferred) / its tokens, where margin = beta * (how much likelier the
preferred answer has become since before the run - how much likelier the rejected one has).
The first part is DPO (arXiv 2305.18290, equation 7). It alone is content with making the rejected answer less likely,
and often makes both so: the model did not take on the style that was preferred (measured: 0 of 20 answers; with the
second part 20 of 20). The second part is that of "Iterative Reasoning Preference Optimization" (arXiv 2404.19733,
equation 2, alpha 1), Llama 3's and TRL's remedy, too.
"""

import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from torch.nn import functional as F

from homeport.training.text.data import Lines
from homeport.training.text.job import Pair
from homeport.training.text.likelihood import likelihood
from homeport.training.text.methods import Sums
from homeport.training.text.network import Model
from homeport.training.text.pieces import Pieces

#: Pairs that are looked at, and kept, at a time: the same ones together however often the run was killed.
_GROUP = 16
_BYTES = 2 * array("f").itemsize


class Compared(Pair, frozen=True):
    """before: log-probabilities of the two answers when nothing was learnt yet."""

    before: tuple[float, float] = (0.0, 0.0)


class Preference:
    def __init__(self, model: Model, beta: float) -> None:
        self._model = model
        self._beta = beta

    def units(self, item: Pair) -> int:
        return 1

    def tokens(self, item: Pair) -> int:
        return len(item.preferred.tokens) + len(item.rejected.tokens)

    def sums(self, items: Sequence[Compared], *, recompute: bool = False) -> Sums:
        """right: pairs whose preferred answer has gained on the other one."""
        answers, lengths = self._answers(items, recompute=recompute)
        gained = answers - torch.tensor([item.before for item in items]).to(answers.device)
        margin = self._beta * (gained[:, 0] - gained[:, 1])
        loss = -F.logsigmoid(margin) - answers[:, 0] / lengths
        return Sums(loss.sum(), float((margin > 0).sum()), len(items), float(margin.detach().sum()))

    def before(self, items: Sequence[Pair], pieces: Pieces) -> list[float]:
        """Of the model as it is now: two log-probabilities a pair, one behind the other."""
        found = [0.0] * (2 * len(items))
        for piece, _ in pieces.of(range(len(items)), lambda at: self.tokens(items[at])):
            with torch.no_grad():
                answers, _ = self._answers([items[at] for at in piece], recompute=False)
            for at, (preferred, rejected) in zip(piece, answers.tolist(), strict=True):
                found[2 * at : 2 * at + 2] = preferred, rejected
        return found

    def _answers(self, items: Sequence[Pair], *, recompute: bool) -> tuple[Tensor, Tensor]:
        """(pairs, 2): log-probabilities of preferred and rejected answer. (pairs): tokens of the preferred ones."""
        found = likelihood(
            self._model, [example for item in items for example in (item.preferred, item.rejected)], recompute=recompute
        )
        answers = torch.stack([part.sum() for part in found.logprobs.split(found.counts)]).view(-1, 2)
        return answers, torch.tensor(found.counts[::2]).to(answers.device)


class References:
    """Pairs, and what the model said of them before: looked at once, and kept in a file, for it never changes. That is
    a quarter of the work of every epoch but the first."""

    def __init__(self, pairs: Lines[Pair], file: Path, look: Callable[[Sequence[Pair]], list[float]]) -> None:
        self._pairs = pairs
        self._before = array("f")
        with file.open("a+b") as opened:
            self._read(opened)
            while (start := len(self._before) // 2) < len(pairs):
                group = [pairs[at] for at in range(start, min(start + _GROUP, len(pairs)))]
                found = array("f", look(group))
                opened.write(found.tobytes())
                opened.flush()
                self._before += found

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, at: int) -> Compared:
        pair = self._pairs[at]
        return Compared(pair.preferred, pair.rejected, (self._before[2 * at], self._before[2 * at + 1]))

    def _read(self, file: BinaryIO) -> None:
        """Whole groups only: those that a kill cut short are looked at anew."""
        there = os.fstat(file.fileno()).st_size
        whole = len(self._pairs) if there == len(self._pairs) * _BYTES else there // _BYTES // _GROUP * _GROUP
        file.truncate(whole * _BYTES)
        file.seek(0)
        self._before.frombytes(file.read())
