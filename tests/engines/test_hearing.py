"""Engines that hear, with their weights, on recordings of speech whose text is known."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeport.backends.engines.kokoro import Kokoro
from homeport.backends.engines.moonshine import Moonshine
from homeport.backends.engines.whisper import Whisper
from homeport.backends.hearing import RATE, Ask, HearingEngine, Passage
from homeport.backends.local.sound import Sound
from homeport.backends.local.windows import Windows
from tests import model_files, sounds

pytest.importorskip("faster_whisper")

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
BECKETT = "ever tried ever failed no matter try again fail again fail better"


def samples(path: Path) -> Any:
    sound = Sound(path, most_seconds=60)
    sound.open()
    try:
        pieces = []
        while (piece := sound.read()) is not None:
            pieces.append(piece)
        return np.concatenate(pieces)
    finally:
        sound.close()


def words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def said(passage: Passage) -> str:
    return words("".join(one.text for one in passage.segments))


def heard(engine: HearingEngine, *asks: Ask, of: Any) -> list[Passage]:
    """Of one sound, asked in several ways at once."""

    async def run() -> list[Passage]:
        async def one(ask: Ask) -> Passage:
            async with engine.listening(ask) as listening:
                return await listening.hear(of, len(of) / RATE, last=True)

        await engine.start()
        try:
            return await asyncio.gather(*map(one, asks))
        finally:
            await engine.close()

    return asyncio.run(run())


def test_whisper() -> None:
    """One model, four files: words and their times; a language that it finds out, among all and among some; and what
    is English already, translated into it."""
    engine = Whisper(model_files.whisper(), threads=1)
    asks = (
        Ask(words=True),
        Ask(languages=("fr", "en"), prompt="JFK speaks: fellow Americans", keywords=("country",)),
        Ask("translate", languages=("en",)),
    )
    timed, guided, translated = heard(engine, *asks, of=samples(model_files.recording("jfk")))
    assert [said(one) for one in (timed, guided, translated)] == [JFK] * 3
    assert [one.language for one in (timed, guided, translated)] == ["en"] * 3
    (segment,) = timed.segments
    assert segment.words is not None
    assert words("".join(one.word for one in segment.words)) == JFK
    country = next(one for one in segment.words if one.word.strip() == "country")
    assert country.start == pytest.approx(5.8, abs=0.4)
    assert segment.end == pytest.approx(10.5, abs=0.7)
    assert -1 < segment.avg_logprob < 0
    assert segment.no_speech_prob < 0.5
    assert segment.compression_ratio > 1
    assert segment.temperature == 0
    assert len(segment.tokens) > 20
    card = engine.card
    assert {"en", "fr", "de", "zh", "jw"} <= set(card.languages)
    assert (card.translates, card.times, card.prompts, card.logprobs) == (True, True, True, False)


def spoken(phonemes: str) -> Any:
    """By a voice that reads English texts, but can make the sounds of other languages. At the rate that is heard."""
    kokoro = Kokoro(model_files.kokoro(), threads=1)

    async def run() -> Any:
        await kokoro.start()
        try:
            ids = [kokoro._tokens[one] for one in phonemes]
            style = kokoro._voices["bm_george"][len(ids)]
            given = {"tokens": np.array([[0, *ids, 0]]), "style": style, "speed": np.array([0.9], np.float32)}
            return kokoro._session.run(None, given)[0].reshape(-1)
        finally:
            await kokoro.close()

    samples = asyncio.run(run())
    at = np.arange(0, len(samples), kokoro.card.rate / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def test_what_is_said_in_spanish_is_translated() -> None:
    spanish = spoken("bwˈenos dˈias. mi amˈiɣo ˈestˈa en lˈa kˈasa kˈon sˈu fˈamˈilja.")
    engine = Whisper(model_files.whisper(), threads=1)
    written, translated = heard(engine, Ask(), Ask("translate"), of=spanish)
    assert (written.language, said(written)) == ("es", "buenos días mi amigo está en la casa con su familia")
    assert translated.language == "es"
    assert set(said(translated).split()) >= {"good", "morning", "my", "friend", "is", "family"}


def test_moonshine() -> None:
    engine = Moonshine(model_files.moonshine(), threads=1)
    plain, varied = heard(engine, Ask(), Ask(temperature=0.1), of=samples(model_files.recording("beckett")))
    assert said(plain) == BECKETT
    assert said(varied).startswith("ever tried")
    (segment,) = plain.segments
    assert "".join(one.token for one in segment.logprobs).strip() == segment.text.strip()
    assert all(one.logprob <= 0 for one in segment.logprobs)
    assert segment.avg_logprob == pytest.approx(sum(one.logprob for one in segment.logprobs) / len(segment.logprobs))
    assert len(segment.tokens) == len(segment.logprobs)


def test_silero_hears_speech_and_nothing_else() -> None:
    """However it is cut; and music is none."""
    engine = Moonshine(model_files.moonshine(), threads=1)
    jfk = samples(model_files.recording("jfk"))
    sound = np.concatenate([sounds.silence(5), jfk, sounds.silence(5), sounds.tone(3), sounds.silence(2)])

    def cut(speech: "Callable[[Any], Any]", piece: int) -> list[tuple[float, float]]:
        windows = Windows(speech, seconds=30.0)
        found = [one for at in range(0, len(sound), piece) for one in windows.feed(sound[at : at + piece])]
        return [(one.at(0), one.end) for one in found + windows.finish()]

    async def run() -> list[list[tuple[float, float]]]:
        await engine.start()
        try:
            return [cut(engine.speech(), piece) for piece in (7 * RATE, 100 * RATE)]
        finally:
            await engine.close()

    in_pieces, at_once = asyncio.run(run())
    assert in_pieces == at_once
    ((begin, end),) = at_once
    assert begin == pytest.approx(5, abs=0.5)
    assert end == pytest.approx(16, abs=0.8)


@pytest.mark.parametrize(("engine", "file"), [(Whisper, "model.bin"), (Moonshine, "encoder_model.onnx")])
def test_files_that_are_none(engine: Any, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"nothing")

    async def run() -> None:
        made = engine(tmp_path / file, threads=1)
        try:
            with pytest.raises(ValueError, match="there is no"):
                await made.start()
        finally:
            await made.close()

    asyncio.run(run())
