"""Speech by a model of this machine, whose engine makes tones: formats, speeds, streams, voices, and who waits for
whom. The last of it with hibari, through the settings."""

import base64
import io
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest

from homeport import serving
from homeport.backends.local.speech import LocalSpeech
from homeport.settings import Audio
from tests import voices
from tests.api import raw
from tests.fake_upstream import until
from tests.server import KEY, Running, running

SPEECH = "/v1/audio/speech"
TEXT = "This is the first. And here the second, which is longer. Third!"
#: Its sentences without the spaces between them, in tones.
SECONDS = (len(TEXT) - 2) * voices.OF_A_CHARACTER / voices.RATE
FORMATS = {
    "mp3": ("audio/mpeg", "mp3float", 24_000),
    "opus": ("audio/opus", "opus", 48_000),
    "aac": ("audio/aac", "aac", 24_000),
    "flac": ("audio/flac", "flac", 24_000),
    "wav": ("audio/wav", "pcm_s16le", 24_000),
}
#: Seconds that an encoder may add: a frame or two of its own.
FRAMES = 0.15


@contextmanager
def speaking(folder: Path, mouth: voices.Mouth, settings: dict[str, Any] | None = None) -> Iterator[Running]:
    with running(folder, settings) as server:
        held: Any = server.app.held["echo"]
        held._backends = (*held._backends, LocalSpeech("echo", mouth, Audio()))
        yield server


@pytest.fixture(scope="module")
def mouth() -> voices.Mouth:
    return voices.Mouth()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mouth: voices.Mouth) -> Iterator[Running]:
    with speaking(tmp_path_factory.mktemp("speaking"), mouth) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def body(**fields: Any) -> dict[str, Any]:
    wanted = {"model": "echo", "input": TEXT, "voice": "alloy", **fields}
    return {name: value for name, value in wanted.items() if value is not None}


def asked(server: Running, **fields: Any) -> raw.Answer:
    return raw.ask(server, "POST", SPEECH, body(**fields))


def samples(pcm: bytes) -> Any:
    return np.frombuffer(pcm, "<i2")


def pitch(pcm: bytes) -> float:
    """How often in a second the sound goes up, its begin and end aside."""
    inner = samples(pcm)[2400:-2400]
    return float(((inner[:-1] < 0) & (inner[1:] >= 0)).sum() / len(inner) * voices.RATE)


# Formats


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_what_a_real_decoder_reads(client: openai.OpenAI, kind: Any) -> None:
    answer = client.audio.speech.with_raw_response.create(model="echo", input=TEXT, voice="alloy", response_format=kind)
    media, codec, rate = FORMATS[kind]
    assert answer.headers["content-type"] == media
    with av.open(io.BytesIO(answer.content), "r") as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.channels) == (codec, rate, 1)
        seconds = sum(frame.samples for frame in container.decode(stream)) / rate
    assert SECONDS - 0.01 <= seconds <= SECONDS + FRAMES


