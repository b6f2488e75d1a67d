"""Samples into the formats of speech, piece by piece: what goes in comes out before the next, as far as the format lets
it. Nothing looks back, so it can be sent as it comes."""

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homeport.backends.speaking import Samples

#: Samples of a second in `wav` and `pcm`, as OpenAI has them.
RATE = 24_000
#: Samples of a frame that the encoders are given.
_FRAME = 4096


@dataclass(frozen=True, slots=True)
class Format:
    """media: its type. container, codec: FFmpeg's names, of those that it writes. rate: samples of a second. bits: of a
    second, of what is compressed with loss. muxing, coding: FFmpeg's options."""

    media: str
    container: str = ""
    codec: str = ""
    rate: int = RATE
    bits: int = 0
    muxing: tuple[tuple[str, str], ...] = ()
    coding: tuple[tuple[str, str], ...] = ()


#: `response_format` -> what that is. The media types are those that OpenAI answers with.
FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", bits=96_000, muxing=(("write_xing", "0"), ("id3v2_version", "0"))),
    "opus": Format("audio/opus", "ogg", "libopus", rate=48_000, bits=48_000, muxing=(("page_duration", "20000"),)),
    "aac": Format("audio/aac", "adts", "aac", bits=96_000, coding=(("aac_coder", "fast"),)),
    "flac": Format("audio/flac", "flac", "flac"),
    "wav": Format("audio/wav"),
    "pcm": Format("audio/pcm"),
}
#: Of a length that nobody knows yet: as long as what follows.
_WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", 0xFFFFFFFF
)


class Encoder:
    """Of one sound. For one thread at a time; whatever comes out of it is to be sent in that order."""

    def __init__(self, kind: str, rate: int, *, tempo: float = 1.0) -> None:
        """kind: of FORMATS. rate: of the samples. tempo: how many times as fast it shall be; its pitch stays."""
        import av

        self._format = FORMATS[kind]
        self._rate = rate
        self._tempo = _Tempo(rate, tempo) if tempo != 1.0 else None
        self._written = io.BytesIO()
        self._at = 0
        self._container: Any = None
        if self._format.container:
            options = {"flush_packets": "1", **dict(self._format.muxing)}
            self._container = av.open(_Sink(self._written), "w", format=self._format.container, options=options)
            self._stream: Any = self._container.add_stream(
                self._format.codec, rate=self._format.rate, options=dict(self._format.coding), layout="mono"
            )
            if self._format.bits:
                self._stream.bit_rate = self._format.bits
        else:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self._format.rate)
            if kind == "wav":
                self._written.write(_WAV_HEADER)

    def feed(self, samples: "Samples") -> bytes:
        """What can be sent with them, which may be nothing yet."""
        import av

        for begin in range(0, len(samples), _FRAME):
            piece = samples[None, begin : begin + _FRAME].clip(-1, 1)
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), self._at
            self._at += frame.samples
            for one in self._tempo.feed(frame) if self._tempo else (frame,):
                self._encode(one)
        return self._take()

    def finish(self) -> bytes:
        """What is left."""
        for one in self._tempo.finish() if self._tempo else ():
            self._encode(one)
        self._encode(None)
        if self._container is not None:
            self._container.close()
        return self._take()

    def _encode(self, frame: Any) -> None:
        """None: there will be no more."""
        if self._container is not None:
            self._container.mux(self._stream.encode(frame))
            return
        for one in self._resampler.resample(frame):
            self._written.write(one.to_ndarray().astype("<i2").tobytes())

    def _take(self) -> bytes:
        taken = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return taken


class _Sink:
    """A file that one cannot go back in, so that nothing is left to be filled in later."""

    def __init__(self, to: io.BytesIO) -> None:
        self.write = to.write


class _Tempo:
    """FFmpeg's `atempo`, which does well from half as fast to twice as fast: several of them for more."""

    def __init__(self, rate: int, tempo: float) -> None:
        import av

        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
        filters = [self._graph.add("atempo", f"{one:.6f}") for one in _steps(tempo)]
        self._graph.link_nodes(source, *filters, self._graph.add("abuffersink")).configure()

    def feed(self, frame: Any) -> list[Any]:
        self._graph.push(frame)
        return self._pull()

    def finish(self) -> list[Any]:
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> list[Any]:
        import av

        found: list[Any] = []
        while True:
            try:
                found.append(self._graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return found


def _steps(tempo: float) -> list[float]:
    """Factors from 0.5 to 2."""
    steps: list[float] = []
    while not 0.5 <= tempo <= 2:
        steps.append(2.0 if tempo > 2 else 0.5)
        tempo /= steps[-1]
    return [*steps, tempo]
