"""`POST /audio/speech` by an engine of this machine: the request checked, the text spoken sentence by sentence, each
encoded and sent before the next is made."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.backends.local import parameters
from homeport.backends.local.encoder import FORMATS, Encoder
from homeport.backends.local.sentences import sentences
from homeport.backends.speaking import SpeakingEngine
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest
from homeport.settings import Audio
from homeport.wire import audio, sse
from homeport.wire.base import decode, empty, unsupported_value

_request = msgspec.json.Decoder(audio.CreateSpeechRequest)
#: Seconds of sound that count as one token, as they do with OpenAI's models that hear and speak.
SECONDS_OF_A_TOKEN = 0.05
#: Bytes of an event's sound. With these a line of base64 is below 64 KiB, the longest that some clients read.
_PIECE = 48_000
#: Characters of a word that an answer shows.
_SHOWN = 40


class LocalSpeech:
    """Speak (capabilities.py) over one engine that speaks."""

    def __init__(self, name: str, engine: SpeakingEngine, settings: Audio) -> None:
        self.name = name
        self._engine = engine

    async def start(self) -> None:
        """Raises ImportError: what encodes is not installed; as its engine."""
        await self._engine.start()
        await asyncio.to_thread(Encoder, "mp3", self._engine.card.rate)  # the first has its library loaded

    async def close(self) -> None:
        await self._engine.close()

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def lines_at_once(self, capability: str) -> int | None:
        """Speech comes in no batch."""
        return None

    async def speak(self, call: Call) -> Answer:
        """As capabilities.Speak. What cannot be said is refused before anything is."""
        request = decode(_request, call.body)
        plan = self._plan(request)
        sound = self._sound(plan, call.model or self.name)
        if request.stream_format == "sse":
            sound = _events(plan, sound)
        return await Answer.begun(sound, stream=True)

    def _plan(self, request: audio.CreateSpeechRequest) -> "_Plan":
        """Raises InvalidRequest."""
        if not request.input:
            raise empty("input", "string")
        parameters.check(request, parameters.SPEECH, self.name)
        card = self._engine.card
        voice = _voice(request.voice, card.voices)
        word = self._engine.unspeakable(request.input)
        if word is not None:
            shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}..."
            raise InvalidRequest(
                f"This model speaks {card.languages} and cannot say '{shown}', which is in the input.",
                param="input",
                code="invalid_value",
            )
        speed = request.speed or 1.0
        return _Plan(
            request.input,
            voice,
            min(max(speed, card.slowest), card.fastest),
            speed,
            request.response_format or "mp3",
        )

    async def _sound(self, plan: "_Plan", model: str) -> AsyncGenerator[Frame, None]:
        """The first frame says what all of it will be charged as."""
        rate = self._engine.card.rate
        encoder = await asyncio.to_thread(Encoder, plan.kind, rate, tempo=plan.speed / plan.own_speed)
        first: Frame | None = Frame(b"", Usage(0, 0, characters=len(plan.text)), model, media=FORMATS[plan.kind].media)
        async with self._engine.speaking(plan.voice, plan.own_speed) as voice:
            for sentence in sentences(plan.text, first=self._engine.card.first):
                samples, tokens = await voice.say(sentence)
                if not len(samples):
                    continue
                plan.count.add(tokens, len(samples) / rate / plan.speed * plan.own_speed)
                data = await asyncio.to_thread(encoder.feed, samples)
                del samples
                if data:
                    yield _with(first, data)
                    first = None
        if not plan.count.seconds:
            raise InvalidRequest(
                "There is nothing in the input that can be said: it has neither a letter nor a number.",
                param="input",
                code="invalid_value",
            )
        yield _with(first, await asyncio.to_thread(encoder.finish))


class _Count:
    """What was read and said so far."""

    def __init__(self) -> None:
        self.tokens = 0
        self.seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        self.tokens += tokens
        self.seconds += seconds

    def shown(self) -> audio.SpeechUsage:
        said = round(self.seconds / SECONDS_OF_A_TOKEN)
        return audio.SpeechUsage(self.tokens, said, self.tokens + said)


@dataclass(frozen=True, slots=True)
class _Plan:
    """voice: as it is heard. own_speed: the engine's share of the speed. count: of what came of it."""

    text: str
    voice: str
    own_speed: float
    speed: float
    kind: str
    count: _Count = field(default_factory=_Count)


def _voice(asked: str | audio.VoiceId, voices: Mapping[str, str]) -> str:
    """As it is heard. Raises InvalidRequest."""
    if isinstance(asked, audio.VoiceId):
        raise InvalidRequest(
            "Voices of your own are not supported by this model. Ask for one of its voices by its name.",
            param="voice",
            code="invalid_value",
        )
    if asked not in voices:
        names = [f"'{name}'" for name in voices]
        raise unsupported_value("voice", asked, f"{', '.join(names[:-1])}, and {names[-1]}")
    return voices[asked]


def _with(first: Frame | None, data: bytes) -> Frame:
    if first is None:
        return Frame(data)
    first.data = data
    return first


async def _events(plan: _Plan, sound: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
    """The same as events."""
    async with aclosing(sound):
        async for frame in sound:
            for begin in range(0, len(frame.data), _PIECE):
                piece = base64.b64encode(frame.data[begin : begin + _PIECE]).decode()
                event = sse.event(msgspec.json.encode(audio.SpeechAudioDeltaEvent(piece)))
                yield Frame(event, frame.usage, frame.model) if begin == 0 else Frame(event)
    yield Frame(sse.event(msgspec.json.encode(audio.SpeechAudioDoneEvent(plan.count.shown()))))