def test_mp3_is_what_one_gets_unasked(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(model="echo", input=TEXT, voice="alloy")
    assert answer.response.headers["content-type"] == "audio/mpeg"
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.format.name == "mp3"


def test_pcm_has_every_sample_and_wav_a_header_before_them(server: Running) -> None:
    pcm = asked(server, response_format="pcm")
    assert pcm.headers["content-type"] == "audio/pcm"
    parts = ["This is the first.", "And here the second, which is longer.", "Third!"]
    expected = np.concatenate([voices.tone(len(part)) for part in parts])
    assert len(pcm.body) == 2 * len(expected)
    assert np.abs(samples(pcm.body) / 32768 - expected).max() < 2 / 32768
    wav = asked(server, response_format="wav").body
    assert wav[44:] == pcm.body
    assert (wav[:4], wav[8:16], wav[36:40]) == (b"RIFF", b"WAVEfmt ", b"data")
    assert struct.unpack("<HHIIHH", wav[20:36]) == (1, 1, 24_000, 48_000, 2, 16)
    assert (wav[4:8], wav[40:44]) == (b"\xff" * 4, b"\xff" * 4), "of a length that is not known yet"


def test_an_engine_of_another_rate(tmp_path: Path) -> None:
    with speaking(tmp_path, voices.Mouth(rate=16_000)) as server:
        pcm = asked(server, response_format="pcm").body
    seconds = (len(TEXT) - 2) * voices.OF_A_CHARACTER / 16_000
    assert len(pcm) / 48_000 == pytest.approx(seconds, abs=0.01)
    assert pitch(pcm) == pytest.approx(voices.PITCH, rel=0.02)


# Speed


@pytest.mark.parametrize(
    ("speed", "own"), [(0.25, 0.5), (0.5, 0.5), (0.8, 0.8), (1.0, 1.0), (1.5, 1.5), (2.0, 1.5), (4.0, 1.5)]
)
def test_speed_changes_how_long_it_lasts_and_not_how_high_it_is(
    server: Running, mouth: voices.Mouth, speed: float, own: float
) -> None:
    """own: what the engine does of it itself."""
    pcm = asked(server, response_format="pcm", speed=speed).body
    assert mouth.said[-1].speed == own
    assert len(pcm) / 48_000 == pytest.approx(SECONDS / speed, abs=0.1)
    assert pitch(pcm) == pytest.approx(voices.PITCH, rel=0.03)


# Streams


def test_the_first_bytes_leave_before_the_last_sentence_is_made(
    server: Running, client: openai.OpenAI, mouth: voices.Mouth
) -> None:
    mouth.gate.clear()
    with client.audio.speech.with_streaming_response.create(
        model="echo", input="First this. Then wait. Then more.", voice="alloy", response_format="pcm"
    ) as answer:
        pieces = answer.iter_bytes(1000)
        first = next(pieces)
        assert samples(first).any()
        assert "Then more." not in [one.sentence for one in mouth.said]
        mouth.gate.set()
        whole = first + b"".join(pieces)
    assert len(whole) == 2 * voices.OF_A_CHARACTER * (11 + 10 + 10)


def test_as_events(server: Running) -> None:
    answer = asked(server, response_format="pcm", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b"[DONE]" not in answer.body
    lines = [line.removeprefix("data: ") for line in answer.body.decode().split("\n\n") if line]
    assert max(map(len, lines)) < 65_536
    *deltas, done = [json.loads(line) for line in lines]
    assert {frozenset(one) for one in deltas} == {frozenset({"type", "audio"})}
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    sound = b"".join([base64.b64decode(one["audio"]) for one in deltas])
    assert sound == asked(server, response_format="pcm").body
    heard = round(SECONDS * 20)
    characters = len(TEXT) - 2
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": characters, "output_tokens": heard, "total_tokens": characters + heard},
    }


def test_what_breaks_on_the_way_is_broken_off(server: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        client.audio.speech.create(model="echo", input="fail at once", voice="alloy")
    assert "tongue" not in str(failed.value)
    with pytest.raises(openai.APIConnectionError):
        client.audio.speech.create(model="echo", input="Well. Then fail.", voice="alloy", response_format="pcm")
    events = asked(server, input="Well. Then fail.", response_format="pcm", stream_format="sse").body.decode()
    assert json.loads(events.rstrip().split("\n\n")[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert "speech.audio.done" not in events


# What is refused


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"input": ""}, "input", "empty string"),
        ({"input": "a" * 4097}, "input", "maximum length 4096"),
        ({"input": "Fine. Not жжж at all."}, "input", "speaks Tones and cannot say 'жжж'"),
        ({"input": "... ---\n*"}, "input", "neither a letter nor a number"),
        ({"input": ["Hello"]}, "input", "expected a string"),
        ({"input": None}, "input", "Missing required parameter"),
        ({"voice": None}, "voice", "Missing required parameter"),
        ({"voice": "robot"}, "voice", "Supported values are: 'alloy', 'nova', and 'low'."),
        ({"voice": {"id": "voice_1234"}}, "voice", "Voices of your own"),
        ({"instructions": "Whisper."}, "instructions", "cannot follow instructions"),
        ({"response_format": "ogg"}, "response_format", "'opus'"),
        ({"stream_format": "chunks"}, "stream_format", "'sse'"),
        ({"speed": 0.2}, "speed", "below minimum"),
        ({"speed": 4.5}, "speed", "above maximum"),
        ({"pitch": 2}, None, "Unrecognized request argument supplied: pitch"),
    ],
)
@pytest.mark.parametrize("streamed", ["audio", "sse"])
def test_what_cannot_be_done_is_refused_before_any_byte(
    server: Running, mouth: voices.Mouth, fields: dict[str, Any], param: str | None, message: str, streamed: str
) -> None:
    before = len(mouth.said)
    answer = asked(server, **{"stream_format": streamed, **fields})
    assert answer.status == 400
    assert answer.error["param"] == param
    assert message in answer.error["message"]
    assert all("a" not in one.sentence for one in mouth.said[before:]), "nothing was said"


def test_the_longest_input_is_spoken_and_counted(server: Running) -> None:
    text = "naïve 😀 " * 512
    assert len(text) == 4096
    answer = asked(server, input=text, response_format="opus")
    assert answer.status == 200
    assert receipt(server, answer)["usage"]["characters"] == 4096


def receipt(server: Running, answer: raw.Answer) -> Any:
    path = f"/v1/homeport/receipts/{answer.headers['x-request-id']}"
    assert until(lambda: raw.ask(server, "GET", path).status == 200)
    return raw.ask(server, "GET", path).json


# Who waits for whom


def test_a_short_text_does_not_wait_for_a_long_one(tmp_path: Path) -> None:
    mouth = voices.Mouth()
    mouth.gate.clear()
    with speaking(tmp_path, mouth) as server, ThreadPoolExecutor(2) as pool:
        long = pool.submit(asked, server, input="One wait. Two. Three. Four.", response_format="pcm")
        assert until(lambda: len(mouth.said) == 1)
        short = pool.submit(asked, server, input="Short.", response_format="pcm")
        assert until(lambda: mouth.occupancy()[0].busy == 2)
        assert raw.ask(server).status == 200, "chat answers all the while"
        mouth.gate.set()
        assert (long.result().status, short.result().status) == (200, 200)
    assert [one.sentence for one in mouth.said] == ["One wait.", "Short.", "Two.", "Three.", "Four."]


