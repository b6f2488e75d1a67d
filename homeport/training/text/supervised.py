"""Learning to give the answers of examples: the mean of -log p over the tokens of answers, and over no others.

The mean is over all such tokens of a batch, however it is cut into pieces. Means of means would count the tokens of
short answers more, and the more so the smaller the pieces: the mistake that many trainers made with gradient
accumulation until October 2024 (https://huggingface.co/blog/gradient_accumulation).
"""

from collections.abc import Sequence

from homeport.training.text.job import Example
from homeport.training.text.likelihood import likelihood
from homeport.training.text.methods import Sums
from homeport.training.text.network import Model


class Supervised:
    def __init__(self, model: Model) -> None:
        self._model = model

    def units(self, item: Example) -> int:
        return sum(end - start for start, end in item.learnt)

    def tokens(self, item: Example) -> int:
        return len(item.tokens)

    def sums(self, items: Sequence[Example], *, recompute: bool = False) -> Sums:
        found = likelihood(self._model, items, recompute=recompute)
        return Sums(-found.logprobs.sum(), float(found.right.sum()), len(found.logprobs))
