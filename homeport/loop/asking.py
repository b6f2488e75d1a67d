"""One turn: a chat completion on the straight line, on the account of whom the loop is for, heard piece by piece.

Source: CreateChatCompletionStreamResponse; `reasoning_content` and `reasoning`, as models that think aloud have it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from homeport import ids
from homeport.backends.capabilities import Call, Frame, Usage
from homeport.backends.upstreams.events import data_of
from homeport.control.owners import Owner
from homeport.errors import UpstreamFailed
from homeport.gateway import counting
from homeport.gateway.endpoints import CHAT
from homeport.gateway.keyring import Principal
from homeport.gateway.pipeline import StraightLine
from homeport.loop.turns import Used

#: Frames of an answer that are not heard yet; then nothing more of it is read.
MOST_WAITING = 64


class Callers(Protocol):
    """On whose account it is asked (jobs/batch_lines.py)."""

    async def of(self, key_id: str) -> Principal:
        """Raises InvalidKey, Unavailable."""
        ...


class Text(NamedTuple):
    delta: str


class Refusal(NamedTuple):
    delta: str


class Reasoning(NamedTuple):
    delta: str


class CallBegan(NamedTuple):
    """at: its place among the calls of the turn, from 0. id: empty where the model has given none."""

    at: int
    id: str
    name: str


class Arguments(NamedTuple):
    at: int
    delta: str


Piece = Text | Refusal | Reasoning | CallBegan | Arguments
#: Given each piece, in their order. While it takes its time nothing more is read.
Hear = Callable[[Piece], Awaitable[None]]


class Told(NamedTuple):
    """How a turn has ended. finish: the model's `finish_reason`. model: what really answered."""

    finish: str
    used: Used
    model: str


class Asking:
    def __init__(self, line: StraightLine, callers: Callers) -> None:
        self._line = line
        self._callers = callers

    async def turn(
        self,
        who: Owner,
        request: Mapping[str, Any],
        hear: Hear,
        *,
        request_id: str = "",
        told: list[bytes] | None = None,
        batch: bool = False,
    ) -> Told:
        """request: of a chat completion, but for `stream`. request_id: a new one where it is empty. told: header lines
        of the answer are added to these (Call.told). batch: as Call.batch.

        Raises HomeportError, in a stream that breaks off after some pieces, too; and what `hear` raises. Cancelling it
        cancels the work.
        """
        principal = await self._callers.of(who.key_id)
        model: str = request["model"]
        body = msgspec.json.encode({**request, "stream": True, "stream_options": {"include_usage": True}})
        call = Call(
            CHAT.name,
            request_id or ids.request_id(),
            model,
            body,
            stream=True,
            max_tokens=request.get("max_completion_tokens"),
            include_usage=True,
            background=batch,
            batch=batch,
            told=[] if told is None else told,
        )
        hearing = _Hearing(model, hear)
        failed: list[Exception] = []

        async def pour() -> None:
            try:
                await self._line.stream(CHAT, principal, call, hearing)
            except Exception as error:
                failed.append(error)
            finally:
                hearing.end()

        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(pour())
            try:
                await hearing.all()
            except Exception as error:
                failed[:] = [error]
            finally:
                pouring.cancel()
        if failed:
            raise failed[0]
        used = hearing.used
        if used is None:
            used = await asyncio.to_thread(_estimated, model, request, "".join(hearing.said))
        return Told(hearing.finish or "stop", used, hearing.model or model)


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _PromptDetails(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None


_chunk = msgspec.json.Decoder(_Chunk)


class _Hearing:
    """The `Outlet` of a turn: frames wait in it until the pieces in them are heard."""

    def __init__(self, model: str, hear: Hear) -> None:
        self._asked = model
        self._hear = hear
        self._frames: deque[Frame] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._over = False
        self._calls = _Calls()
        self.said: list[str] = []
        self.finish = ""
        self.model = ""
        self._counted: _Usage | None = None
        self._usage: Usage | None = None

    def begin(self, frame: Frame) -> None:
        self.take(frame)

    def take(self, frame: Frame) -> bool:
        self._frames.append(frame)
        self._news.set()
        if len(self._frames) < MOST_WAITING:
            return True
        self._room.clear()
        return False

    async def drain(self) -> None:
        await self._room.wait()

    def end(self) -> None:
        """No more will come."""
        self._over = True
        self._news.set()

    async def all(self) -> None:
        """Until the end. Raises UpstreamFailed, and what `hear` raises."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.usage is not None:
                    self._usage = frame.usage
                for event in frame.data.split(b"\n\n"):
                    if event:
                        await self._take(event)
            self._room.set()
            if self._over:
                return
            await self._news.wait()
            self._news.clear()

    @property
    def used(self) -> Used | None:
        """None: nobody has counted."""
        counted, usage = self._counted, self._usage
        thought = 0
        if counted is not None and counted.completion_tokens_details is not None:
            thought = counted.completion_tokens_details.reasoning_tokens or 0
        if usage is not None:
            return Used(usage.prompt, usage.completion, usage.cached, thought)
        if counted is None or counted.prompt_tokens is None or counted.completion_tokens is None:
            return None
        details = counted.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details is not None else 0
        return Used(counted.prompt_tokens, counted.completion_tokens, cached, thought)

    async def _take(self, event: bytes) -> None:
        data = event[6:] if event.startswith(b"data: {") else data_of(event)
        if not data:
            return
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamFailed(
                f"The model `{self._asked}` answered with something that is no chunk of a chat completion.",
                code="upstream_malformed",
            ) from None
        if chunk.model and not self.model:
            self.model = chunk.model
        if chunk.usage is not None:
            self._counted = chunk.usage
        for choice in chunk.choices or ():
            if choice.delta is not None:
                await self._pieces(choice.delta)
            if choice.finish_reason:
                self.finish = choice.finish_reason

    async def _pieces(self, delta: _Delta) -> None:
        if thought := delta.reasoning_content or delta.reasoning:
            await self._say(Reasoning(thought))
        if delta.content:
            await self._say(Text(delta.content))
        if delta.refusal:
            await self._say(Refusal(delta.refusal))
        for call in delta.tool_calls or ():
            for piece in self._calls.take(call):
                await self._say(piece)

    async def _say(self, piece: Piece) -> None:
        self.said.append(piece.name if isinstance(piece, CallBegan) else piece.delta)
        await self._hear(piece)


class _Calls:
    """Which call a delta belongs to. Servers differ: some leave out `index` or `id`, give one index to several calls,
    or say id and name again each time."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._places: dict[int, int] = {}

    def take(self, delta: _ToolCall) -> list[Piece]:
        function = delta.function or _Function()
        at = self._place(delta, function)
        pieces: list[Piece] = []
        if at == len(self._ids):
            if not function.name:
                return []  # nobody could say what is called
            self._ids.append(delta.id or "")
            if delta.index is not None:
                self._places[delta.index] = at
            pieces.append(CallBegan(at, delta.id or "", function.name))
        if function.arguments:
            pieces.append(Arguments(at, function.arguments))
        return pieces

    def _place(self, delta: _ToolCall, function: _Function) -> int:
        """The number of calls so far: it is a new one."""
        new = len(self._ids)
        known = self._places.get(delta.index, new) if delta.index is not None else new - 1
        if known < 0 or known == new:
            return new
        if delta.id:
            other = self._ids[known] and delta.id != self._ids[known]
            return new if other else known
        return new if delta.index is None and function.name else known


def _estimated(model: str, request: Mapping[str, Any], said: str) -> Used:
    return Used(counting.count_request(model, request), counting.count_text(model, said))
