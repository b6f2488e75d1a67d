"""An engine that speaks without weights: a sentence is a tone, as long as the sentence is."""

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from homeport.backends.engines.turns import Turns
from homeport.backends.speaking import Speaking, SpeakingCard, Spoken
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.speaking import Samples

RATE = 24_000
#: Samples of a character, and how often in a second the tone goes up and down.
OF_A_CHARACTER, PITCH = 1200, 300


def tone(characters: float, rate: int = RATE) -> "Samples":
    at = np.arange(round(OF_A_CHARACTER * characters), dtype=np.float64)
    return np.asarray(0.5 * np.sin(at * (2 * np.pi * PITCH / rate)), np.float32)


class Said(NamedTuple):
    sentence: str
    voice: str
    speed: float


class Mouth:
    """SpeakingEngine. `ж` it cannot say, and a sentence with `fail` breaks it. gate: a sentence with `wait` is not said
    while it is closed. said: the sentences that were begun. It can speak up to 1.5 times as fast by itself."""

    def __init__(self, *, parallel: int = 16, queue: int = 256, rate: int = RATE) -> None:
        self.name = "mouth"
        self.card = SpeakingCard(
            rate, "Tones", {"alloy": "low", "nova": "high", "low": "low"}, slowest=0.5, fastest=1.5
        )
        self.gate = threading.Event()
        self.gate.set()
        self.said: list[Said] = []
        self._turns = Turns("mouth", places=parallel, queue=queue)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        self.gate.set()
        await self._turns.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    def unspeakable(self, text: str) -> str | None:
        return next((word for word in text.split() if "ж" in word), None)

    @asynccontextmanager
    async def speaking(self, voice: str, speed: float) -> AsyncGenerator[Speaking, None]:
        async with self._turns.place():
            yield _Text(self, voice, speed)

    async def say(self, said: Said) -> Spoken:
        return await self._turns.take(self._say, said)

    def _say(self, said: Said) -> Spoken:
        self.said.append(said)
        if "wait" in said.sentence:
            assert self.gate.wait(60)
        if "fail" in said.sentence:
            raise RuntimeError("the tongue is tied")
        if not any(map(str.isalnum, said.sentence)):
            return Spoken(tone(0), 0)
        return Spoken(tone(len(said.sentence) / said.speed, self.card.rate), len(said.sentence))


class _Text:
    def __init__(self, mouth: Mouth, voice: str, speed: float) -> None:
        self._mouth = mouth
        self._voice = voice
        self._speed = speed

    async def say(self, sentence: str) -> Spoken:
        return await self._mouth.say(Said(sentence, self._voice, self._speed))
