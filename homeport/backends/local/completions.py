"""A planned `POST /completions` runs: pieces of the engine go out as one `Completion`, or as a stream of them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from homeport import clock, ids
from homeport.backends.capabilities import Frame
from homeport.backends.local import logprobs
from homeport.backends.local.choices import Spoken, together
from homeport.backends.local.completion_plan import Plan, Prompt
from homeport.backends.local.usage import Count, shown
from homeport.backends.text import Piece, TextEngine, TokenLogprob
from homeport.wire import sse

_encode = msgspec.json.Encoder().encode


class _Candidate:
    """One continuation of one prompt. offset: where its next token stands, in characters from the prompt's start."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.text: list[str] = []
        self.tokens: list[TokenLogprob] = []
        self.pending: list[TokenLogprob] = []
        self.offset = len(prompt.text)
        self.finish: str | None = None

    def take(self, piece: Piece) -> None:
        self.text.append(piece.text)
        self.tokens += piece.logprobs
        self.pending += piece.logprobs
        self.finish = piece.finish

    def told(self, top: int) -> dict[str, Any]:
        """The log-probabilities that have come since the last time."""
        tokens, self.pending = self.pending, []
        texts = [token.token for token in tokens]
        shown_now = logprobs.lists(tokens, texts, top=top, offset=self.offset)
        self.offset += sum(map(len, texts))
        return shown_now


async def answer(
    plan: Plan, engine: TextEngine, request: Mapping[str, Any], *, model: str, fingerprint: str, batch: bool
) -> AsyncGenerator[Frame, None]:
    """One frame, or with `stream` one for each piece. batch: for a line of a batch."""
    head = {
        "id": ids.completion(),
        "object": "text_completion",
        "created": int(clock.now()),
        "model": model,
        "system_fingerprint": fingerprint,
    }
    echoes = [await _echoed(plan, prompt, engine, batch=batch) for prompt in plan.prompts] if plan.echo else []
    write = _streamed if request.get("stream") else _whole
    async with (
        aclosing(_spoken(plan, engine, batch=batch)) as spoken,
        aclosing(write(plan, spoken, echoes, head, request)) as frames,
    ):
        async for frame in frames:
            yield frame


async def _spoken(plan: Plan, engine: TextEngine, *, batch: bool) -> AsyncGenerator[Spoken, None]:
    """All candidates of the first prompt, then of the next. Nothing to generate ends at once."""
    if not plan.samplings[0].max_tokens:
        for number in range(len(plan.prompts) * len(plan.samplings)):
            yield Spoken(number, Piece("", finish="length"))
        return
    generations = [
        engine.generate(prompt.tokens, sampling, None, batch=batch)
        for prompt in plan.prompts
        for sampling in plan.samplings
    ]
    async with aclosing(together(generations)) as pieces:
        async for piece in pieces:
            yield piece


async def _whole(
    plan: Plan,
    spoken: AsyncGenerator[Spoken, None],
    echoes: Sequence[dict[str, Any]],
    head: Mapping[str, Any],
    request: Mapping[str, Any],
) -> AsyncGenerator[Frame, None]:
    each = len(plan.samplings)
    candidates = [_Candidate(prompt) for prompt in plan.prompts for _ in range(each)]
    count = Count([len(prompt.tokens) for prompt in plan.prompts], each)
    async for number, piece in spoken:
        candidates[number].take(piece)
        if piece.finish:
            count.take(number, piece)
    choices: list[dict[str, Any]] = []
    for at in range(len(plan.prompts)):
        of_prompt = candidates[at * each : (at + 1) * each]
        if plan.keep < each:
            of_prompt = sorted(of_prompt, key=lambda c: logprobs.mean(c.tokens), reverse=True)[: plan.keep]
        for candidate in of_prompt:
            choice = _choice(len(choices), "".join(candidate.text), candidate, plan)
            choices.append(_with_echo(choice, echoes[at]) if echoes else choice)
    body = {**head, "choices": choices, "usage": shown(count.usage)}
    yield Frame(_encode(body), usage=count.usage, model=str(head["model"]))


async def _streamed(
    plan: Plan,
    spoken: AsyncGenerator[Spoken, None],
    echoes: Sequence[dict[str, Any]],
    head: Mapping[str, Any],
    request: Mapping[str, Any],
) -> AsyncGenerator[Frame, None]:
    each = len(plan.samplings)
    candidates = [_Candidate(prompt) for prompt in plan.prompts for _ in range(each)]
    count = Count([len(prompt.tokens) for prompt in plan.prompts], each)
    include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    null_usage: dict[str, Any] = {"usage": None} if include_usage else {}
    unsaid = set(range(len(candidates))) if echoes else set[int]()
    first: str | None = str(head["model"])
    async for number, piece in spoken:
        candidate = candidates[number]
        candidate.take(piece)
        choice = _choice(number, piece.text, candidate, plan)
        if number in unsaid:
            unsaid.discard(number)
            choice = _with_echo(choice, echoes[number // each])
        data = sse.event(_encode({**head, "choices": [choice], **null_usage}))
        if piece.finish is None:
            yield Frame(data, model=first)
        else:
            count.take(number, piece)
            if not count.open and include_usage:
                data += sse.event(_encode({**head, "choices": [], "usage": shown(count.usage)}))
            yield Frame(data, model=first, usage=None if count.open else count.usage)
        first = None


def _choice(index: int, text: str, candidate: _Candidate, plan: Plan) -> dict[str, Any]:
    return {
        "text": text,
        "index": index,
        "logprobs": None if plan.top is None else candidate.told(plan.top),
        "finish_reason": candidate.finish,
    }


async def _echoed(plan: Plan, prompt: Prompt, engine: TextEngine, *, batch: bool) -> dict[str, Any]:
    """The prompt as the beginning of the answer; with `logprobs` it is scored."""
    if plan.top is None or not prompt.tokens:
        return {"text": prompt.text, "logprobs": None}
    scores = await engine.score(prompt.tokens, plan.top, batch=batch)
    texts = [
        await engine.detokenize([token]) if score is None else score.token for token, score in _pairs(prompt, scores)
    ]
    own = scores[prompt.pad :]
    return {"text": prompt.text, "logprobs": logprobs.lists(own, texts, top=plan.top, offset=0)}


def _pairs(prompt: Prompt, scores: Sequence[TokenLogprob | None]) -> list[tuple[int, TokenLogprob | None]]:
    return list(zip(prompt.tokens, scores, strict=True))[prompt.pad :]


def _with_echo(choice: dict[str, Any], echo: dict[str, Any]) -> dict[str, Any]:
    lists, before = choice["logprobs"], echo["logprobs"]
    if lists is not None and before is not None:
        lists = {key: None if lists[key] is None else before[key] + lists[key] for key in lists}
    return {**choice, "text": echo["text"] + choice["text"], "logprobs": lists}
