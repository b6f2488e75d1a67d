"""The work of a step, in pieces that fit into memory."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from homeport.training.text.device import out_of_memory
from homeport.training.text.ending import Failed
from homeport.training.text.stopping import Stop

Item = TypeVar("Item")
Found = TypeVar("Found")

_FEWEST_TOKENS = 64


class Pieces:
    """tokens: the most of a piece; becomes less when it turns out to be too much. Before each piece it is looked
    whether the run is to end."""

    def __init__(self, tokens: int, stop: Stop) -> None:
        self.tokens = tokens
        self._stop = stop

    def of(self, items: Sequence[Item], size: Callable[[Item], int]) -> Iterator[tuple[list[Item], bool]]:
        """size: tokens of one. With each piece: whether it is larger than it is to be, so that less of each token
        should be kept."""
        for piece in packed(items, size, self.tokens):
            self._stop.check()
            yield piece, sum(map(size, piece)) > self.tokens

    def fitting(self, what: Callable[[], Found]) -> Found:
        """what: work that can be begun anew. Raises Failed when no piece is small enough."""
        while True:
            try:
                return what()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Out here nothing holds on to what the piece had.
            if self.tokens <= _FEWEST_TOKENS:
                raise Failed(
                    "There is not enough memory to learn from one of the examples: leave out the longest ones, or "
                    "lower `fine_tuning.max_length`."
                )
            self.tokens = max(_FEWEST_TOKENS, self.tokens // 2)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def packed(items: Sequence[Item], size: Callable[[Item], int], most: int) -> list[list[Item]]:
    """Items together as long as they have at most so many tokens; one that has more is alone. The longest come first:
    what does not fit into memory shows at once, and those of one length are neighbours, as Model wants them."""
    found: list[list[Item]] = []
    room = 0
    for item in sorted(items, key=size, reverse=True):
        if size(item) > room:
            found.append([])
            room = most
        found[-1].append(item)
        room -= size(item)
    return found
