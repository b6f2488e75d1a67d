"""The models of this machine as a process sees them that does not hold them (api/engine_room.py does).

What goes over and what comes back is OpenAI's format, as with any upstream, but nobody is asked twice, nothing is left
alone, and no time is too long: an engine that has much to do says so itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from homeport import clock
from homeport.backends.capabilities import Answer, Attached, Call, Frame, Header, Usage
from homeport.backends.held import FAILED, LOADING, MISSING, Kind, State
from homeport.backends.text import Occupancy
from homeport.backends.upstreams import embeddings, failures, moderations, relay, rerank
from homeport.backends.upstreams.audio import AudioEvents, Sound
from homeport.backends.upstreams.client import Client, Response
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import Events
from homeport.backends.upstreams.pictures import LARGEST_PICTURE, LARGEST_PICTURES
from homeport.backends.upstreams.streamed import Streamed
from homeport.errors import HomeportError, ModelNotReady, UpstreamRefused

#: How often one looks whether the models are there: while one is being loaded, and when all are.
LOADING_SECONDS = 0.1
LOOK_SECONDS = 2.0
#: No deadline of ours: a long prompt on a slow machine takes as long as it takes.
_A_DAY = 86_400.0
_DEADLINES = Deadlines(first_byte=_A_DAY, idle=_A_DAY, total=_A_DAY)
_MOST_CONNECTIONS = 100_000
_LARGEST_LIST = 2**20
#: What a model of a kind can do, known before it is loaded.
_ABLE = {
    "text": frozenset({"chat", "complete", "count"}),
    "vectors": frozenset({"embed", "moderate", "vector"}),
    "hearing": frozenset({"transcribe", "translate"}),
    "speaking": frozenset({"speak"}),
    "drawing": frozenset({"draw", "edit_image", "vary_image"}),
}
#: It waits behind everybody else, as a line of a batch.
BATCH = b"x-batch"
#: The files of its form, which are on this machine: a list of Attached in JSON, percent-encoded.
ATTACHED = b"x-attached"
#: It is not to be answered: how many tokens its prompt has is all that is wanted (Counted).
COUNT = b"x-count"
#: What the first frame of audio says beside its bytes, which do not tell: First in JSON, percent-encoded.
FIRST = b"x-first"
#: The file of a fine-tuned model's adapter, on this machine, percent-encoded.
ADAPTER = b"x-adapter"
#: Which model is meant. The body keeps the client's name for it, which tells whose tokens are in it.
MODEL = b"x-model"
_PASSED_ON = (b"retry-after", b"x-should-retry")


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Vectors(msgspec.Struct):
    """Of `/v1/embeddings`, in numbers."""

    data: list[_Embedding]


class _Refusal(msgspec.Struct):
    error: dict[str, object]


class First(msgspec.Struct, omit_defaults=True):
    """Of a frame."""

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None

    @classmethod
    def of(cls, frame: Frame) -> bytes:
        """As a header's value."""
        return _quoted(cls(frame.usage, frame.model, frame.service_tier))


_first = msgspec.json.Decoder(First)
_files = msgspec.json.Decoder(tuple[Attached, ...], dec_hook=lambda kind, value: kind(value))


def files_of(value: bytes) -> tuple[Attached, ...]:
    """Of the header ATTACHED."""
    return _files.decode(unquote_to_bytes(value))


def _quoted(value: Any) -> bytes:
    return quote(msgspec.json.encode(value, enc_hook=str)).encode()


#: Before an event, in a comment: what has been counted until then.
_COUNTED = b": counted "
_usage = msgspec.json.Decoder(Usage)


def counted(frame: Frame) -> None:
    """Write what it counts before its events, for the worker's _Events."""
    if frame.usage is not None:
        frame.data = b"%b%b\n\n%b" % (_COUNTED, msgspec.json.encode(frame.usage), frame.data)


class _Events(AudioEvents):
    """Those of the room, which count in comments: exactly, where the events say whole seconds."""

    largest = LARGEST_PICTURE

    def __init__(self, model: str) -> None:
        super().__init__(model, None)
        self._counted: Usage | None = None

    def feed(self, chunk: bytes) -> Frame | None:
        frame = super().feed(chunk)
        if frame is not None:
            frame.usage, self._counted = self._counted, None
        return frame

    def _cleaned(self, events: bytes) -> bytes:
        for line in events.split(b"\n"):
            if line.startswith(_COUNTED):
                self._counted = _usage.decode(line.removeprefix(_COUNTED))
        return super()._cleaned(events)


class _Ready(msgspec.Struct):
    """Of `/readyz`."""

    models: dict[str, State]


class EngineRoom:
    def __init__(self, socket: Path) -> None:
        self._client = Client(
            f"http+unix://{quote(str(socket), safe='')}", connections=_MOST_CONNECTIONS, deadlines=_DEADLINES
        )
        self._states: Mapping[str, State] = {}
        self._looked = asyncio.Event()

    def model(self, name: str, kind: Kind) -> "Lent":
        return Lent(name, kind, self)

    def state(self, name: str) -> State | None:
        """None: one does not know, because nobody has looked yet or the room is not there."""
        return self._states.get(name)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self._look()
            self._looked.set()
            self._looked = asyncio.Event()
            loading = not self._states or "loading" in self._states.values()
            await clock.sleep(LOADING_SECONDS if loading else LOOK_SECONDS)

    async def looked(self) -> None:
        """Once more than before."""
        await self._looked.wait()

    async def _look(self) -> None:
        try:
            with closing(await self._client.request("GET", "/readyz")) as response:
                self._states = msgspec.json.decode(await response.read(_LARGEST_LIST), type=_Ready).models
        except (TransferError, msgspec.DecodeError):
            self._states = {}

    async def request(self, path: str, model: str, body: bytes, call: Call, more: Sequence[Header] = ()) -> Response:
        """Raises TransferError."""
        headers: list[Header] = [(b"content-type", b"application/json"), (MODEL, quote(model).encode()), *more]
        if call.background:
            headers.append((BATCH, b"1"))
        if call.attached:
            headers.append((ATTACHED, _quoted(call.attached)))
        if call.adapter is not None:
            headers.append((ADAPTER, quote(str(call.adapter)).encode()))
        return await self._client.request("POST", path, headers, body)

    async def close(self) -> None:
        await self._client.close()