def test_too_many_that_wait_are_told(tmp_path: Path) -> None:
    mouth = voices.Mouth(parallel=1, queue=1)
    mouth.gate.clear()
    with speaking(tmp_path, mouth) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(asked, server, input="wait")
        assert until(lambda: mouth.occupancy()[0].busy == 1)
        second = pool.submit(asked, server)
        assert until(lambda: mouth.occupancy()[0].waiting == 1)
        answer = asked(server)
        assert (answer.status, answer.error["code"]) == (503, "model_overloaded")
        assert answer.headers["retry-after"]
        mouth.gate.set()
        assert (first.result().status, second.result().status) == (200, 200)


@pytest.mark.parametrize("streamed", ["audio", "sse"])
def test_who_leaves_is_not_spoken_to(tmp_path: Path, streamed: str) -> None:
    """Not one sentence more than the one that has begun."""
    mouth = voices.Mouth()
    mouth.gate.clear()
    with speaking(tmp_path, mouth) as server:
        sent = json.dumps(body(input="One. Two, wait. Three. Four.", stream_format=streamed, response_format="pcm"))
        head = (
            f"POST {SPEECH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        with raw.connect(server) as connection:
            connection.sendall(head.encode() + sent.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            assert until(lambda: len(mouth.said) == 2)
        assert until(lambda: mouth.occupancy()[0].busy == 0), "the place is free again"
        mouth.gate.set()
        assert asked(server, input="Next.").status == 200
    assert [one.sentence for one in mouth.said] == ["One.", "Two, wait.", "Next."]


# The rest of the house


def test_voices_by_openais_names_and_its_own(server: Running, mouth: voices.Mouth) -> None:
    for asked_for, heard in (("alloy", "low"), ("nova", "high"), ("low", "low")):
        assert asked(server, input="Hello.", voice=asked_for).status == 200
        assert mouth.said[-1].voice == heard


def test_azure_style(server: Running) -> None:
    path = "/openai/deployments/echo/audio/speech?api-version=2024-10-21"
    wanted = body(response_format="pcm")
    answer = raw.ask(server, "POST", path, wanted, {"api-key": KEY, "Authorization": None})
    assert (answer.status, answer.body) == (200, asked(server, response_format="pcm").body)


@pytest.fixture(scope="module")
def hibari(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    pytest.importorskip("hibari")
    settings = {
        "models": {"hibari": {"engine": "hibari"}, "kokoro": {}},
        "prices": {"hibari": {"per_million_characters": "15"}},
    }
    with running(tmp_path_factory.mktemp("hibari"), settings) as one:
        yield one


def test_the_default_voice_as_tts_1(hibari: Running) -> None:
    with openai.OpenAI(base_url=hibari.base_url, api_key=KEY, max_retries=0) as client:
        answer = client.audio.speech.with_raw_response.create(model="tts-1", input="Hello there, you.", voice="nova")
        with av.open(io.BytesIO(answer.content), "r") as container:
            seconds = sum(frame.samples for frame in container.decode(audio=0)) / 24_000
        assert 1.0 < seconds < 3.0
        told = receipt(hibari, raw.Answer(200, dict(answer.headers), b""))
        assert (told["model"], told["ran"], told["usage"]["characters"]) == ("tts-1", "hibari", 17)
        (line,) = told["lines"]
        assert (line["quantity"], line["unit"], line["amount"]) == (17, "characters", "0.000255")
        listed: Any = client.models.retrieve("gpt-4o-mini-tts")
        assert (listed.root, set(listed.voices.values())) == ("hibari", {"heart"}), "one voice under all names"
        assert {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova"} < set(listed.voices)


@pytest.mark.parametrize("text", ["Привет", "First English. Then 你好.", "नमस्ते", "שלום"])
def test_what_has_no_latin_letters_is_no_silence(hibari: Running, text: str) -> None:
    answer = asked(hibari, model="tts-1", input=text)
    assert (answer.status, answer.error["param"]) == (400, "input")
    assert f"speaks English and cannot say '{text.split()[-1].rstrip('.')}'" in answer.error["message"]


def test_the_better_voice_has_to_be_pulled(hibari: Running) -> None:
    answer = asked(hibari, model="tts-1-hd")
    assert answer.status == 503
    assert "homeport pull kokoro" in answer.error["message"]
    listed = raw.ask(hibari, "GET", "/v1/models/tts-1-hd").json
    assert (listed["root"], listed["voices"]["fable"]) == ("kokoro", "bm_fable")


def test_the_welcome_asks_no_model_to_chat_that_speaks(hibari: Running, server: Running) -> None:
    assert "Try:" not in serving.welcome("http://here", KEY, None, hibari.app)
    assert '"model": "echo"' in serving.welcome("http://here", KEY, None, server.app)
