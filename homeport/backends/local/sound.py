"""A file's sound, in pieces of 16,000 samples a second and one channel, whatever it came as. By PyAV.

A file is what its first bytes say, not what it is called, and only that reader of FFmpeg's is let at it: there are
others that open what a file names.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backends.hearing import RATE
from homeport.errors import InvalidRequest

if TYPE_CHECKING:
    from homeport.backends.hearing import Samples

#: OpenAI's words.
_FORMATS = "['flac', 'm4a', 'mp3', 'mp4', 'mpeg', 'mpga', 'oga', 'ogg', 'wav', 'webm']"
INVALID = f"Invalid file format. Supported formats: {_FORMATS}"
DAMAGED = "The audio file could not be decoded or its format is not supported."
#: Samples a second that a file may have. What is below is no speech, and unpacks to very much of it.
_RATES = range(4_000, 384_001)
#: Seconds of a piece.
_PIECE = 10
#: Samples that are gathered before they are resampled.
_GATHERED = 1 << 14
#: Packets in a row that cannot be decoded, after which nobody goes on.
_MOST_BROKEN = 1_000


class Sound:
    """Of one open file. `open` and `read` block; one thread at a time, and `close` waits for it."""

    def __init__(self, path: Path, *, most_seconds: int) -> None:
        self._path = path
        self._most = most_seconds
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._resampler: Any = None
        self._busy = threading.Lock()
        self._closed = False
        self._broken = 0  # packets
        self._waiting: list[Samples] = []
        #: That were read.
        self.samples = 0

    @property
    def milliseconds(self) -> int:
        return round(self.samples * 1000 / RATE)

    def open(self) -> None:
        """Raises InvalidRequest: no format that is taken, or no sound in it."""
        import av

        with self._path.open("rb") as file:
            name = format_of(file.read(64))
        if name is None:
            raise InvalidRequest(INVALID, param="file")
        with self._busy:
            if self._closed:
                return
            try:
                self._container = av.open(str(self._path), format=name, options=options_of(name))
                streams = self._container.streams.audio
                if not streams:
                    raise InvalidRequest("The file has no sound in it.", param="file", code="invalid_value")
                streams[0].codec_context.thread_count = 1
                self._frames = self._gathered(streams[0])
                self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            except (av.FFmpegError, ValueError):
                raise InvalidRequest(DAMAGED, param="file", code="invalid_value") from None

    def read(self) -> "Samples | None":
        """The next seconds. None: there are no more. Raises InvalidRequest: it is damaged from its begin, or longer
        than is heard."""
        import av
        import numpy

        with self._busy:
            waiting, wanted = self._waiting, _PIECE * RATE
            try:
                while sum(map(len, waiting)) < wanted and (frame := next(self._frames, None)) is not None:
                    self._take(frame)
                if self._resampler is not None and sum(map(len, waiting)) < wanted:
                    self._take(None)
                    self._resampler = None
            except (av.FFmpegError, ValueError):
                raise InvalidRequest(DAMAGED, param="file", code="invalid_value") from None
            if not waiting:
                if not self.samples and self._broken:
                    raise InvalidRequest(DAMAGED, param="file", code="invalid_value")
                return None
            piece: Samples = numpy.concatenate(waiting)
            waiting.clear()
        self.samples += len(piece)
        if self.samples > self._most * RATE:
            raise InvalidRequest(
                f"The audio is longer than {self._most // 60} minutes, the most that is heard here.",
                param="file",
                code="audio_too_long",
            )
        return piece

    def close(self) -> None:
        with self._busy:
            self._closed = True
            self._frames = iter(())
            if self._container is not None:
                self._container.close()
                self._container = None

    def _take(self, frame: Any) -> None:
        """None: the last of what the resampler still has."""
        for resampled in self._resampler.resample(frame):
            self._waiting.append(resampled.to_ndarray().reshape(-1))

    def _gathered(self, stream: Any) -> Iterator[Any]:
        """Frames of some size: those of files are small, and each costs as much as a large one."""
        import av

        gathering = av.AudioFifo()
        for frame in self._decoded(stream):
            gathering.write(frame)
            if gathering.samples >= _GATHERED:
                yield gathering.read()
        if gathering.samples:
            yield gathering.read()

    def _decoded(self, stream: Any) -> Iterator[Any]:
        """Packets that are damaged are passed over, as players do."""
        import av

        in_a_row = 0
        for packet in self._container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._broken += 1
                in_a_row += 1
                if in_a_row > _MOST_BROKEN:
                    return
                continue
            in_a_row = 0
            for frame in frames:
                if frame.sample_rate not in _RATES:
                    raise ValueError("a rate of samples that is no sound's")
                frame.pts = None  # holes in time are not filled, or one would be as long as it says
                yield frame


def format_of(head: bytes) -> str | None:
    """FFmpeg's name of what begins so. None: it is nothing that is heard here."""
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 != 0xF:
        return "mp3"
    return None


_MAGIC = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"ID3", "mp3"),
)


def options_of(name: str) -> dict[str, str]:
    """Nothing but the file itself is opened, and little of it is read to find out what it is."""
    options = {"protocol_whitelist": "file", "probesize": "1000000", "analyzeduration": "5000000"}
    return options | {"enable_drefs": "0", "use_absolute_path": "0"} if name == "mov" else options
