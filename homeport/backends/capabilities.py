"""What a backend can do: one small protocol a capability, and what passes through it.

A local engine and a remote upstream are the same thing to the router. A backend takes a `Call` and gives an `Answer`
once it has begun: its first frame exists before any status line is sent, so a refusal is an HTTP error and never a
broken stream. A plain (not streaming) answer is exactly one frame.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from homeport.backends.embedded import Embedded

Header = tuple[bytes, bytes]
T = TypeVar("T")


class Usage(msgspec.Struct, frozen=True):
    """What one answer took, as OpenAI's `usage` counts it.

    cached, cache_write, input_audio and input_image are parts of prompt that do not overlap, output_audio and
    output_image parts of completion. images: made, of one `size` (pricing.Units). characters: spoken. milliseconds: of
    audio heard.
    """

    prompt: int
    completion: int
    cached: int = 0
    cache_write: int = 0
    input_audio: int = 0
    input_image: int = 0
    output_audio: int = 0
    images: int = 0
    characters: int = 0
    milliseconds: int = 0
    size: str = ""
    output_image: int = 0


class Frame(msgspec.Struct, gc=False):
    """A piece of an answer, ready for the wire.

    data: plain answer: the JSON body. Stream: one or more whole server-sent events, each ended by a blank line, and
        never `[DONE]` (the HTTP layer ends the stream). UTF-8 is never torn between frames. Of media it is its bytes.
    media: on the first frame of an answer that is neither JSON nor events, its media type (`audio/mpeg`).
    usage: set on the frame that carries the final count, by backends that know it; None on every other frame.
    kept: on the first frame or beside `usage`, what the cache already had of the answer; it costs nothing.
    model, service_tier: what really ran, and the tier that it was served in; set on the first frame by backends that
        know it.
    """

    data: bytes
    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    kept: Usage | None = None
    media: str = ""


class Attached(msgspec.Struct, frozen=True):
    """A file that came with a request. field: of the form. filename: as the client calls it, and it may be anything;
    None where it has no name. digest: SHA-256, hexadecimal. path: of this machine, until the request has ended.
    milliseconds: of sound in it; None where that was not measured."""

    field: str
    filename: str | None
    bytes: int
    digest: str
    path: Path
    milliseconds: int | None = None


class Outlet(Protocol):
    """Where the frames of a stream go. Nothing here waits but `drain`."""

    def begin(self, frame: Frame) -> None:
        """The first."""
        ...

    def take(self, frame: Frame) -> bool:
        """One of the others. False: whoever reads is behind, so wait for `drain` before the next."""
        ...

    async def drain(self) -> None: ...


class Rest(Protocol):
    """Frames after the first. An async generator is one."""

    def __aiter__(self) -> AsyncIterator[Frame]: ...

    async def aclose(self) -> None:
        """Closing it cancels the work."""
        ...


@runtime_checkable
class Relayed(Rest, Protocol):
    """Frames that somebody else's bytes become, the moment that they come."""

    async def pour(self, observe: Callable[[Frame], None], outlet: Outlet) -> None:
        """As the loop of `Answer.pour`, without a step of a task and of its generators for each frame."""
        ...


class Answer:
    """An answer that has begun. rest: the frames after the first, of a stream; closing it cancels the work."""

    __slots__ = ("first", "rest")

    def __init__(self, first: Frame, rest: Rest | None = None) -> None:
        self.first = first
        self.rest = rest

    @classmethod
    async def begun(cls, frames: AsyncGenerator[Frame, None], *, stream: bool) -> "Answer":
        """Once the first frame is there. A plain answer is read to its end, which is one frame."""
        first = await anext(frames)
        if stream:
            return cls(first, frames)
        await frames.aclose()
        return cls(first)

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """All of them. Closing it cancels the work."""
        try:
            yield self.first
            if self.rest is not None:
                async for frame in self.rest:
                    yield frame
        finally:
            await self.aclose()

    async def pour(self, observe: Callable[[Frame], None], outlet: Outlet) -> None:
        """All of them into the outlet, each shown to `observe` before. Cancelling it cancels the work."""
        rest = self.rest
        try:
            observe(self.first)
            outlet.begin(self.first)
            if isinstance(rest, Relayed):
                await rest.pour(observe, outlet)
            elif rest is not None:
                async for frame in rest:
                    observe(frame)
                    if not outlet.take(frame):
                        await outlet.drain()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        if self.rest is not None:
            await self.rest.aclose()


