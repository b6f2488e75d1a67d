"""Transcriptions and translations by a model of this machine, whose engine makes up what it hears: formats, parameters,
streams, and who waits for whom."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from homeport.backends.hearing import HearingCard
from homeport.backends.local.transcriptions import LocalTranscriptions
from homeport.settings import Audio
from tests import sounds
from tests.api import raw
from tests.api.forms import BOUNDARY, body, part, post, refused
from tests.fake_upstream import until
from tests.server import KEY, Running, running

TRANSCRIPTIONS = "/v1/audio/transcriptions"
#: 2.1 s of sound, 3 s of silence, 1 s of sound.
SOUND = sounds.encoded("wav", np.concatenate([sounds.tone(2.1), sounds.silence(3), sounds.tone(1)]))
TEXT = "3.9 seconds heard."
#: A WAV file of no samples.
EMPTY = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\0\0\0\0"
LONG = sounds.encoded("flac", np.concatenate([sounds.tone(100.0), sounds.silence(1)]))


@contextmanager
def hearing(folder: Path, ears: sounds.Ears, settings: dict[str, Any] | None = None) -> Iterator[Running]:
    with running(folder, settings) as server:
        held: Any = server.app.held["echo"]
        held._backends = (*held._backends, LocalTranscriptions("echo", ears, Audio(max_minutes=90)))
        yield server


@pytest.fixture(scope="module")
def ears() -> sounds.Ears:
    return sounds.Ears()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ears: sounds.Ears) -> Iterator[Running]:
    with hearing(tmp_path_factory.mktemp("hearing"), ears) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def form(sound: bytes = SOUND, **fields: str) -> list[bytes]:
    """A double underscore is a bracket."""
    named = [
        part(f'name="{name.replace("__", "[", 1) + "]" * ("__" in name)}"', value.encode())
        for name, value in fields.items()
    ]
    return [*named, part('name="file"; filename="a.wav"', sound)]


def told(server: Running, sound: bytes = SOUND, path: str = TRANSCRIPTIONS, **fields: str) -> raw.Answer:
    return post(server, form(sound, **{"model": "echo", **fields}), path)


# Formats of answers


def test_what_was_said_and_how_long_it_was(client: openai.OpenAI, server: Running) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(model="echo", file=("a.wav", SOUND))
    assert answer.http_response.json() == {"text": TEXT, "usage": {"type": "duration", "seconds": 7}}
    assert answer.parse().text == TEXT
    receipt = f"/v1/homeport/receipts/{answer.headers['x-request-id']}"
    assert until(lambda: raw.ask(server, "GET", receipt).status == 200)
    assert raw.ask(server, "GET", receipt).json["usage"]["milliseconds"] == 6100


def test_verbosely(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="echo",
        file=("a.wav", SOUND),
        response_format="verbose_json",
        language="fr",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.language, answer.duration, answer.text) == ("french", 6.1, TEXT)
    assert answer.segments is not None
    assert answer.words is not None
    assert [one.text for one in answer.segments] == [" 3.9", " seconds", " heard."]
    assert [one.id for one in answer.segments] == [0, 1, 2]
    assert (answer.segments[0].start, answer.segments[2].end) == pytest.approx((0, 6.1), abs=0.05)
    assert answer.segments[2].start == pytest.approx(2.6 + 2.2, abs=0.15), "the silence is counted"
    assert [one.word for one in answer.words] == ["3.9", "seconds", "heard."]
    assert answer.words[1].start == answer.segments[1].start


def test_of_words_and_segments_those_that_are_asked_for(server: Running) -> None:
    base: Any = {"response_format": "verbose_json"}
    assert {"segments"} == {"segments", "words"} & told(server, **base).json.keys()
    assert {"words"} == {"segments", "words"} & told(server, **base, timestamp_granularities__="word").json.keys()
    plain = told(server, **base, timestamp_granularities__="segment").json
    assert {"segments"} == {"segments", "words"} & plain.keys()
    assert set(plain) == {"task", "language", "duration", "text", "segments", "usage"}
    assert set(plain["segments"][0]) == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }


def test_as_text_and_subtitles(client: openai.OpenAI) -> None:
    def of(kind: Any) -> str:
        answer = client.audio.transcriptions.with_raw_response.create(
            model="echo", file=("a.wav", sounds.encoded("wav", sounds.tone(3))), response_format=kind
        )
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        return answer.text

    assert of("text") == "3.0 seconds heard.\n"
    assert of("srt").startswith(
        "1\n00:00:00,000 --> 00:00:01,003\n3.0\n\n2\n00:00:01,003 --> 00:00:02,005\nseconds\n\n3\n"
    )
    assert of("vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.003\n3.0\n\n00:00:01.003 --> 00:00:02.005\n")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # so says the SDK since its third version
def test_translated(client: openai.OpenAI, server: Running, ears: sounds.Ears) -> None:
    found = told(
        server, path="/v1/audio/translations", response_format="verbose_json", prompt="Well,", temperature="0.3"
    ).json
    assert set(found) == {"task", "language", "duration", "text", "segments"}
    assert (found["task"], found["language"], found["text"]) == ("translate", "english", TEXT)
    assert (ears.asked[-1].task, ears.asked[-1].prompt, ears.asked[-1].temperature) == ("translate", "Well,", 0.3)
    assert client.audio.translations.create(model="echo", file=("a.wav", SOUND)).text == TEXT


def test_every_format_of_files(server: Running) -> None:
    for kind in sounds.FORMATS:
        answer = told(server, sounds.encoded(kind, sounds.tone(2.0, 24_000), 24_000))
        assert answer.status == 200, (kind, answer.body)
        assert answer.json["text"].startswith("2."), kind


# Streams


def test_a_stream(client: openai.OpenAI, server: Running) -> None:
    events = list(client.audio.transcriptions.create(model="echo", file=("a.flac", LONG), stream=True))
    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    done: Any = events[-1]
    assert done.type == "transcript.text.done"
    assert done.text == "".join(event.delta for event in events[:-1])  # type: ignore[union-attr]
    assert done.text == told(server, LONG).json["text"]
    assert done.usage.model_dump(include={"type", "seconds"}) == {"type": "duration", "seconds": 101}


def test_of_silence_a_stream_has_its_end_alone(server: Running) -> None:
    answer = told(server, sounds.encoded("wav", sounds.silence(2)), stream="true")
    assert raw.events(answer.body) == [
        {"type": "transcript.text.done", "text": "", "usage": {"type": "duration", "seconds": 2}}
    ]


def test_log_probabilities(client: openai.OpenAI, server: Running) -> None:
    answer: Any = client.audio.transcriptions.create(
        model="echo", file=("a.wav", SOUND), response_format="json", include=["logprobs"]
    )
    assert "".join(one.token for one in answer.logprobs).strip() == TEXT
    assert (answer.logprobs[1].logprob, bytes(map(int, answer.logprobs[1].bytes))) == (-0.5, b" seconds")
    events = raw.events(told(server, stream="true", include__="logprobs").body)
    assert [one["logprobs"][0]["token"] for one in events[:-1]] == [" 3.9", " seconds", " heard."]
    assert len(events[-1]["logprobs"]) == 3


# Parameters


def test_what_is_asked_for_is_heeded(client: openai.OpenAI, ears: sounds.Ears) -> None:
    more: Any = {"keywords": ["Homeport", "WebVTT"], "languages": ["fr", "de"]}
    client.audio.transcriptions.create(
        model="echo", file=("a.wav", SOUND), prompt="Once", temperature=1.0, chunking_strategy="auto", extra_body=more
    )
    asked = ears.asked[-1]
    assert (asked.languages, asked.keywords, asked.prompt) == (("fr", "de"), ("Homeport", "WebVTT"), "Once")
    assert (asked.temperature, asked.words, asked.logprobs) == (1.0, False, False)


def test_where_windows_end_may_be_told(client: openai.OpenAI, ears: sounds.Ears, server: Running) -> None:
    sound = sounds.encoded("wav", np.concatenate([sounds.tone(1), sounds.silence(0.8), sounds.tone(1)]))
    before = len(ears.heard)
    client.audio.transcriptions.create(
        model="echo",
        file=("a.wav", sound),
        chunking_strategy={
            "type": "server_vad",
            "prefix_padding_ms": 100,
            "silence_duration_ms": 300,
            "threshold": 0.6,
        },
    )
    assert len(ears.heard) == before + 2
    assert told(server, sound, chunking_strategy='{"type":"server_vad"}').status == 200
    assert len(ears.heard) == before + 4
    assert told(server, sound).status == 200
    assert len(ears.heard) == before + 5


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"language": "english"}, "language", "unsupported_language"),
        ({"language": "es"}, "language", "unsupported_language"),
        ({"languages__": "xx"}, "languages", "unsupported_language"),
        ({"language": "en", "languages__": "en"}, "languages", None),
        ({"timestamp_granularities__": "word"}, "timestamp_granularities", None),
        ({"timestamp_granularities__": "segment", "response_format": "srt"}, "timestamp_granularities", None),
        ({"stream": "true", "response_format": "vtt"}, "response_format", None),
        ({"include__": "logprobs", "response_format": "text"}, "include", None),
        ({"include__": "words"}, "include[0]", "invalid_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_parameter"),
        ({"known_speaker_names__": "Ann"}, "known_speaker_names", "unsupported_parameter"),
        ({"known_speaker_references__": "data:,"}, "known_speaker_references", "unsupported_parameter"),
        ({"chunking_strategy": "none"}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy": "{"}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy__type": "client_vad"}, "chunking_strategy.type", "invalid_value"),
        (
            {"chunking_strategy": '{"type":"server_vad","threshold":2}'},
            "chunking_strategy.threshold",
            "decimal_above_max_value",
        ),
        ({"temperature": "2"}, "temperature", "decimal_above_max_value"),
        ({"colour": "blue"}, None, None),
    ],
    ids=lambda one: str(one)[:40] if isinstance(one, dict) else None,
)
def test_what_cannot_be_done_is_refused_before_anything_is_heard(
    server: Running, ears: sounds.Ears, fields: Any, param: str | None, code: str | None
) -> None:
    before = len(ears.asked)
    refused(told(server, **fields), param=param, code=code)
    assert len(ears.asked) == before


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "fr"}, "language"),
        ({"response_format": "srt"}, "response_format"),
        ({"response_format": "verbose_json"}, "response_format"),
        ({"prompt": "Once"}, "prompt"),
        ({"keywords__": "Homeport"}, "keywords"),
        ({"include__": "logprobs"}, "include"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(tmp_path: Path, fields: Any, param: str) -> None:
    with hearing(tmp_path, sounds.Ears(card=HearingCard(("en",), 20.0))) as server:
        answer = told(server, **fields)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert told(server, language="EN", prompt="", temperature="0").json["text"] == TEXT
        answer = told(server, path="/v1/audio/translations")
        assert (answer.status, "v1/audio/translations endpoint" in answer.error["message"]) == (404, True)


# Files


@pytest.mark.parametrize(
    ("sound", "message", "code"),
    [
        (b"garbage that is no sound", "Invalid file format. Supported formats: ['flac',", None),
        (sounds.without_sound(), "The file has no sound in it.", "invalid_value"),
        (EMPTY, "Audio file is too short.", "audio_too_short"),
        (SOUND[:44], "The audio file could not be decoded", "invalid_value"),
        (sounds.encoded("wav", sounds.tone(0.05)), "Audio file is too short.", "audio_too_short"),
    ],
    ids=["garbage", "film", "nothing", "cut", "short"],
)
@pytest.mark.parametrize("stream", ["false", "true"])
def test_files_that_cannot_be_heard(server: Running, sound: bytes, message: str, code: str | None, stream: str) -> None:
    assert refused(told(server, sound, stream=stream), param="file", code=code).startswith(message)


def test_an_hour_of_silence(server: Running, ears: sounds.Ears) -> None:
    """Costs nobody anything but the time to read it; and more than is heard is refused."""
    before = len(ears.heard)
    hour = sounds.encoded("flac", sounds.silence(3600, 8000), 8000)
    answer = told(server, hour, response_format="verbose_json")
    assert answer.status == 200, answer.body
    assert (answer.json["text"], answer.json["duration"], answer.json["segments"]) == ("", 3600.0, [])
    assert answer.json["usage"] == {"type": "duration", "seconds": 3600}
    assert len(ears.heard) == before


def test_more_than_is_heard(tmp_path: Path) -> None:
    with running(tmp_path, {"audio": {"max_minutes": 1}}) as server:
        held: Any = server.app.held["echo"]
        held._backends = (*held._backends, LocalTranscriptions("echo", sounds.Ears(), Audio(max_minutes=1)))
        message = refused(told(server, LONG), param="file", code="audio_too_long")
        assert "longer than 1 minutes" in message


# Who waits for whom


def test_a_short_file_does_not_wait_for_a_long_one(server: Running, ears: sounds.Ears) -> None:
    with ThreadPoolExecutor(2) as pool:
        ears.heard.clear()
        ears.gate.clear()
        long = pool.submit(told, server, LONG)
        assert until(lambda: len(ears.heard) == 1)
        short = pool.submit(told, server)
        assert until(lambda: ears.occupancy()[0].busy == 2)
        assert raw.ask(server).status == 200, "chat answers all the while"
        ears.gate.set()
        assert (long.result().status, short.result().status) == (200, 200)
    place = next(at for at, seconds in enumerate(ears.heard) if seconds == pytest.approx(3.9, abs=0.05))
    assert place < len(ears.heard) - 1, "before the long one's end"


def test_too_many_that_wait_are_told(tmp_path: Path) -> None:
    ears = sounds.Ears(parallel=1, queue=1)
    ears.gate.clear()
    with hearing(tmp_path, ears) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(told, server)
        assert until(lambda: ears.occupancy()[0].busy == 1)
        second = pool.submit(told, server)
        assert until(lambda: ears.occupancy()[0].waiting == 1)
        answer = told(server)
        assert (answer.status, answer.error["code"]) == (503, "model_overloaded")
        assert answer.headers["retry-after"]
        ears.gate.set()
        assert (first.result().status, second.result().status) == (200, 200)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_who_leaves_is_not_listened_to(tmp_path: Path, stream: str) -> None:
    """Not one window more than the one that has begun; and what was heard is charged where something was."""
    ears = sounds.Ears()
    ears.gate.clear()
    with hearing(tmp_path, ears) as server:
        sent = body(form(LONG, model="echo", stream=stream))
        head = (
            f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        with raw.connect(server) as connection:
            connection.sendall(head.encode() + sent)
            assert until(lambda: len(ears.heard) == 1)
        assert until(lambda: ears.occupancy()[0].busy == 0), "the place is free again"
        ears.gate.set()
        assert told(server).json["text"] == TEXT
        assert len(ears.heard) == 2


def test_azure_style(server: Running) -> None:
    path = "/openai/deployments/echo/audio/transcriptions?api-version=2024-10-21"
    answer = raw.ask(
        server,
        "POST",
        path,
        body(form(response_format="text")),
        {"api-key": KEY, "Authorization": None, "Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
    )
    assert (answer.status, answer.body) == (200, f"{TEXT}\n".encode())
