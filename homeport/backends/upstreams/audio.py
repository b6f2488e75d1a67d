"""Answers of upstreams that hear and speak: texts of several kinds, events with a type, and sound, which is passed on
as it comes.

Source: CreateTranscriptionResponseJson and its kin, TranscriptTextDoneEvent, SpeechAudioDoneEvent.
"""

from collections.abc import Callable
from contextlib import closing

import msgspec

from homeport.backends.capabilities import Answer, Call, Frame, Outlet, Usage
from homeport.backends.upstreams import failures
from homeport.backends.upstreams.client import Response
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import each, read_event
from homeport.backends.upstreams.relay import LARGEST_ANSWER, is_text, sane
from homeport.backends.upstreams.streamed import Streamed
from homeport.backends.upstreams.typed_events import TypedEvents
from homeport.errors import HomeportError

Failed = Callable[[TransferError], HomeportError]
_PLAIN = "text/plain; charset=utf-8"
#: What OpenAI answers as JSON; the other formats are texts.
_OF_JSON = ("json", "verbose_json", "diarized_json")
#: Types of events with which an answer is whole.
_LAST = frozenset({"transcript.text.done", "speech.audio.done", "image_generation.completed", "image_edit.completed"})
_MOST_MILLISECONDS = 2**31 - 1


class _Details(msgspec.Struct):
    audio_tokens: int | None = None


class _Counts(msgspec.Struct):
    """`usage` of what was heard, by its tokens or its duration, or of what was spoken."""

    seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None


class _Transcript(msgspec.Struct):
    """duration: seconds, of `verbose_json`."""

    text: str
    duration: float | None = None
    usage: _Counts | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    usage: _Counts | None = None


_transcript = msgspec.json.Decoder(_Transcript)
_event = msgspec.json.Decoder(_Event)


def measured(call: Call) -> Usage | None:
    """What is known of a request before it is answered: the length of its file, where somebody has measured it, or the
    characters of its text."""
    if call.attached:
        lengths = [file.milliseconds for file in call.attached]
        return Usage(0, 0, milliseconds=sum(filter(None, lengths))) if None not in lengths else None
    try:
        return Usage(0, 0, characters=len(msgspec.json.decode(call.fields.get("input", b'""'), type=str)))
    except msgspec.DecodeError:
        return None  # the upstream will refuse it


async def heard(response: Response, call: Call, upstream: str, failed: Failed) -> Answer:
    """A transcription or a translation. Raises TransferError, UpstreamFailed."""
    known = measured(call)
    kind = _kind(response)
    if call.stream and kind.startswith("text/event-stream"):
        response.forget_head()
        return await Streamed(response, AudioEvents(upstream, known), failed).begun()
    asked = msgspec.json.decode(call.fields.get("response_format", b"null"))
    body = await response.read(LARGEST_ANSWER)
    if not is_text(body):
        raise failures.malformed(upstream)
    if asked not in (None, *_OF_JSON):
        return Answer(Frame(body, known, media=kind if kind.startswith("text/") and kind.isascii() else _PLAIN))
    try:
        transcript = _transcript.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise failures.malformed(upstream) from None
    counts = transcript.usage or _Counts()
    if counts.seconds is None:
        counts.seconds = transcript.duration
    # A model that does not stream answers plainly, whatever it was asked for: OpenAI's whisper-1 does.
    return Answer(Frame(body, _usage(counts, known), media="application/json" if call.stream else ""))


async def spoken(response: Response, call: Call, upstream: str, failed: Failed) -> Answer:
    """Sound, or events that hold it. Raises TransferError, UpstreamFailed."""
    known = measured(call)
    kind = _kind(response)
    if kind.startswith("text/event-stream"):
        response.forget_head()
        return await Streamed(response, AudioEvents(upstream, known), failed).begun()
    if not kind.startswith(("audio/", "application/octet-stream", "application/ogg")) or not kind.isascii():
        raise failures.malformed(upstream)
    response.forget_head()
    return await Sound(response, Frame(b"", known, media=kind), failed).begun(upstream)


class AudioEvents(TypedEvents):
    """Servers that send chunks as those of a chat are understood, too."""

    def _finishes(self, events: bytes) -> bool:
        typed = (read_event(event, _event) for event, _ in each(events))
        return any(event is not None and event.type in _LAST for event in typed) or super()._finishes(events)

    def _take_usage(self, frame: Frame) -> None:
        for event, _ in each(frame.data):
            read = read_event(event, _event) if b'"usage"' in event else None
            if read is not None and read.usage is not None:
                frame.usage = _usage(read.usage, self._known)


class Sound:
    """A `Relayed` of bytes that mean nothing here. Whatever goes wrong cuts the connection."""

    __slots__ = ("_failed", "_first", "_response")

    def __init__(self, response: Response, first: Frame, failed: Failed) -> None:
        """first: what its first frame says beside its bytes."""
        self._response = response
        self._first = first
        self._failed = failed

    async def begun(self, upstream: str) -> Answer:
        """Raises HomeportError, which silence is, too."""
        async for frame in self:
            first = self._first
            first.data = frame.data
            return Answer(first, self)
        raise failures.malformed(upstream)

    def __aiter__(self) -> "Sound":
        return self

    async def __anext__(self) -> Frame:
        try:
            chunk = await self._response.chunk()
        except TransferError as error:
            self._response.close()
            raise self._failed(error) from None
        except BaseException:
            self._response.close()
            raise
        if not chunk:
            self._response.close()
            raise StopAsyncIteration
        return Frame(chunk)

    async def pour(self, observe: Callable[[Frame], None], outlet: Outlet) -> None:
        behind = False

        def relay(chunk: bytes) -> bool:
            nonlocal behind
            frame = Frame(chunk)
            observe(frame)
            if not outlet.take(frame):
                behind = True
            return not behind

        try:
            with closing(self._response):
                while await self._response.pour(relay):
                    await outlet.drain()
                    behind = False
        except TransferError as error:
            raise self._failed(error) from None

    async def aclose(self) -> None:
        self._response.close()


def _kind(response: Response) -> str:
    return response.header(b"content-type").decode("latin-1").strip().lower()


def _usage(counts: _Counts, known: Usage | None) -> Usage | None:
    """By what the upstream says; the length that was measured here is what it says nothing of."""
    prompt, completion = sane(counts.input_tokens), sane(counts.output_tokens)
    milliseconds, characters = (known.milliseconds, known.characters) if known is not None else (0, 0)
    if counts.seconds is not None and 0 <= counts.seconds * 1000 < _MOST_MILLISECONDS:
        milliseconds = round(counts.seconds * 1000)
    elif not prompt and not completion:
        return known
    if characters:  # spoken: what came out is sound
        return Usage(prompt, completion, output_audio=completion, characters=characters)
    details = counts.input_token_details
    audio = min(sane(details.audio_tokens), prompt) if details is not None else 0
    return Usage(prompt, completion, input_audio=audio, milliseconds=milliseconds)