class Counted(msgspec.Struct):
    """What a request with COUNT is answered with."""

    input_tokens: int


class Lent:
    """A model that another process holds. As `Held` to everybody else."""

    def __init__(self, name: str, kind: Kind, room: EngineRoom) -> None:
        self.name = name
        self._kind = kind
        self._room = room

    @property
    def state(self) -> State:
        """While the room is not there, another one is being made ready."""
        return self._room.state(self.name) or "loading"

    @property
    def reason(self) -> str:
        return {"failed": FAILED, "missing": MISSING}.get(self.state, LOADING).format(self.name)

    async def start(self) -> None:
        """Once it has been loaded, or has failed."""
        while self.state == "loading":
            await self._room.looked()

    async def close(self) -> None:
        """It is another process's."""

    def can(self, capability: str) -> bool:
        return capability in _ABLE[self._kind]

    def occupancy(self) -> Sequence[Occupancy]:
        """Nobody here knows."""
        return ()

    def lines_at_once(self, capability: str) -> int | None:
        """Nor that: in the room they wait."""
        return None

    def chat(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/chat/completions", call)

    async def count(self, call: Call) -> int:
        answer = await self._answer("/v1/chat/completions", call, lambda data, _: Frame(data), more=[(COUNT, b"1")])
        return msgspec.json.decode(answer.first.data, type=Counted).input_tokens

    def complete(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/completions", call)

    def embed(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/embeddings", call, partial(embeddings.whole, count=None))

    def transcribe(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/audio/transcriptions", call, read=self._media)

    def translate(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/audio/translations", call, read=self._media)

    def speak(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/audio/speech", call, read=self._media)

    def draw(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/images/generations", call, read=self._media)

    def edit_image(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/images/edits", call, read=self._media)

    def vary_image(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/images/variations", call, read=self._media)

    def moderate(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/moderations", call, moderations.whole)

    def rerank(self, call: Call) -> Coroutine[Any, Any, Answer]:
        return self._answer("/v1/rerank", call, rerank.whole)

    async def vector(self, text: str) -> Sequence[float]:
        """Of one text, for the house itself. Raises HomeportError."""
        body = msgspec.json.encode({"model": self.name, "input": text})
        answer = await self.embed(Call("embeddings", "", self.name, body, model=self.name))
        return msgspec.json.decode(answer.first.data, type=_Vectors).data[0].embedding

    async def _answer(
        self,
        path: str,
        call: Call,
        whole: Callable[[bytes, str], Frame] = relay.whole,
        read: Callable[[Response, Call], Awaitable[Answer]] | None = None,
        more: Sequence[Header] = (),
    ) -> Answer:
        """As OpenAIUpstream. more: headers for the room."""
        if self._room.state(self.name) not in ("ready", None):
            raise self._not_ready()  # at once: a room that loads a model is slow to answer
        try:
            body = relay.body_for(call, ask_usage=read is None, keep_name=True)
            response = await self._room.request(path, self.name, body, call, more)
            try:
                if response.status != 200:
                    raise await _refusal(response, self.name)
                if read is not None:
                    return await read(response, call)
                if call.stream:
                    events = Events(self.name, hide_usage=not call.include_usage)
                    return await Streamed(response, events, lambda _: self._gone()).begun()
                return Answer(whole(await response.read(relay.LARGEST_ANSWER), self.name))
            except BaseException:
                response.close()
                raise
        except TransferError:
            raise self._gone() from None

    async def _media(self, response: Response, call: Call) -> Answer:
        """Texts, events, sound or pictures, with what the room says of the first frame."""
        told = _first.decode(unquote_to_bytes(response.header(FIRST)))
        kind = response.header(b"content-type").decode()
        if kind.startswith("text/event-stream"):
            response.forget_head()
            answer = await Streamed(response, _Events(self.name), lambda _: self._gone()).begun()
        elif call.stream:
            response.forget_head()
            first = Frame(b"", told.usage, media=kind)
            answer = await Sound(response, first, lambda _: self._gone()).begun(self.name)
        else:
            media = "" if kind == "application/json" else kind
            answer = Answer(Frame(await response.read(LARGEST_PICTURES), told.usage, media=media))
        answer.first.model, answer.first.service_tier = told.model, told.service_tier
        return answer

    def _not_ready(self) -> ModelNotReady:
        return ModelNotReady(self.reason, headers=(("retry-after", "2"),) if self.state == "loading" else ())

    def _gone(self) -> ModelNotReady:
        """The room has ended; another one is being made ready (workers.py)."""
        return ModelNotReady(LOADING.format(self.name), headers=(("retry-after", "2"),))


async def _refusal(response: Response, model: str) -> HomeportError:
    """What the model has said, as it has said it."""
    headers = [(name.decode(), value.decode("latin-1")) for name, value in response.headers if name in _PASSED_ON]
    try:
        error = msgspec.json.decode(await response.read(failures.LARGEST_ERROR), type=_Refusal).error
    except msgspec.DecodeError:
        return failures.malformed(model)
    return UpstreamRefused(response.status, error, headers=headers)
