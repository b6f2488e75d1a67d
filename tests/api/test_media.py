"""Inference that comes as a form or answers with media: what stands between the client and whoever hears or speaks."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec
import openai
import pytest

from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.errors import InvalidRequest
from tests.api import raw
from tests.api.forms import part, post
from tests.fake_upstream import until
from tests.server import KEY, Running, running

SOUND = b"RIFF" + bytes(range(256)) * 8


class Ears:
    """Tells what it was given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heard: list[bytes] = []

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def transcribe(self, call: Call) -> Answer:
        self.calls.append(call)
        self.heard.append(call.attached[0].path.read_bytes())
        body = msgspec.json.decode(call.body)
        if body.get("response_format") == "text":
            return Answer(Frame(b"heard\n", Usage(0, 0, milliseconds=2500), "ears", media="text/plain; charset=utf-8"))
        if call.stream:
            return await Answer.begun(self._events(), stream=True)
        return Answer(Frame(msgspec.json.encode({"text": "heard"}), Usage(0, 0, milliseconds=2500), "ears"))

    async def _events(self) -> AsyncGenerator[Frame, None]:
        usage = Usage(0, 0, milliseconds=2500)
        yield Frame(b'data: {"type":"transcript.text.delta","delta":"he"}\n\n', usage, "ears")
        yield Frame(b'data: {"type":"transcript.text.done","text":"heard"}\n\n')

    async def speak(self, call: Call) -> Answer:
        self.calls.append(call)
        return await Answer.begun(self._sound(msgspec.json.decode(call.body)["input"]), stream=True)

    async def _sound(self, text: str) -> AsyncGenerator[Frame, None]:
        if text == "!":
            raise InvalidRequest("It cannot be spoken.", param="input")
        yield Frame(SOUND[:100], Usage(0, 0, characters=len(text)), "voice", media="audio/mpeg")
        if text == "cut":
            raise InvalidRequest("too late")
        yield Frame(SOUND[100:])


@pytest.fixture(scope="module")
def ears() -> Ears:
    return Ears()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ears: Ears) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("media")) as one:
        held: Any = one.app.held["echo"]
        held._backends = (*held._backends, ears)
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


TRANSCRIPTIONS = "/v1/audio/transcriptions"


def form(
    server: Running, sound: bytes = SOUND, *, path: str = TRANSCRIPTIONS, key: str = KEY, **fields: str
) -> raw.Answer:
    """A double underscore is `[]`."""
    named = [part(f'name="{name.replace("__", "[]")}"', value.encode()) for name, value in fields.items()]
    file = part('name="file"; filename="a.wav"', sound)
    return post(server, [*named, file], path, key=key)


def test_a_form_is_heard_and_charged_by_the_second(server: Running, client: openai.OpenAI, ears: Ears) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="echo",
        file=("naïve name.wav", SOUND),
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        response_format="json",
    )
    assert answer.parse().text == "heard"
    assert ears.heard[-1] == SOUND
    body = msgspec.json.decode(ears.calls[-1].body)
    assert body["temperature"] == 0.2
    assert body["timestamp_granularities"] == ["word", "segment"]
    assert body["file"] == {
        "filename": "naïve name.wav",
        "bytes": len(SOUND),
        "sha256": ears.calls[-1].attached[0].digest,
    }
    until(lambda: not ears.calls[-1].attached[0].path.exists())  # nothing stays on the disk
    receipt = f"/v1/homeport/receipts/{answer.headers['x-request-id']}"
    until(lambda: raw.ask(server, "GET", receipt).status == 200)
    assert raw.ask(server, "GET", receipt).json["usage"]["milliseconds"] == 2500


def test_what_is_no_json_has_its_own_media_type(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="echo", file=("a.wav", SOUND), response_format="text"
    )
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "heard\n"


def test_its_stream_ends_as_openais(server: Running, client: openai.OpenAI) -> None:
    events = client.audio.transcriptions.create(model="echo", file=("a.wav", SOUND), stream=True)
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    answer = form(server, model="echo", stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b"[DONE]" not in answer.body


def test_sound_leaves_as_it_comes(client: openai.OpenAI) -> None:
    answer = client.audio.speech.with_raw_response.create(model="echo", voice="alloy", input="Hello")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content == SOUND


def test_what_cannot_be_spoken_is_an_error_and_what_breaks_is_broken_off(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be spoken"):
        client.audio.speech.create(model="echo", voice="alloy", input="!")
    with pytest.raises(openai.APIConnectionError):
        client.audio.speech.create(model="echo", voice="alloy", input="cut")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "echo", "temperature": "hot"}, "temperature"),
        ({"model": "echo", "temperature": "1.5"}, "temperature"),
        ({"model": "echo", "response_format": "mp3"}, "response_format"),
        ({"model": "echo", "timestamp_granularities__": "hour"}, "timestamp_granularities[0]"),
        ({}, "model"),
    ],
)
def test_a_wrong_field_is_named(server: Running, fields: Any, param: str) -> None:
    answer = form(server, **fields)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_without_a_key_nothing_is_read(server: Running, ears: Ears) -> None:
    before = len(ears.calls)
    assert form(server, model="echo", key="sk-wrong").status == 401
    assert len(ears.calls) == before


def test_a_model_that_does_not_hear_says_so(server: Running) -> None:
    answer = form(server, path="/v1/audio/translations", model="echo")
    assert answer.status == 404
    assert "v1/audio/translations endpoint" in answer.error["message"]


def test_more_than_openai_takes_is_refused(server: Running) -> None:
    answer = form(server, bytes(25 * 2**20 + 1), model="echo")
    assert (answer.status, answer.error["param"]) == (413, "file")
