"""A LocalText on `echo`, asked as the gateway asks it."""

import asyncio
import json
from typing import Any, NamedTuple

from homeport.backends.capabilities import Call, Frame, Usage
from homeport.backends.engines.echo import Echo
from homeport.backends.generation import LocalText
from homeport.backends.text import TextEngine

Json = dict[str, Any]


class Answer(NamedTuple):
    """body: the JSON of a plain answer, or the events' JSON; frames: as they came."""

    body: Any
    frames: list[Frame]

    @property
    def usage(self) -> Usage:
        """On the last frame, and on no other."""
        assert [frame.usage for frame in self.frames[:-1]] == [None] * (len(self.frames) - 1)
        assert self.frames[-1].usage is not None
        return self.frames[-1].usage


def call_of(request: Json, *, endpoint: str = "/chat/completions") -> Call:
    body = json.dumps({"model": "gpt-4o", **request}).encode()
    return Call(endpoint, "req_1", "gpt-4o", body, model="echo")


def events(frames: list[Frame]) -> list[Json]:
    data = b"".join([frame.data for frame in frames]).decode()
    assert data.endswith("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in data.split("\n\n")[:-1]]


def ask(request: Json, *, engine: TextEngine | None = None, endpoint: str = "/chat/completions") -> Answer:
    async def run() -> list[Frame]:
        model = LocalText("echo", engine or Echo())
        await model.start()
        answering = model.chat if endpoint == "/chat/completions" else model.complete
        answer = await answering(call_of(request, endpoint=endpoint))
        got = [frame async for frame in answer.frames()]
        assert len(asyncio.all_tasks()) == 1, "a task was left behind"
        await model.close()
        return got

    frames = asyncio.run(run())
    assert frames[0].model == "echo"
    assert [frame.model for frame in frames[1:]] == [None] * (len(frames) - 1)
    if request.get("stream"):
        return Answer(events(frames), frames)
    (only,) = frames
    return Answer(json.loads(only.data), frames)


def count(request: Json) -> int:
    """Tokens of its prompt, without an answer."""

    async def run() -> int:
        model = LocalText("echo", Echo())
        await model.start()
        counted = await model.count(call_of(request))
        await model.close()
        return counted

    return asyncio.run(run())


def chat(text: str = "hello brave new world", *, engine: TextEngine | None = None, **request: Any) -> Answer:
    return ask({"messages": [{"role": "user", "content": text}], **request}, engine=engine)


def complete(prompt: Any = "hello world", *, engine: TextEngine | None = None, **request: Any) -> Answer:
    return ask({"prompt": prompt, **request}, engine=engine, endpoint="/completions")
