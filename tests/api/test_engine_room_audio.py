"""Models that hear and speak, lent by another process: the same texts, events, sound, counts and refusals."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.api.rendering import openai_object, status_of
from homeport.backends.capabilities import Answer, Attached, Call, Frame, Usage
from homeport.backends.engine_room import EngineRoom
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady
from homeport.gateway.endpoints import SPEECH, TRANSCRIPTIONS, TRANSLATIONS, Endpoint
from tests.api.test_engine_room import Watched, room, run
from tests.fake_upstream import until

HEARD = Usage(0, 0, milliseconds=2345)
SOUND = bytes(range(256)) * 400
EVENTS = [
    b'data: {"type":"transcript.text.delta","delta":"he"}\n\n',
    b'data: {"type":"transcript.text.done","text":"heard","usage":{"type":"duration","seconds":3}}\n\n',
]


class Audio:
    """Hears and speaks by what it is asked. speaking: how many answers are under way."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heard: list[bytes] = []
        self.speaking = 0

    async def start(self) -> None:
        """At once."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def transcribe(self, call: Call) -> Answer:
        self.calls.append(call)
        self.heard.append(call.attached[0].path.read_bytes())
        asked = msgspec.json.decode(call.body)
        if asked.get("prompt") == "refuse":
            raise InvalidRequest("It cannot be heard.", param="file", code="invalid_value")
        if call.stream:
            first, *rest = [Frame(data) for data in EVENTS]
            first.usage, first.model = Usage(0, 0, milliseconds=1000), "wärs"
            rest[-1].usage = HEARD
            return Answer(first, _each(rest))
        if asked.get("response_format") == "srt":
            return Answer(Frame("1\n…\n".encode(), HEARD, "ears-1", media="text/plain; charset=utf-8"))
        return Answer(Frame('{"text":"gehört"}'.encode(), HEARD, "ears-1"))

    translate = transcribe

    async def speak(self, call: Call) -> Answer:
        self.calls.append(call)
        text = msgspec.json.decode(call.body)["input"]
        return await Answer.begun(self._sound(text), stream=True)

    async def _sound(self, text: str) -> AsyncGenerator[Frame, None]:
        self.speaking += 1
        try:
            yield Frame(SOUND[:100], Usage(0, 0, characters=len(text)), "voice-1", media="audio/ogg")
            if text == "break":
                raise InvalidRequest("too late")
            if text == "wait":
                await asyncio.sleep(60)
            yield Frame(SOUND[100:])
        finally:
            self.speaking -= 1


async def _each(frames: list[Frame]) -> AsyncGenerator[Frame, None]:
    for frame in frames:
        yield frame


@pytest.fixture(scope="module")
def audio() -> Audio:
    return Audio()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, audio: Audio) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("room") / "s"
    with room(path, Watched(), audio=audio):
        yield path


def call_of(endpoint: Endpoint, folder: Path, **fields: Any) -> Call:
    attached: tuple[Attached, ...] = ()
    if endpoint is not SPEECH:
        path = folder / "staged"
        path.write_bytes(SOUND)
        attached = (Attached("file", 'a "naïve"\r\nname.wav', len(SOUND), "0" * 64, path, 2345),)
    body = msgspec.json.encode({"model": "whisper-1", **fields})
    stream = endpoint is SPEECH or bool(fields.get("stream"))
    return Call(endpoint.name, "req_1", "whisper-1", body, stream, model="ears", attached=attached)


async def said(backend: Any, endpoint: Endpoint, call: Call) -> list[Any]:
    try:
        answer = await endpoint.answer(backend, call)
    except HomeportError as error:
        return [status_of(error), openai_object(error)]
    frames = [frame async for frame in answer.frames()]
    first = frames[0]
    counted = [frame.usage for frame in frames if frame.usage]
    return [b"".join([frame.data for frame in frames]), counted[-1:], first.model, first.media]


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (TRANSCRIPTIONS, {}),
        (TRANSCRIPTIONS, {"response_format": "srt"}),
        (TRANSCRIPTIONS, {"stream": True}),
        (TRANSLATIONS, {}),
    ],
    ids=["plain", "subtitles", "stream", "translation"],
)
def test_the_same_is_heard(shared: Path, audio: Audio, tmp_path: Path, endpoint: Endpoint, fields: Any) -> None:
    async def work(seen: EngineRoom) -> None:
        call = call_of(endpoint, tmp_path, **fields)
        here = await said(audio, endpoint, call)
        assert here[1][-1] == HEARD
        assert await said(seen.model("ears", "hearing"), endpoint, call) == here
        assert audio.calls[-1].attached == call.attached
        assert audio.calls[-1].body == call.body
        assert audio.heard[-1] == SOUND

    run(shared, work)


def test_a_refusal_is_the_same(shared: Path, audio: Audio, tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        call = call_of(TRANSCRIPTIONS, tmp_path, prompt="refuse")
        here = await said(audio, TRANSCRIPTIONS, call)
        assert here[0] == 400
        assert await said(seen.model("ears", "hearing"), TRANSCRIPTIONS, call) == here

    run(shared, work)


def test_the_same_is_spoken(shared: Path, audio: Audio, tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        call = call_of(SPEECH, tmp_path, input="hello")
        here = await said(audio, SPEECH, call)
        assert here == [SOUND, [Usage(0, 0, characters=5)], "voice-1", "audio/ogg"]
        assert await said(seen.model("ears", "speaking"), SPEECH, call) == here

    run(shared, work)


def test_sound_that_breaks_off_is_not_whole(shared: Path, tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        answer = await seen.model("ears", "speaking").speak(call_of(SPEECH, tmp_path, input="break"))
        with pytest.raises(ModelNotReady):
            [frame async for frame in answer.frames()]

    run(shared, work)


def test_who_leaves_ends_it(shared: Path, audio: Audio, tmp_path: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        answer = await seen.model("ears", "speaking").speak(call_of(SPEECH, tmp_path, input="wait"))
        assert audio.speaking == 1
        await answer.aclose()

    run(shared, work)
    assert until(lambda: audio.speaking == 0)


def test_what_a_kind_can(shared: Path) -> None:
    async def work(seen: EngineRoom) -> None:
        hearing, speaking = seen.model("ears", "hearing"), seen.model("ears", "speaking")
        assert (hearing.can("transcribe"), hearing.can("translate"), hearing.can("speak")) == (True, True, False)
        assert (speaking.can("speak"), speaking.can("transcribe")) == (True, False)

    run(shared, work)
