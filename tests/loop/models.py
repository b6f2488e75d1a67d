"""A model on a scripted straight line, tools that do as they are told, and a scribe that keeps what it is told."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from homeport.backends.capabilities import Answer, Call, Frame, Outlet, Usage
from homeport.control.owners import Owner
from homeport.errors import HomeportError
from homeport.gateway.endpoints import CHAT, Endpoint
from homeport.gateway.keyring import Principal
from homeport.loop.asking import Asking
from homeport.loop.loop import Loop
from homeport.loop.turns import Annotation, Calling, Outcome, Plan, Truncation, Used
from homeport.store.calls import Ran, Searched, ToolType

WHO = Owner("proj_1", "key_1")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
Delta = dict[str, Any]
Turn = Sequence["Delta | str | HomeportError | Pause"] | HomeportError | Callable[[Call], Any]


def call(name: str, arguments: str, *, at: int = 0, id: str = "", **more: Any) -> Delta:
    return {"tool_calls": [{"index": at, "id": id, "function": {"name": name, "arguments": arguments}, **more}]}


def event(delta: Delta, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "m-2024", "choices": [choice]}).encode() + b"\n\n"


def counted(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


class Pause:
    """In an answer: there it waits. reached: it has come so far."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()


class Model:
    """What stands in the straight line's place. turns: what it answers, one after the other: deltas (a text is one of
    `content`), the last may be a finish reason in angle brackets; an error before the first. asked: bodies."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = deque(turns)
        self.asked: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.counts: tuple[int, int] | None = (10, 5)

    async def stream(self, endpoint: Endpoint, principal: Principal, call: Call, outlet: Outlet) -> None:
        assert endpoint is CHAT
        self.calls.append(call)
        self.asked.append(json.loads(call.body))
        turn = self.turns.popleft()
        if callable(turn):
            turn = turn(call)
        if isinstance(turn, HomeportError):
            raise turn
        frames = self._frames(turn)
        await Answer(await anext(frames), frames).pour(lambda frame: None, outlet)

    async def _frames(self, turn: Sequence[Delta | str | HomeportError | Pause]) -> AsyncGenerator[Frame, None]:
        finish = "stop"
        for one in turn:
            if isinstance(one, HomeportError):
                raise one
            if isinstance(one, Pause):
                one.reached.set()
                await one.goes_on.wait()
            elif isinstance(one, str) and one.startswith("<"):
                finish = one[1:-1]
            else:
                yield Frame(event({"content": one} if isinstance(one, str) else one))
        usage = Usage(*self.counts) if self.counts else None
        yield Frame(event({}, finish) + (counted(*self.counts) if self.counts else b""), usage=usage)


class Callers:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def of(self, key_id: str) -> Principal:
        self.asked.append(key_id)
        return Principal(key_id=key_id, project="proj_1", organization="org_1")


class Scribe:
    """told: what it was told, in order, for a test to read."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.annotations: list[Annotation] = []
        self.used: list[Used] = []
        self.fails: Exception | None = None

    async def text(self, delta: str, annotations: Sequence[Annotation]) -> None:
        if self.fails:
            raise self.fails
        self.told.append(delta)
        self.annotations += annotations

    async def refusal(self, delta: str) -> None:
        self.told.append(("refusal", delta))

    async def reasoning(self, delta: str) -> None:
        self.told.append(("reasoning", delta))

    async def message_ended(self, incomplete: str) -> None:
        self.told.append(("message", incomplete))

    async def call_began(self, call: Calling) -> None:
        assert not call.arguments
        self.told.append(("began", call.name))

    async def arguments(self, call: Calling, delta: str) -> None:
        self.told.append(("arguments", call.name, delta))

    async def turn_ended(self, calls: Sequence[Calling], used: Used) -> None:
        self.used.append(used)
        self.told.append(("turn", [call.name for call in calls]))

    async def call_ended(self, call: Calling) -> None:
        assert call.output is not None
        self.told.append(("ended", call.name, call.output))


class Tool:
    """A hosted one."""

    sources: Sequence[Searched | Ran] = ()

    def __init__(
        self, type: ToolType = "file_search", *, output: str = "found", result: Searched | Ran | None = None
    ) -> None:
        self.type = type
        self.output = output
        self.result = result
        self.called: list[str] = []
        self.pause: Pause | None = None
        self.fails: HomeportError | None = None

    @property
    def definition(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.type, "parameters": {"type": "object"}}}

    async def call(self, calling: Calling) -> None:
        self.called.append(calling.arguments)
        if self.fails:
            raise self.fails
        if self.pause is not None:
            self.pause.reached.set()
            await self.pause.goes_on.wait()
        calling.output, calling.result = self.output, self.result


def plan(*messages: dict[str, Any], **more: Any) -> Plan:
    said = [*messages] or [{"role": "user", "content": "Hello"}]
    return Plan(**{"who": WHO, "model": "m", "messages": said, "truncation": Truncation(), **more})


class Going:
    """A loop that has ended, with what it has done."""

    def __init__(self, model: Model, scribe: Scribe, outcome: Outcome) -> None:
        self.model = model
        self.scribe = scribe
        self.outcome = outcome


async def go(
    model: Model, of: Plan, *hosted: Tool, scribe: Scribe | None = None, wait: Any = None, max_turns: int = 8
) -> Going:
    scribe = scribe or Scribe()
    loop = Loop(Asking(model, Callers()), max_turns=max_turns)  # type: ignore[arg-type]
    return Going(model, scribe, await loop.go(of, scribe, hosted, wait=wait))
