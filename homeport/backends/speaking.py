"""The seam below OpenAI's speech: an engine that says a sentence.

An engine (hibari, kokoro) knows sentences and samples, and nothing of requests, formats or streams: texts are cut into
sentences, requests read and answered once, for all engines, in `local/speech.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    import numpy as np

    #: One channel, -1 to 1, so many numbers a second as the engine's card says.
    Samples = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class SpeakingCard:
    """What an engine says of its model. rate: samples of a second. languages: that it speaks, in words. voices: the
    name that may be asked for -> the voice that is heard; OpenAI's names, and the model's own. slowest, fastest: how
    many times as fast as usual it speaks well by itself; what is asked for beyond is made of that. first: characters
    that are enough of a text's first piece, where the model is slow; None: a sentence comes soon enough."""

    rate: int
    languages: str
    voices: Mapping[str, str]
    slowest: float = 1.0
    fastest: float = 1.0
    first: int | None = None


class Spoken(NamedTuple):
    """samples: none of a sentence that has nothing to be said (`---`). tokens: that the model read."""

    samples: "Samples"
    tokens: int


class Speaking(Protocol):
    async def say(self, sentence: str) -> Spoken:
        """The text's next sentence. Between two sentences others have their turn. Cancelling it takes back what has not
        begun; what has ends by itself, with the sentence."""
        ...


class SpeakingEngine(Protocol):
    name: str

    @property
    def card(self) -> SpeakingCard:
        """Known once it has been started."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """Texts that it speaks, and that wait."""
        ...

    def unspeakable(self, text: str) -> str | None:
        """The first word of it that the model has no sounds for; None where it can say all of it. At once."""
        ...

    def speaking(self, voice: str, speed: float) -> AbstractAsyncContextManager[Speaking]:
        """One text. voice: as it is heard (`card.voices`). speed: from `card.slowest` to `card.fastest`. Waits for a
        place; raises Unavailable (503) when too many wait already."""
        ...