class Call(msgspec.Struct, eq=False):
    """One inference request on its way to a backend.

    body: the request's bytes as they came (but see `ask_for`); fields: the same, decoded one level deep when somebody
        asks for it (values stay raw JSON). Of a form they are its fields, and in place of a file an object that stands
        for it (`{"filename", "bytes", "sha256"}`), so that the body alone says what was asked.
    attached: the files of a form.
    host: of an endpoint that draws, where its client reached the server (its Host); empty where that is not known.
    name: the model that the client asked for; model: the backend's own name for it, set by the router.
    max_tokens: what the client allows the answer to take, over all choices; None when it did not say. choices: how
        many it asks for.
    include_usage: the client asked for the usage chunk of a stream (`stream_options.include_usage`).
    store: its answer is to be kept.
    background: nobody waits for its answer: it goes behind everybody else (lines.py), counts against limits as lines
        of batches do, and comes in no hurry.
    batch: it is a line of a batch, and is charged as such.
    patience: seconds that it may wait for a backend that has no room for it now; few where another one is left.
    cache: the values of its `x-homeport-cache` and `Cache-Control`; None where it has neither.
    fault: the value of its `x-homeport-fault`, empty where it has none.
    pieces: (upstream, model) -> number -> answer: of a request that goes in several, what has been answered; else None.
    inlined: its messages with the images in them that it gave by URL, once somebody has fetched them. They are for
        backends that ask for it; limits, caches and everybody else go by what the client sent.
    headers: the request's custom `X-` headers, to be passed on upstream (names in lower case).
    idempotency_key: what an upstream knows it by when it is sent again, after a restart, too; empty where it has none.
    trace: headers of the trace that it is a part of, to be passed on upstream.
    adapter: a GGUF file of this machine, of a fine-tuned model: what lies over the one that is asked.
    shows_filters: whoever asked reads Azure's fields of content filters. prompt_filter: what stands in them of the
        prompt, once it was moderated.
    told: header lines for the answer, each with its CRLF, gathered along the line before its first frame (limits,
        cache).
    """

    endpoint: str
    request_id: str
    name: str
    body: bytes
    stream: bool = False
    max_tokens: int | None = None
    choices: int = 1
    include_usage: bool = False
    headers: tuple[Header, ...] = ()
    model: str = ""
    store: bool = False
    background: bool = False
    batch: bool = False
    idempotency_key: bytes = b""
    cache: tuple[bytes, bytes] | None = None
    fault: bytes = b""
    inlined: msgspec.Raw | None = None
    patience: float = inf
    shows_filters: bool = False
    prompt_filter: dict[str, Any] | None = None
    told: list[bytes] = []
    trace: tuple[Header, ...] = ()
    pieces: dict[tuple[str, str], dict[int, "Embedded"]] | None = None
    attached: tuple[Attached, ...] = ()
    host: bytes = b""
    adapter: Path | None = None
    _fields: dict[str, msgspec.Raw] | None = None
    _typed: Any = None

    __repr__ = object.__repr__  # a prompt is not for logs

    def ask_for(self, body: bytes) -> None:
        """Go on with another body: for a part of what the client wants, when the rest is there."""
        self.body = body
        self._fields = self._typed = self.pieces = None

    def forget_fields(self) -> None:
        """Until somebody asks for them again: a stream is long."""
        self._fields = None

    @property
    def fields(self) -> dict[str, msgspec.Raw]:
        if self._fields is None:
            self._fields = _map.decode(self.body)
        return self._fields

    def typed(self, decoder: msgspec.json.Decoder[T]) -> T:
        """The whole body decoded and validated, once however many targets are tried.

        Raises msgspec.ValidationError; `wire.base.decode` turns it into the 400 that names the field.
        """
        if self._typed is None:
            self._typed = decoder.decode(self.body)
        typed: T = self._typed
        return typed


_map = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Backend(Protocol):
    """What every backend has: a life, and a word on how it is."""

    async def start(self) -> None:
        """Load what must be loaded. After it returns the backend answers. May take seconds."""

    async def close(self) -> None:
        """Let go of threads, files and connections. Calls in flight are ended first."""

    def lines_at_once(self, capability: str) -> int | None:
        """How many lines of batches keep it busy; None: that is not known, or it takes any number."""
        ...


class Chat(Backend, Protocol):
    async def chat(self, call: Call) -> Answer:
        """`POST /chat/completions`. Raises errors.HomeportError; cancelling it cancels the work."""
        ...


class Count(Backend, Protocol):
    async def count(self, call: Call) -> int:
        """Tokens of the prompt of a `POST /chat/completions` that nobody answers. Raises errors.HomeportError."""
        ...


class Complete(Backend, Protocol):
    async def complete(self, call: Call) -> Answer:
        """`POST /completions`. As `Chat.chat`."""
        ...


class Embed(Backend, Protocol):
    async def embed(self, call: Call) -> Answer:
        """`POST /embeddings`. As `Chat.chat`; never a stream."""
        ...


class Transcribe(Backend, Protocol):
    async def transcribe(self, call: Call) -> Answer:
        """`POST /audio/transcriptions`. As `Chat.chat`; its file is attached."""
        ...


class Translate(Backend, Protocol):
    async def translate(self, call: Call) -> Answer:
        """`POST /audio/translations`. As `Transcribe.transcribe`; never a stream."""
        ...


class Speak(Backend, Protocol):
    async def speak(self, call: Call) -> Answer:
        """`POST /audio/speech`. Always a stream: of media, or of events where the request asks for them."""
        ...


class Draw(Backend, Protocol):
    async def draw(self, call: Call) -> Answer:
        """`POST /images/generations`. As `Chat.chat`; its events are those of pictures."""
        ...


class EditImage(Backend, Protocol):
    async def edit_image(self, call: Call) -> Answer:
        """`POST /images/edits`. As `Draw.draw`; its files are attached."""
        ...


class VaryImage(Backend, Protocol):
    async def vary_image(self, call: Call) -> Answer:
        """`POST /images/variations`. As `EditImage.edit_image`; never a stream."""
        ...


class Moderate(Backend, Protocol):
    async def moderate(self, call: Call) -> Answer:
        """`POST /moderations`. As `Chat.chat`; never a stream."""
        ...


class Rerank(Backend, Protocol):
    async def rerank(self, call: Call) -> Answer:
        """`POST /rerank`. As `Chat.chat`; never a stream."""
        ...
