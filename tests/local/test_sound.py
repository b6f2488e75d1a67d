"""Files become samples: every format that OpenAI takes, and what is none."""

import contextlib
import io
import wave
from pathlib import Path

import numpy as np
import pytest

from homeport.backends.hearing import RATE
from homeport.backends.local.sound import Sound
from homeport.errors import InvalidRequest
from tests import sounds


def read(content: bytes, folder: Path, *, most_seconds: int = 600) -> "tuple[np.ndarray, Sound]":
    path = folder / "sound"
    path.write_bytes(content)
    sound = Sound(path, most_seconds=most_seconds)
    try:
        sound.open()
        pieces = []
        while (piece := sound.read()) is not None:
            assert len(piece) <= 12 * RATE  # whatever the file, a piece is a piece
            pieces.append(piece)
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32), sound
    finally:
        sound.close()


def refused(content: bytes, folder: Path, *, most_seconds: int = 600) -> str:
    with pytest.raises(InvalidRequest) as told:
        read(content, folder, most_seconds=most_seconds)
    assert told.value.param == "file"
    return told.value.message


def loud(samples: "np.ndarray") -> float:
    """The pitch of a tone."""
    spectrum = np.abs(np.fft.rfft(samples[RATE // 2 : RATE]))
    return float(spectrum.argmax()) * 2


@pytest.mark.parametrize("kind", sounds.FORMATS)
def test_every_format(kind: str, tmp_path: Path) -> None:
    samples, sound = read(sounds.encoded(kind, sounds.tone(2.0, 24_000), 24_000), tmp_path)
    assert samples.dtype == np.float32
    assert sound.milliseconds == pytest.approx(2000, abs=120)  # codecs pad
    assert loud(samples) == pytest.approx(300, abs=6)
    assert np.sqrt(np.square(samples[RATE // 2 : RATE]).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_a_piece_at_a_time(tmp_path: Path) -> None:
    samples, sound = read(sounds.encoded("flac", sounds.tone(35.25)), tmp_path)
    assert len(samples) == sound.samples == 35.25 * RATE
    assert sound.milliseconds == 35_250


def test_a_films_sound_is_heard(tmp_path: Path) -> None:
    samples, _ = read(sounds.encoded("mp4", sounds.tone(1.0), 24_000, picture=True), tmp_path)
    assert len(samples) > RATE / 2


def test_stereo_is_one(tmp_path: Path) -> None:
    to = io.BytesIO()
    with wave.open(to, "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.full(2 * 8000, 8192, "<i2").tobytes())
    samples, sound = read(to.getvalue(), tmp_path)
    assert sound.milliseconds == 1000
    assert samples[RATE // 2] == pytest.approx(0.25 * np.sqrt(2), abs=0.01)  # as loud as the two together


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1000,
        b"just text, no sound",
        b"%PDF-1.7\n" + bytes(100),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/passwd\n#EXT-X-ENDLIST\n",  # what opens other files
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\xff\xf1\x50\x80" + bytes(200),
    ],
    ids=["empty", "zeros", "text", "pdf", "playlist", "concat", "adts"],
)
def test_what_is_no_sound(content: bytes, tmp_path: Path) -> None:
    assert refused(content, tmp_path).startswith("Invalid file format. Supported formats: ['flac', 'm4a'")


@pytest.mark.parametrize("kind", ["flac", "mp3", "mp4", "ogg", "wav", "webm", "mpeg"])
def test_what_only_begins_as_one(kind: str, tmp_path: Path) -> None:
    content = sounds.encoded(kind, sounds.tone(1.0, 24_000), 24_000)
    dice = np.random.default_rng(5)
    assert refused(content[:12] + dice.bytes(3000), tmp_path)


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "wav", "webm"])
def test_of_what_is_cut_the_rest_is_heard(kind: str, tmp_path: Path) -> None:
    content = sounds.encoded(kind, sounds.tone(4.0, 24_000), 24_000)
    samples, _ = read(content[: len(content) // 2], tmp_path)
    assert 1 * RATE < len(samples) < 3 * RATE


def test_random_damage_ends_well(tmp_path: Path) -> None:
    """Sound or a refusal, never anything else."""
    dice = np.random.default_rng(11)
    for kind in ("mp3", "ogg", "webm", "flac", "m4a", "mpeg"):
        good = sounds.encoded(kind, sounds.tone(1.0, 24_000), 24_000)
        for _ in range(8):
            content = bytearray(good)
            for at in dice.integers(0, len(content), 20):
                content[at] = int(dice.integers(0, 256))
            with contextlib.suppress(InvalidRequest):
                read(bytes(content), tmp_path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    assert refused(sounds.without_sound(), tmp_path) == "The file has no sound in it."


def test_longer_than_is_heard(tmp_path: Path) -> None:
    content = sounds.encoded("flac", sounds.silence(70, 8000), 8000)
    assert len(content) < 50_000  # a small file may be long
    assert refused(content, tmp_path, most_seconds=60) == (
        "The audio is longer than 1 minutes, the most that is heard here."
    )


@pytest.mark.parametrize("rate", [1, 100, 3_999, 400_000])
def test_a_rate_that_would_unpack_to_anything(rate: int, tmp_path: Path) -> None:
    to = io.BytesIO()
    with wave.open(to, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(200_000))
    assert refused(to.getvalue(), tmp_path) == "The audio file could not be decoded or its format is not supported."


def test_an_empty_one(tmp_path: Path) -> None:
    to = io.BytesIO()
    with wave.open(to, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
    samples, sound = read(to.getvalue(), tmp_path)
    assert (len(samples), sound.milliseconds) == (0, 0)
