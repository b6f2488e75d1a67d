"""A text engine without weights: it says the prompt again. For tests, for trying out a client, for measuring the rest.

One token is one Unicode code point and its id is that number, so every count can be told in advance and every prompt of
tokens read. Its chat template gives the last message's text, so a chat answers with what was said last. Where a form is
forced it answers with the smallest instance: {"echo": text} for JSON mode, the least that a schema admits, a call of
the first tool.

The next token is certain (log-probability 0), so temperature, top_p, penalties and seed have nothing to change: any
value gives the one possible text. A logit bias would have, and is refused.
"""

import json
import re
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from homeport import clock
from homeport.backends.engines.admission import Admission
from homeport.backends.engines.instances import NoInstance, smallest
from homeport.backends.lines import Line, once_whole
from homeport.backends.text import (
    Alternative,
    Constraint,
    JsonObject,
    JsonSchema,
    ModelCard,
    Occupancy,
    Piece,
    Sampling,
    TokenLogprob,
    ToolCalls,
)
from homeport.errors import InvalidRequest

# It names tools and <tool_call> so that tools' answers reach it as they are, not rewritten for a model without tools.
TEMPLATE = "{# tools: <tool_call> #}{{ messages[-1].content }}"
_WORD = re.compile(r"\s*\S+\s*|\s+")


class Echo:
    """TextEngine. context_length: 8192 by default; delay: seconds before each word, to see streams and cancellation.
    parallel: requests at once, any number by default; queue: that may wait for their turn, to see that."""

    def __init__(
        self,
        name: str = "echo",
        *,
        context_length: int | None = None,
        delay: float = 0.0,
        parallel: int | None = None,
        queue: int = 256,
    ) -> None:
        self.name = name
        self._delay = delay
        self._admission = places(parallel, queue)
        self._card = ModelCard(context_length=context_length or 8192, chat_template=TEMPLATE, identity="echo 1")

    @property
    def card(self) -> ModelCard:
        return self._card

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def occupancy(self) -> Sequence[Occupancy]:
        return () if self._admission is None else (self._admission.occupancy(self.name),)

    def refuses(self, sampling: Sampling, constraint: Constraint | None) -> str | None:
        if sampling.logit_bias:
            return "logit_bias"
        return "tools" if isinstance(constraint, ToolCalls) and not constraint.required else None

    async def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [ord(char) for char in text]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        for token in tokens:
            if not 0 <= token <= 0x10FFFF or 0xD800 <= token <= 0xDFFF:
                raise InvalidRequest(f"Invalid prompt: {token} is not a token of this model.", param="prompt")
        return "".join([chr(token) for token in tokens])

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, *, batch: bool = False
    ) -> AsyncGenerator[Piece, None]:
        generate = partial(self._generate, prompt, sampling, constraint, batch)
        return once_whole(generate) if batch and self._admission is not None else generate(None)

    async def _generate(
        self, prompt: Sequence[int], sampling: Sampling, constraint: Constraint | None, batch: bool, line: Line | None
    ) -> AsyncGenerator[Piece, None]:
        """batch: all in one piece, as nobody sees how it comes; line: where places are given out."""
        full = _formed(await self.detokenize(prompt), constraint)
        text = full[: sampling.max_tokens]
        stops = [at for stop in sampling.stop if stop and (at := text.find(stop)) >= 0]
        text = text[: min(stops)] if stops else text
        cut = not stops and len(text) < len(full)
        words = _WORD.findall(text) or [""]
        delay = self._delay
        if batch:
            words, delay = [text], delay * len(words)
        if self._admission is not None:
            await self._admission.enter(1, line)
        try:
            for number, word in enumerate(words, 1):
                await clock.sleep(delay)
                logprobs: tuple[TokenLogprob, ...] = ()
                if sampling.top_logprobs is not None:
                    logprobs = tuple([_certain(char, sampling.top_logprobs) for char in word])
                if number < len(words):
                    yield Piece(word, logprobs)
                else:
                    yield Piece(word, logprobs, finish="length" if cut else "stop", completion_tokens=len(text))
        finally:
            if self._admission is not None:
                self._admission.leave(1, line)

    async def score(
        self, prompt: Sequence[int], top_logprobs: int, *, batch: bool = False
    ) -> list[TokenLogprob | None]:
        text = await self.detokenize(prompt)
        return [_certain(char, top_logprobs) if at else None for at, char in enumerate(text)]


def places(parallel: int | None, queue: int) -> Admission | None:
    """None: any number."""
    return None if parallel is None else Admission(places=parallel, tokens=parallel, queue=queue)


def _certain(char: str, top_logprobs: int | None) -> TokenLogprob:
    only = Alternative(char, 0.0, char.encode())
    return TokenLogprob(*only, top=(only,) if top_logprobs else ())


def _formed(text: str, constraint: Constraint | None) -> str:
    match constraint:
        case JsonObject():
            return _json({"echo": text})
        case JsonSchema(schema):
            try:
                return _json(smallest(schema))
            except NoInstance as exc:
                raise InvalidRequest(
                    f"The echo model cannot answer in this form: {exc}.", param="response_format"
                ) from exc
        case ToolCalls(required=True):
            name, schema = next(iter(constraint.tools.items()))
            try:
                call = {"name": name, constraint.argument_key: smallest(schema)}
            except NoInstance as exc:
                raise InvalidRequest(f"The echo model cannot call {name!r}: {exc}.", param="tools") from exc
            return constraint.opening + _json(call) + constraint.closing
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
