"""A Moderator of a vector engine: pieces of texts become vectors, and heads score them; the worst piece counts."""

import asyncio
import logging
from collections.abc import Sequence

from homeport.backends.moderation.heads import PROBE, Heads, worst
from homeport.backends.moderation.windows import windows
from homeport.backends.moderator import Scored
from homeport.backends.text import Occupancy
from homeport.backends.vectors import InputTooLong, Vector, VectorEngine
from homeport.errors import InvalidRequest, NotFound

log = logging.getLogger("homeport.moderation")

#: Pieces that go to the engine together. Between them others have their turn.
_AT_ONCE = 64


class Classifier:
    """The engine is somebody else's to start and to close, before and after."""

    def __init__(self, name: str, engine: VectorEngine) -> None:
        """name: of the model, for messages."""
        self._name = name
        self._engine = engine
        self._heads: Heads | None = None

    async def start(self) -> None:
        heads = await asyncio.to_thread(Heads.read)
        (probe,) = await self._engine.embed([PROBE])
        if heads.fit_to(probe.data):
            self._heads = heads
        else:
            log.info("%s makes vectors, and moderates nothing: the heads are of another model", self._name)

    async def close(self) -> None:
        self._heads = None

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    async def scores(self, texts: Sequence[str], *, batch: bool = False) -> list[Scored]:
        """Raises NotFound: the model is one for which there are no heads."""
        if self._heads is None:
            raise NotFound(
                f"The model `{self._name}` makes embeddings, but is none that moderations can be made with. Use "
                "`all-minilm-l6-v2`, or an upstream's.",
                param="model",
            )
        pieces = [list(windows(text)) for text in texts]
        flat = [piece for of_one in pieces for piece in of_one]
        found: list[Scored] = []
        for begin in range(0, len(flat), _AT_ONCE):
            block = flat[begin : begin + _AT_ONCE]
            vectors = await self._vectors(block, batch=batch)
            scores = await asyncio.to_thread(self._heads.scores, block, [vector.data for vector in vectors])
            found.extend(Scored(one, vector.tokens) for one, vector in zip(scores, vectors, strict=True))
        scored = iter(found)
        return [_together([next(scored) for _ in of_one]) for of_one in pieces]

    async def _vectors(self, block: Sequence[str], *, batch: bool) -> list[Vector]:
        try:
            return await self._engine.embed(block, batch=batch)
        except InputTooLong as error:
            raise InvalidRequest(
                f"A piece of the text has {error.tokens} tokens, and this model reads "
                f"{self._engine.card.context_length} at most. The operator can raise `context_length`.",
                param="input",
            ) from None


def _together(pieces: Sequence[Scored]) -> Scored:
    return Scored(worst([piece.scores for piece in pieces]), sum(piece.tokens for piece in pieces))
