"""Answers of upstreams that draw: pictures as base64 or by an address, and events that show them in the making.

Source: ImagesResponse, ImageGenCompletedEvent, ImageEditCompletedEvent.
"""

from collections.abc import Callable, Collection

import msgspec
from msgspec import Raw

from homeport.backends.capabilities import Answer, Call, Frame, Usage
from homeport.backends.upstreams import failures
from homeport.backends.upstreams.client import Response
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import each, read_event
from homeport.backends.upstreams.relay import is_text, sane
from homeport.backends.upstreams.streamed import Streamed
from homeport.backends.upstreams.typed_events import TypedEvents
from homeport.errors import HomeportError
from homeport.wire.images import count, family, priced_size, sized

Failed = Callable[[TransferError], HomeportError]
#: Ten pictures of several megabytes, in base64.
LARGEST_PICTURES = 256 * 2**20
#: One of them.
LARGEST_PICTURE = 64 * 2**20
_COMPLETED = ("image_generation.completed", "image_edit.completed")


class _Details(msgspec.Struct):
    image_tokens: int | None = None


class _Counts(msgspec.Struct):
    """`usage` of the GPT image models. What it says of the answer's tokens came later, and not of all models."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Picture(msgspec.Struct):
    b64_json: Raw = Raw()
    url: str | None = None

    @property
    def there(self) -> bool:
        text = memoryview(self.b64_json)
        return bool(self.url) or (len(text) > len(b'""') and text[0] == ord('"'))


class _Answer(msgspec.Struct):
    data: list[_Picture]
    model: str | None = None
    size: str | None = None
    quality: str | None = None
    usage: _Counts | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    size: str | None = None
    quality: str | None = None
    usage: _Counts | None = None


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)


def without(call: Call) -> Collection[str]:
    """Fields that a GPT image model refuses, of a request for a model of another name: its answer is always bytes, of
    which gateway/image_addresses.py makes addresses where the client is to have those."""
    others = family(call.model) == "gpt-image" != family(call.name)
    return ("response_format",) if others else ()


async def drawn(response: Response, call: Call, upstream: str, failed: Failed) -> Answer:
    """Raises TransferError, UpstreamFailed."""
    asked = priced_size(call.fields)
    kind = response.header(b"content-type").strip().lower()
    if call.stream and kind.startswith(b"text/event-stream"):
        response.forget_head()
        return await Streamed(response, PictureEvents(upstream, count(call.fields), asked), failed).begun()
    body = await response.read(LARGEST_PICTURES)
    if not is_text(body):
        raise failures.malformed(upstream)
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise failures.malformed(upstream) from None
    if not answer.data or not all(picture.there for picture in answer.data):
        raise failures.malformed(upstream)
    size = sized(answer.size, answer.quality) if answer.size else asked
    usage = _usage(answer.usage, len(answer.data), size)
    # A model that does not stream answers plainly, whatever it was asked for.
    return Answer(Frame(body, usage, answer.model, media="application/json" if call.stream else ""))


class PictureEvents(TypedEvents):
    """Events of which one ends a picture; the stream is whole once all have ended. They are too large to be kept until
    its end, so what ends is counted as it goes by."""

    largest = LARGEST_PICTURE

    def __init__(self, upstream: str, pictures: int, size: str) -> None:
        """pictures: that are asked for; size: as priced."""
        super().__init__(upstream, None)
        self._pictures = pictures
        self._size = size
        self._completed = 0
        self._counted = Usage(0, 0)

    def feed(self, chunk: bytes) -> Frame | None:
        frame = super().feed(chunk)
        if frame is not None:
            self._last.clear()
            if b".completed" in frame.data:
                self._count(frame)
        return frame

    def end(self) -> None:
        if self._completed >= self._pictures:
            self._done = True
        super().end()

    def _count(self, frame: Frame) -> None:
        for event, _ in each(frame.data):
            read = read_event(event, _event) if b".completed" in event else None
            if read is not None and read.type in _COMPLETED:
                self._completed += 1
                size = sized(read.size, read.quality) if read.size else self._size
                frame.usage = self._counted = _sum(self._counted, _usage(read.usage, 1, size))

    def _take_usage(self, frame: Frame) -> None:
        """It stands in what ends a picture."""

    def _finishes(self, events: bytes) -> bool:
        return False


def _usage(counts: _Counts | None, pictures: int, size: str) -> Usage:
    """The pictures, and their tokens where the upstream counts them. Those of the answer are the pictures' unless it
    says otherwise."""
    if counts is None:
        return Usage(0, 0, images=pictures, size=size)
    prompt, completion = sane(counts.input_tokens), sane(counts.output_tokens)
    read, written = counts.input_tokens_details, counts.output_tokens_details
    seen = min(sane(read.image_tokens), prompt) if read is not None else 0
    drawn = min(sane(written.image_tokens), completion) if written is not None else completion
    return Usage(prompt, completion, input_image=seen, images=pictures, size=size, output_image=drawn)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.prompt + other.prompt,
        one.completion + other.completion,
        input_image=one.input_image + other.input_image,
        images=one.images + other.images,
        size=other.size,
        output_image=one.output_image + other.output_image,
    )
