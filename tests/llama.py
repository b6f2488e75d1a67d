"""A started llama.cpp engine with a loop of its own, which stands still between the tests: loading costs a second."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from homeport.backends.capabilities import Frame
from homeport.backends.engines.llama_cpp import LlamaCpp
from homeport.backends.generation import LocalText
from homeport.backends.text import Constraint, Finish, Piece, Sampling, TokenLogprob
from tests.local.running import Answer, Json, call_of, events

T = TypeVar("T")


class Said(NamedTuple):
    """One generation, put together."""

    text: str
    finish: Finish | None
    pieces: list[Piece]

    @property
    def tokens(self) -> int:
        return self.pieces[-1].completion_tokens

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [one for piece in self.pieces for one in piece.logprobs]


def unstarted(file: Path, **settings: Any) -> LlamaCpp:
    """One thread, and small enough for any machine."""
    return LlamaCpp(file, **{"context_length": 1024, "parallel": 4, "threads": 1, **settings})


async def said(
    engine: LlamaCpp, prompt: str | Sequence[int], sampling: Sampling, constraint: Constraint | None = None
) -> Said:
    tokens = await engine.tokenize(prompt, special=True) if isinstance(prompt, str) else prompt
    async with aclosing(engine.generate(tokens, sampling, constraint)) as generation:
        pieces = [piece async for piece in generation]
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    return Said("".join([piece.text for piece in pieces]), pieces[-1].finish, pieces)


class Llama:
    """engine, and text around it: both started."""

    def __init__(self, engine: LlamaCpp) -> None:
        self.engine = engine
        self.text = LocalText("smollm2", engine)
        self._runner = asyncio.Runner()
        self.run(self.text.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def say(
        self, prompt: str | Sequence[int], sampling: Sampling | None = None, constraint: Constraint | None = None
    ) -> Said:
        """The likeliest twelve tokens, unless told otherwise."""
        return self.run(said(self.engine, prompt, sampling or Sampling(12, temperature=0.0), constraint))

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        return self.run(self.engine.tokenize(text, special=special))

    def ask(self, request: Json, *, endpoint: str = "/chat/completions") -> Answer:
        """As the gateway asks."""

        async def answered() -> list[Frame]:
            answering = self.text.chat if endpoint == "/chat/completions" else self.text.complete
            answer = await answering(call_of(request, endpoint=endpoint))
            async with aclosing(answer.frames()) as frames:
                return [frame async for frame in frames]

        frames = self.run(answered())
        return Answer(events(frames) if request.get("stream") else json.loads(frames[0].data), frames)

    def chat(self, text: str, **request: Any) -> Answer:
        return self.ask({"messages": [{"role": "user", "content": text}], "temperature": 0, **request})

    def complete(self, prompt: str | list[int], **request: Any) -> Answer:
        return self.ask({"prompt": prompt, "temperature": 0, **request}, endpoint="/completions")

    def close(self) -> None:
        self.run(self.text.close())
        self._runner.close()
