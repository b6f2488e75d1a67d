"""The TextEngine of a fine-tuned model: its model's own, with an adapter over it (llama_adapters.py)."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.backends.text import Constraint, ModelCard, Occupancy, Piece, Sampling, TokenLogprob

if TYPE_CHECKING:
    from homeport.backends.engines.llama_cpp import LlamaCpp


class Adapted:
    """Its life, and how much of it is in use, are the engine's."""

    def __init__(self, engine: "LlamaCpp", adapter: Path) -> None:
        self.name = engine.name
        self._engine = engine
        self._adapter = adapter

    @property
    def card(self) -> ModelCard:
        card = self._engine.card
        return replace(card, identity=f"{card.identity}\nadapter {self._adapter.stem}")

    async def start(self) -> None:
        """Its engine's."""

    async def close(self) -> None:
        """Its engine's."""

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        return self._engine.refuses(sampling, constraint)

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        return await self._engine.tokenize(text, special=special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await self._engine.detokenize(tokens)

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        return self._engine.generate(prompt, sampling, constraint, batch=batch, adapter=self._adapter)

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        return await self._engine.score(prompt, top_logprobs, batch=batch, adapter=self._adapter)
