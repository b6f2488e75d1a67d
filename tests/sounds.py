"""Sounds that tests make, in every format that is heard, by real encoders; and an engine that hears without weights."""

import io
import math
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from homeport.backends.engines.turns import Turns
from homeport.backends.hearing import FRAME, RATE, Ask, HearingCard, Listening, Passage, Segment, Token, Word
from homeport.backends.text import Occupancy

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

#: What OpenAI calls a format -> FFmpeg's container and codec.
FORMATS = {
    "flac": ("flac", "flac"),
    "m4a": ("ipod", "aac"),
    "mp3": ("mp3", "libmp3lame"),
    "mp4": ("mp4", "aac"),
    "mpeg": ("mpeg", "mp2"),
    "mpga": ("mp2", "mp2"),
    "oga": ("oga", "libopus"),
    "ogg": ("ogg", "libopus"),
    "vorbis": ("ogg", "vorbis"),
    "wav": ("wav", "pcm_s16le"),
    "webm": ("webm", "libopus"),
}


def tone(seconds: float, rate: int = RATE) -> "Samples":
    at = np.arange(round(seconds * rate), dtype=np.float32)
    wave: Samples = (0.5 * np.sin(at * (2 * math.pi * 300 / rate))).astype(np.float32)
    return wave


def silence(seconds: float, rate: int = RATE) -> "Samples":
    return np.zeros(round(seconds * rate), np.float32)


def encoded(kind: str, samples: "Samples", rate: int = RATE, *, picture: bool = False) -> bytes:
    """As a file of one of FORMATS. picture: a stream of pictures beside it."""
    container, codec = FORMATS[kind]
    to = io.BytesIO()
    at_rate = 48_000 if codec == "libopus" else rate
    with av.open(to, "w", format=container) as output:
        shown = _pictures(output) if picture else None
        layout = "stereo" if codec == "vorbis" else "mono"  # FFmpeg's own encoder knows nothing else
        stream: Any = output.add_stream(codec, rate=at_rate, options={"strict": "experimental"})
        stream.layout = layout
        for packet in shown or ():
            output.mux(packet)
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=at_rate)
        for at in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[None, at : at + 4096], format="flt", layout="mono")
            frame.sample_rate = rate
            for resampled in resampler.resample(frame):
                output.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    return to.getvalue()


def without_sound() -> bytes:
    """A film."""
    to = io.BytesIO()
    with av.open(to, "w", format="mp4") as output:
        for packet in _pictures(output):
            output.mux(packet)
    return to.getvalue()


def _pictures(output: Any) -> list[Any]:
    stream = output.add_stream("mpeg4", rate=5)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    packets: list[Any] = []
    for _ in range(5):
        packets += stream.encode(av.VideoFrame(32, 32, "yuv420p"))
    packets += stream.encode(None)
    return packets


class Ears:
    """HearingEngine. It says how long what it hears is, in three segments: what it can, it can make up. gate: no turn
    ends while it is closed; heard: seconds of each window; asked: of each file."""

    def __init__(self, *, parallel: int = 16, queue: int = 256, card: HearingCard | None = None) -> None:
        self.name = "ears"
        self.card = card or HearingCard(
            ("en", "fr", "de"), 30.0, translates=True, times=True, prompts=True, logprobs=True
        )
        self.gate = threading.Event()
        self.gate.set()
        self.heard: list[float] = []
        self.asked: list[Ask] = []
        self._turns = Turns("ears", places=parallel, queue=queue)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        self.gate.set()
        await self._turns.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return (self._turns.occupancy(),)

    @asynccontextmanager
    async def listening(self, ask: Ask) -> AsyncGenerator[Listening, None]:
        async with self._turns.place():
            self.asked.append(ask)
            yield _File(self, ask)

    def speech(self) -> "Callable[[Samples], Samples]":
        """What is loud is speech."""
        return lambda samples: (np.abs(samples.reshape(-1, FRAME)).max(axis=1, initial=0) > 0.01).astype(np.float32)

    async def hear(self, samples: "Samples", ask: Ask) -> Passage:
        return await self._turns.take(self._hear, samples, ask)

    def _hear(self, samples: "Samples", ask: Ask) -> Passage:
        seconds = len(samples) / RATE
        self.heard.append(seconds)
        assert self.gate.wait(60)
        texts = (f" {seconds:.1f}", " seconds", " heard.")
        segments = [
            Segment(
                seconds * at / 3,
                seconds * (at + 1) / 3,
                text,
                tokens=(at,),
                words=[Word(text, seconds * at / 3, seconds * (at + 1) / 3)] if ask.words else None,
                logprobs=[Token(text, -0.5, text.encode())] if ask.logprobs else (),
            )
            for at, text in enumerate(texts)
        ]
        return Passage(ask.languages[-1] if ask.languages else "en", segments)


class _File:
    def __init__(self, ears: Ears, ask: Ask) -> None:
        self._ears = ears
        self._ask = ask

    async def hear(self, samples: "Samples", spoken: float, *, last: bool) -> Passage:
        return await self._ears.hear(samples, self._ask)
