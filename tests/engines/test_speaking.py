"""Engines that speak, with their weights: what they say is what a recogniser hears."""

import asyncio
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.backends.capabilities import Attached, Call
from homeport.backends.engines.english import MOST, English
from homeport.backends.engines.hibari import Hibari
from homeport.backends.engines.kokoro import Kokoro
from homeport.backends.engines.whisper import Whisper
from homeport.backends.local.encoder import Encoder
from homeport.backends.local.transcriptions import LocalTranscriptions
from homeport.backends.speaking import SpeakingEngine, Spoken
from homeport.settings import Audio
from tests import model_files

np = pytest.importorskip("numpy")
pytest.importorskip("hibari")

TEXT = "The station was old, and every morning a train left for the coast."


def engine(name: str) -> SpeakingEngine:
    return Hibari() if name == "hibari" else Kokoro(model_files.kokoro(), threads=1)


def spoken(
    engine: SpeakingEngine, *sentences: str, voices: Sequence[str] = ("alloy",), speed: float = 1.0
) -> list[Spoken]:
    """By each of the voices."""

    async def run() -> list[Spoken]:
        said = []
        await engine.start()
        try:
            for voice in voices:
                async with engine.speaking(engine.card.voices[voice], speed) as speaking:
                    said += [await speaking.say(one) for one in sentences]
            return said
        finally:
            await engine.close()

    return asyncio.run(run())


def heard(samples: Any, folder: Path) -> str:
    """By Whisper, as a file of a client."""
    encoder = Encoder("wav", 24_000)
    path = folder / "said.wav"
    path.write_bytes(encoder.feed(samples) + encoder.finish())
    ears = LocalTranscriptions("whisper", Whisper(model_files.whisper(), threads=1), Audio())
    file = Attached("file", path.name, path.stat().st_size, "", path)
    fields = {"file": {"filename": path.name, "bytes": file.bytes, "sha256": ""}, "language": "en"}
    call = Call("audio.transcriptions", "req", "whisper", msgspec.json.encode(fields), attached=(file,))

    async def run() -> str:
        await ears.start()
        try:
            answer = await ears.transcribe(call)
            return str(msgspec.json.decode(answer.first.data)["text"])
        finally:
            await ears.close()

    return asyncio.run(run())


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def wrong(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words."""
    same = sum(one.size for one in difflib.SequenceMatcher(a=said, b=heard, autojunk=False).get_matching_blocks())
    return max(len(said), len(heard)) - same


@pytest.mark.parametrize("name", ["hibari", "kokoro"])
def test_what_is_said_is_heard(name: str, tmp_path: Path) -> None:
    speaker = engine(name)
    (said, nothing) = spoken(speaker, TEXT, "---")
    assert (len(nothing.samples), nothing.tokens) == (0, 0)
    assert said.tokens > 50
    assert np.abs(said.samples).max() <= 1
    text = heard(said.samples, tmp_path)
    assert wrong(words(TEXT), words(text)) == 0, text


def test_hibari_says_the_same_alike_and_slower() -> None:
    one, other = spoken(Hibari(), TEXT, TEXT)
    assert np.array_equal(one.samples, other.samples)
    (slow,) = spoken(Hibari(), TEXT, speed=0.5)
    assert len(slow.samples) / len(one.samples) == pytest.approx(2, rel=0.02)


def test_kokoros_voices_differ() -> None:
    american, british, again = spoken(engine("kokoro"), "Hello.", voices=("alloy", "bm_fable", "fable"))
    assert np.array_equal(british.samples, again.samples)
    assert not np.array_equal(american.samples, british.samples)


def test_kokoro_without_its_voices_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to(model_files.kokoro())
    with pytest.raises(ValueError, match=r"there is no af_alloy\.bin"):
        asyncio.run(Kokoro(tmp_path / "model.onnx").start())
    for one in model_files.kokoro().parent.glob("*.bin"):
        (tmp_path / one.name).write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="is no voice of Kokoro"):
        asyncio.run(Kokoro(tmp_path / "model.onnx").start())


@pytest.fixture(scope="module")
def english() -> English:
    return English()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Hello, naïve café in Łódź; Straße, Æsir, ẞ", None),
        ("ｆｕｌｌ ｗｉｄｔｈ, 𝐛𝐨𝐥𝐝, ﬁne", None),
        ("2πr², 5 µm, 5 μm, Δt, π", None),
        ("½ © № € 😀 → —", None),
        ("say Привет twice", "Привет"),
        ("αβγ", "αβγ"),
        ("これ", "これ"),
        ("नमस्ते!", "नमस्ते"),
        ("a ꝃ", "ꝃ"),
    ],
)
def test_letters_that_it_knows(english: English, text: str, word: str | None) -> None:
    assert english.unspeakable(text) == word


@pytest.mark.parametrize("word", ["ẞ", "ḍ", "Ľ", "ｆ", "Ǎ"])
def test_what_is_not_refused_is_no_silence(english: English, word: str) -> None:
    assert english.unspeakable(word) is None
    assert english.phonemes(word)


def test_no_word_is_too_long_and_no_sentence(english: English) -> None:
    long, longer = "krumbel" * 3, "krumbel" * 10
    assert len("".join(english.phonemes(longer))) > 2 * len("".join(english.phonemes(long)))
    passes = english.phonemes("One million, " * 60)
    assert len(passes) > 1
    assert max(map(len, passes)) <= MOST
    assert all(one.endswith(",") for one in passes)


def test_links_are_not_taken_for_sounds(english: English) -> None:
    (read,) = english.phonemes("the [docs](/guide/)")
    assert "guide" not in read
