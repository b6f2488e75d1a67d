"""`POST /audio/transcriptions` and `/audio/translations` by an engine of this machine: the request checked, the file
heard window by window, what was said as OpenAI writes it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import UNSET

from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.backends.hearing import HearingEngine, Passage, Segment, Token
from homeport.backends.local import subtitles
from homeport.backends.local.hearing_plan import Plan, plan_transcription, plan_translation
from homeport.backends.local.languages import NAMES
from homeport.backends.local.sound import Sound
from homeport.backends.local.windows import Window, Windows
from homeport.backends.text import Occupancy
from homeport.errors import InvalidRequest, NotFound
from homeport.settings import Audio
from homeport.wire import audio, sse

#: Seconds that OpenAI wants at least.
SHORTEST = 0.1
_PLAIN = "text/plain; charset=utf-8"


class LocalTranscriptions:
    """Transcribe and Translate (capabilities.py) over one engine that hears."""

    def __init__(self, name: str, engine: HearingEngine, settings: Audio) -> None:
        self.name = name
        self._engine = engine
        self._most_seconds = settings.max_minutes * 60
        # One for all files: what is read is little, and each thread that reads keeps memory for itself.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reading")

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()
        await asyncio.to_thread(self._reader.shutdown, cancel_futures=True)

    def occupancy(self) -> Sequence[Occupancy]:
        return self._engine.occupancy()

    def lines_at_once(self, capability: str) -> int | None:
        """Audio comes in no batch."""
        return None

    async def transcribe(self, call: Call) -> Answer:
        """As capabilities.Transcribe. `stream` is honoured whatever the model is called."""
        plan = plan_transcription(call.body, self._engine.card)
        heard = _Heard(plan, call.model or self.name)
        if call.stream:
            return await Answer.begun(self._events(call, heard), stream=True)
        return await self._whole(call, heard)

    async def translate(self, call: Call) -> Answer:
        """As capabilities.Translate."""
        if not self._engine.card.translates:
            raise NotFound(
                "This is not a translation model and thus not supported in the v1/audio/translations endpoint.",
                param="model",
            )
        return await self._whole(call, _Heard(plan_translation(call.body), call.model or self.name))

    async def _whole(self, call: Call, heard: "_Heard") -> Answer:
        async with aclosing(self._passages(call.attached[0].path, heard)) as passages:
            async for _ in passages:
                pass
        return Answer(heard.frame())

    async def _events(self, call: Call, heard: "_Heard") -> AsyncGenerator[Frame, None]:
        """What was heard by then is charged, should the client leave."""
        async with aclosing(self._passages(call.attached[0].path, heard)) as passages:
            async for segments in passages:
                if segments:
                    yield heard.deltas(segments)
        yield heard.done()

    async def _passages(self, path: Path, heard: "_Heard") -> AsyncGenerator[Sequence[Segment], None]:
        """What was heard in each window, in times of the file."""
        plan = heard.plan
        sound = Sound(path, most_seconds=self._most_seconds)
        windows = Windows(self._engine.speech(), seconds=self._engine.card.seconds, cutting=plan.cutting)
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._reader, sound.open)
            async with self._engine.listening(plan.ask) as ears:
                whole = False
                while not whole:
                    found, whole = await loop.run_in_executor(self._reader, _read, sound, windows)
                    for place, window in enumerate(found, 1):
                        last = whole or place < len(found) or plan.cutting.ends
                        passage = await ears.hear(window.samples, window.spoken, last=last)
                        if passage.until is not None:
                            windows.give_back(passage.until)
                        yield heard.take(passage, window)
            heard.milliseconds = sound.milliseconds
        finally:
            await asyncio.to_thread(sound.close)


def _read(sound: Sound, windows: Windows) -> tuple[list[Window], bool]:
    """Some seconds of a file: the windows that are whole with them, and whether it has ended. In a thread. Raises
    InvalidRequest."""
    piece = sound.read()
    if piece is not None:
        return windows.feed(piece), False
    if sound.milliseconds < SHORTEST * 1000:
        raise InvalidRequest(
            f"Audio file is too short. Minimum audio length is {SHORTEST} seconds.",
            param="file",
            code="audio_too_short",
        )
    return windows.finish(), True


@dataclass(slots=True)
class _Heard:
    """Of one file, so far. milliseconds: that were heard."""

    plan: Plan
    model: str
    language: str = ""
    segments: list[audio.TranscriptionSegment] = field(default_factory=list)
    words: list[audio.TranscriptionWord] = field(default_factory=list)
    logprobs: list[audio.TranscriptionLogprob] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    milliseconds: int = 0

    def take(self, passage: Passage, window: Window) -> Sequence[Segment]:
        self.language = self.language or passage.language
        self.milliseconds = round((window.end if passage.until is None else window.at(passage.until)) * 1000)
        seek = round(window.at(0) * 100)
        for one in passage.segments:
            start, end = round(window.at(one.start), 3), round(window.at(one.end), 3)
            self.segments.append(
                audio.TranscriptionSegment(
                    len(self.segments),
                    seek,
                    start,
                    end,
                    one.text,
                    list(one.tokens),
                    one.temperature,
                    one.avg_logprob,
                    one.compression_ratio,
                    one.no_speech_prob,
                )
            )
            self.words += [
                audio.TranscriptionWord(
                    word.word.strip(), round(window.at(word.start), 3), round(window.at(word.end), 3)
                )
                for word in one.words or ()
            ]
            self.logprobs += _written(one.logprobs)
        return passage.segments

    @property
    def text(self) -> str:
        return "".join([one.text for one in self.segments]).strip()

    def frame(self) -> Frame:
        """The whole answer, in the format that was asked for."""
        plan = self.plan
        if plan.response_format == "text":
            return self._plain(f"{self.text}\n")
        if plan.response_format in ("srt", "vtt"):
            write = subtitles.srt if plan.response_format == "srt" else subtitles.vtt
            return self._plain(write([subtitles.Line(one.start, one.end, one.text) for one in self.segments]))
        usage = UNSET if plan.ask.task == "translate" else self._wire_usage()
        if plan.response_format == "json":
            logprobs = self.logprobs if plan.ask.logprobs else UNSET
            answer: msgspec.Struct = audio.CreateTranscriptionResponseJson(self.text, logprobs, usage)
        else:
            translated = plan.ask.task == "translate"
            answer = audio.CreateTranscriptionResponseVerboseJson(
                plan.ask.task,
                "english" if translated else NAMES.get(self.language, self.language),
                self.milliseconds / 1000,
                self.text,
                self.words if plan.ask.words else UNSET,
                self.segments if plan.segments else UNSET,
                usage,
            )
        return Frame(msgspec.json.encode(answer), self._usage(), self.model)

    def _plain(self, text: str) -> Frame:
        return Frame(text.encode(), self._usage(), self.model, media=_PLAIN)

    def deltas(self, segments: Sequence[Segment]) -> Frame:
        """Together they are the text."""
        events: list[bytes] = []
        for one in segments:
            text = one.text if self.texts else one.text.lstrip()
            self.texts.append(text)
            logprobs = _written(one.logprobs) if self.plan.ask.logprobs else UNSET
            events.append(sse.event(msgspec.json.encode(audio.TranscriptTextDeltaEvent(text, logprobs))))
        return Frame(b"".join(events), self._usage(), self.model)

    def done(self) -> Frame:
        logprobs = self.logprobs if self.plan.ask.logprobs else UNSET
        event = audio.TranscriptTextDoneEvent("".join(self.texts), logprobs, self._wire_usage())
        return Frame(sse.event(msgspec.json.encode(event)), self._usage(), self.model)

    def _usage(self) -> Usage:
        return Usage(0, 0, milliseconds=self.milliseconds)

    def _wire_usage(self) -> audio.TranscriptionUsage:
        return audio.TranscriptionUsage(math.ceil(self.milliseconds / 1000))


def _written(tokens: Collection[Token]) -> list[audio.TranscriptionLogprob]:
    return [audio.TranscriptionLogprob(one.token, one.logprob, list(one.bytes)) for one in tokens]
