"""Several engines over the same weights, the best first: each request goes to the first that can honour it.

The first engine that loads is loaded at the start: the card and the tokens are its own. The others load when the first
request comes that needs them, while everything else goes on; that request waits, a second or so. An engine that cannot
load at the start (an architecture that it does not know, a library that is broken) is left out, and the log says why.

Which engine answers depends on the request alone, so the same request with the same seed meets the same engine;
`identity` names all that may answer. The engines must make the same tokens of the same text: that is theirs to see to.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from homeport.backends import registry
from homeport.backends.text import (
    Adapting,
    Constraint,
    ModelCard,
    Occupancy,
    Piece,
    Sampling,
    TextEngine,
    TokenLogprob,
    cannot_adapt,
)
from homeport.errors import HomeportError, ModelNotReady, SettingsError, UnsupportedParameter

log = logging.getLogger("homeport.backends")


class Preferred:
    """TextEngine over engines, in the order of preference; the last one should be able to honour everything."""

    name = "preferred"

    def __init__(self, engines: Sequence[TextEngine]) -> None:
        self._engines = list(engines)
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._card: ModelCard | None = None

    @property
    def card(self) -> ModelCard:
        if self._card is None:
            raise ModelNotReady("The model is still being loaded. Try again in a few seconds.")
        return self._card

    async def start(self) -> None:
        """Raises what the last engine raised when none can load."""
        while True:
            engine = self._engines[0]
            try:
                await self._loaded(engine)
                break
            except (HomeportError, SettingsError, ImportError) as error:
                await engine.close()
                if len(self._engines) == 1:
                    raise
                del self._engines[0]
                log.warning("%s is not used, but %s: %s", engine.name, self._engines[0].name, error)
        self._card = replace(engine.card, identity=self._identity())

    async def close(self) -> None:
        for engine in self._engines:
            if (loading := self._loading.pop(engine.name, None)) is not None:
                with contextlib.suppress(Exception):
                    await loading
                await engine.close()

    def occupancy(self) -> Sequence[Occupancy]:
        """Of those that are loaded."""
        return [one for engine in self._engines if self._is_loaded(engine) for one in engine.occupancy()]

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        """What the last engine refuses, when all refuse something."""
        return self._for(sampling, constraint).refuses(sampling, constraint)

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        return await self._engines[0].tokenize(text, special=special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await self._engines[0].detokenize(tokens)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        engine = self._for(sampling, constraint)
        await self._loaded(engine)
        async with aclosing(engine.generate(prompt, sampling, constraint, batch=batch)) as pieces:
            async for piece in pieces:
                yield piece

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        for engine in self._engines[:-1]:
            try:
                await self._loaded(engine)
                return await engine.score(prompt, top_logprobs, batch=batch)
            except UnsupportedParameter:
                continue
        await self._loaded(self._engines[-1])
        return await self._engines[-1].score(prompt, top_logprobs, batch=batch)

    async def adapted(self, adapter: Path) -> TextEngine:
        """By the first engine that does it, whatever the request asks for."""
        for engine in self._engines:
            if isinstance(engine, Adapting):
                await self._loaded(engine)
                return await engine.adapted(adapter)
        raise cannot_adapt(self._engines[0].name)

    def _for(self, sampling: Sampling, constraint: Constraint | None) -> TextEngine:
        able = (engine for engine in self._engines if engine.refuses(sampling, constraint) is None)
        return next(able, self._engines[-1])

    def _is_loaded(self, engine: TextEngine) -> bool:
        loading = self._loading.get(engine.name)
        return loading is not None and loading.done() and not loading.cancelled() and loading.exception() is None

    async def _loaded(self, engine: TextEngine) -> None:
        """Wait until it is. Whoever asks first sets it going, and may leave: the others still wait for it."""
        loading = self._loading.get(engine.name)
        if loading is None:
            loading = self._loading[engine.name] = asyncio.get_running_loop().create_task(self._load(engine))
        await asyncio.shield(loading)

    async def _load(self, engine: TextEngine) -> None:
        try:
            await engine.start()
        except BaseException:
            self._loading.pop(engine.name, None)  # the next request tries again
            raise
        log.info("%s is ready", engine.name)

    def _identity(self) -> str:
        first, *others = self._engines
        return "\n".join([first.card.identity, *[f"{engine.name} {_version(engine.name)}" for engine in others]])


def _version(engine: str) -> str:
    """Of an engine that is not loaded: its library's."""
    needs = registry.ENGINES[engine][1] if engine in registry.ENGINES else None
    try:
        return metadata.version(needs) if needs else ""
    except metadata.PackageNotFoundError:
        return ""
