"""Names that no word is known for, by the known one whose meaning is nearest.

A model of sentences knows little of single words, and takes those that are written alike for those that mean the same
(`loafer`, `loaf`). So the bar is high, and what is only written alike does not count: docs/images.md has the figures.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from homeport.backends.scene.vocabulary import Art, Vocabulary
from homeport.errors import HomeportError

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, np.dtype[np.float32]]

#: Of one text, of length 1. Raises HomeportError.
Vector = Callable[[str], Awaitable[Sequence[float]]]

#: Cosine from which a word stands for another. tests/backends/scene/nouns.txt: what it was chosen by.
ENOUGH: Final = 0.7
#: Texts that are on their way at once: others have their turn between them.
_AT_ONCE = 32
#: Known words that are looked at before one gives up.
_FIRST = 8
_ALIKE = 3
_ALIKE_IF_SHORT = 2
_SHORT = 4


class Nearest:
    """The vectors of all known words are made when the first unknown one comes, once (about 2 s), and kept (2 MB)."""

    def __init__(self, vocabulary: Vocabulary, vector: Vector) -> None:
        self._things = vocabulary.things()
        self._vector = vector
        self._known: Matrix | None = None
        self._making = asyncio.Lock()

    async def find(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, Art]:
        """wanted: a word -> what it may be compared by, the best first. Those that nothing is near to are not in what
        is returned; none is, where the model cannot be asked."""
        import numpy as np

        texts = list(dict.fromkeys(text for tries in wanted.values() for text in tries))
        try:
            known = await self._words()
            asked = np.array(await self._vectors(texts), dtype=np.float32)
        except HomeportError:
            return {}
        if asked.ndim != 2 or asked.shape[1] != known.shape[1]:
            return {}
        near = dict(zip(texts, asked @ known.T, strict=True))
        found: dict[str, Art] = {}
        for word, tries in wanted.items():
            art = next((art for text in tries if (art := self._best(text, near[text])) is not None), None)
            if art is not None:
                found[word] = art
        return found

    def _best(self, text: str, near: "Matrix") -> Art | None:
        for at in near.argsort()[::-1][:_FIRST]:
            if near[at] < ENOUGH:
                return None
            word, art = self._things[int(at)]
            if not _written_alike(text, word):
                return art
        return None

    async def _words(self) -> "Matrix":
        import numpy as np

        async with self._making:
            if self._known is None:
                self._known = np.array(await self._vectors([word for word, _ in self._things]), dtype=np.float32)
            return self._known

    async def _vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Those of like length together, as the engine does with them."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        made: dict[int, Sequence[float]] = {}
        for start in range(0, len(order), _AT_ONCE):
            part = order[start : start + _AT_ONCE]
            made.update(zip(part, await asyncio.gather(*(self._vector(texts[at]) for at in part)), strict=True))
        return [made[at] for at in range(len(texts))]


def _written_alike(text: str, known: str) -> bool:
    """Letters make them near: a hammock is no hamster, and a soccer player no soccer ball. What ends with the other's
    whole name is of its kind: a werewolf, a rocking chair."""
    *before, head = text.split(" ")
    for theirs in known.split(" "):
        if theirs in before:
            return True
        if head.endswith(theirs):
            continue
        for ours in (*before, head):
            enough = _ALIKE_IF_SHORT if min(len(ours), len(theirs)) <= _SHORT else _ALIKE
            if ours[:enough] == theirs[:enough]:
                return True
    return False
