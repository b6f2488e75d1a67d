"""The seam below OpenAI's audio objects: an engine that writes down what it hears.

An engine (whisper, moonshine) knows windows of samples, and nothing of files, forms or formats of answers: files are
decoded and cut, requests read and answered once, for all engines, in `local/transcriptions.py`.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    import numpy as np

    #: One channel, 16,000 numbers a second, -1 to 1.
    Samples = np.ndarray[Any, np.dtype[np.float32]]

RATE = 16_000
#: Samples that are told together whether they are speech.
FRAME = 512


@dataclass(frozen=True, slots=True)
class HearingCard:
    """What an engine says of its model. languages: that it knows, as codes (ISO 639-1 where there is one), the first
    where it cannot tell. seconds: of a window at most. translates: into English. times: it tells when what was said,
    and by word; else a window is one segment. prompts: it heeds a prompt and keywords. logprobs: it tells its tokens'.
    """

    languages: Collection[str]
    seconds: float
    translates: bool = False
    times: bool = False
    prompts: bool = False
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """How to listen; what the card does not promise is not asked for.

    languages: one of these is spoken; none: the engine finds out, once for a file. prompt: text as if it stood before.
    keywords: to be expected. temperature: 0 is the likeliest text, and what else the engine does to find a good one.
    """

    task: Literal["transcribe", "translate"] = "transcribe"
    languages: tuple[str, ...] = ()
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    temperature: float = 0.0
    words: bool = False
    logprobs: bool = False


class Word(NamedTuple):
    """start, end: seconds."""

    word: str
    start: float
    end: float


class Token(NamedTuple):
    token: str
    logprob: float
    bytes: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """Some of what was said, with the space before it. start, end: seconds from the window's begin. words: None unless
    asked for."""

    start: float
    end: float
    text: str
    tokens: Sequence[int] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    words: Sequence[Word] | None = None
    logprobs: Sequence[Token] = ()


class Passage(NamedTuple):
    """What was heard in a window. language: its code. until: seconds of the window that were heard; the rest is to come
    with the next one. None: all of it."""

    language: str
    segments: Sequence[Segment]
    until: float | None = None


class Listening(Protocol):
    async def hear(self, samples: "Samples", spoken: float, *, last: bool) -> Passage:
        """The file's next window. spoken: seconds of it after which nothing is said. last: all of it is to be heard
        now. Between two windows others have their turn. Cancelling it takes back what has not begun; what has ends by
        itself, within seconds."""
        ...


class HearingEngine(Protocol):
    name: str

    @property
    def card(self) -> HearingCard:
        """Known once it has been started."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        """Files that it listens to, and that wait."""
        ...

    def listening(self, ask: Ask) -> AbstractAsyncContextManager[Listening]:
        """To one file. Waits for a place; raises Unavailable (503) when too many wait already."""
        ...

    def speech(self) -> "Callable[[Samples], Samples]":
        """Of one file: takes its samples in pieces of whole frames, and gives for each frame how likely it is speech, 0
        to 1. Blocks, shortly; safe beside everything else, one thread at a time."""
        ...
