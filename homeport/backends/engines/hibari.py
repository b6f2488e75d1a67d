"""hibari: a small model of English in one voice, more than a hundred times as fast as one listens. Its weights come
with its library."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.engines.english import English
from homeport.backends.engines.turns import Turns
from homeport.backends.speaking import Speaking, SpeakingCard, Spoken
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.speaking import Samples

VOICE = "heart"
#: OpenAI's names; whichever is asked for, there is one to be heard.
VOICES = dict.fromkeys("alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split(), VOICE)
_RATE = 24_000
#: It can be told to speak faster, too, but is not as much faster as it is told.
_SLOWEST = 0.5


class Hibari:
    """SpeakingEngine. path: of other weights of the same form, None for its own. parallel: texts that take turns;
    queue: that may wait for a place; threads: of one sentence."""

    def __init__(
        self, path: Path | None = None, *, parallel: int = 16, threads: int | None = None, queue: int = 256
    ) -> None:
        self.name = "hibari"
        self._path = path
        self._threads = threads or 1
        self._turns = Turns("hibari", places=parallel, queue=queue)
        self._model: Any = None
        self._english: English | None = None
        self._card = SpeakingCard(_RATE, "English", {**VOICES, VOICE: VOICE}, slowest=_SLOWEST)

    @property
    def card(self) -> SpeakingCard:
        return self._card

    async def start(self) -> None:
        """Raises OSError, RuntimeError: the files are not those of such a model."""
        await self._turns.load(self._load)

    async def close(self) -> None:
        await self._turns.close()
        self._model = self._english = None

    def _load(self) -> None:
        import hibari

        self._english = English()
        path = None if self._path is None else str(self._path)
        self._model = hibari.Hibari(voice=VOICE, model=path, threads=self._threads, g2p=False)
        self._say("Hello.", 1.0)  # the first is slow

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def unspeakable(self, text: str) -> str | None:
        assert self._english is not None, "start() has not been awaited"
        return self._english.unspeakable(text)

    @asynccontextmanager
    async def speaking(self, voice: str, speed: float) -> AsyncGenerator[Speaking, None]:
        async with self._turns.place():
            yield _Text(self, speed)

    async def say(self, sentence: str, speed: float) -> Spoken:
        return await self._turns.take(self._say, sentence, speed)

    def _say(self, sentence: str, speed: float) -> Spoken:
        """In the engine's thread. The same sentence sounds the same whenever it is said."""
        import numpy

        assert self._english is not None
        read = [self._model.ids(one) for one in self._english.phonemes(sentence)]
        said: list[Samples] = [self._model.from_ids(ids, speed, numpy.random.default_rng(0)) for ids in read]
        return Spoken(numpy.concatenate(said) if said else numpy.zeros(0, numpy.float32), sum(map(len, read)))


class _Text:
    """Speaking."""

    def __init__(self, engine: Hibari, speed: float) -> None:
        self._engine = engine
        self._speed = speed

    async def say(self, sentence: str) -> Spoken:
        return await self._engine.say(sentence, self._speed)
