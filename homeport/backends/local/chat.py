"""A planned chat completion runs: pieces of the engine go out as one `ChatCompletion`, or as its chunks."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from homeport import clock, ids
from homeport.backends.capabilities import Frame
from homeport.backends.local import chunks, logprobs
from homeport.backends.local.chat_choice import Choice
from homeport.backends.local.chat_plan import Plan
from homeport.backends.local.choices import Spoken, together
from homeport.backends.local.chunks import ChunkWriter
from homeport.backends.local.usage import Count, shown
from homeport.backends.templates.tool_calls import Arguments, CallBegan, Event, Text
from homeport.backends.text import TextEngine, TokenLogprob

_encode = msgspec.json.Encoder().encode


async def answer(
    plan: Plan, engine: TextEngine, request: Mapping[str, Any], *, model: str, fingerprint: str, batch: bool
) -> AsyncGenerator[Frame, None]:
    """One frame, or with `stream` one for each piece that says something. batch: for a line of a batch."""
    generations = [engine.generate(plan.prompt, sampling, plan.constraint, batch=batch) for sampling in plan.samplings]
    write = _streamed if request.get("stream") else _whole
    async with (
        aclosing(together(generations)) as spoken,
        aclosing(write(plan, spoken, request, model=model, fingerprint=fingerprint)) as frames,
    ):
        async for frame in frames:
            yield frame


async def _whole(
    plan: Plan, spoken: AsyncGenerator[Spoken, None], request: Mapping[str, Any], *, model: str, fingerprint: str
) -> AsyncGenerator[Frame, None]:
    choices = [Choice(plan) for _ in plan.samplings]
    count = Count([len(plan.prompt)], len(choices))
    async for index, piece in spoken:
        if any(isinstance(event, Text) for event in choices[index].take(piece)) or piece.finish:
            choices[index].told()
        if piece.finish:
            count.take(index, piece)
    asked = request.get("logprobs")
    completion: dict[str, Any] = {
        "id": ids.chat_completion(),
        "object": "chat.completion",
        "created": int(clock.now()),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": choice.message(),
                "logprobs": _logprobs(choice.logprobs) if asked and choice.content is not None else None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": shown(count.usage),
        "system_fingerprint": fingerprint,
    }
    if request.get("service_tier"):
        completion["service_tier"] = "default"
    if request.get("metadata") is not None:
        completion["metadata"] = request["metadata"]
    yield Frame(_encode(completion), usage=count.usage, model=model)


async def _streamed(
    plan: Plan, spoken: AsyncGenerator[Spoken, None], request: Mapping[str, Any], *, model: str, fingerprint: str
) -> AsyncGenerator[Frame, None]:
    options = request.get("stream_options") or {}
    include_usage = bool(options.get("include_usage"))
    writer = ChunkWriter(
        identifier=ids.chat_completion(),
        created=int(clock.now()),
        model=model,
        fingerprint=fingerprint,
        service_tier="default" if request.get("service_tier") else None,
        include_usage=include_usage,
        obfuscate=bool(options.get("include_obfuscation")),
    )
    choices = [Choice(plan) for _ in plan.samplings]
    count = Count([len(plan.prompt)], len(choices))
    first: str | None = model
    async for index, piece in spoken:
        choice = choices[index]
        events = choice.take(piece)
        if piece.finish is None and choice.begun and not events:
            continue
        data = _chunks(writer, index, choice, events)
        if piece.finish is None:
            yield Frame(data, model=first)
        else:
            count.take(index, piece)
            last = not count.open
            if last and include_usage:
                data += writer.usage(shown(count.usage))
            yield Frame(data, model=first, usage=count.usage if last else None)
        first = None


def _chunks(writer: ChunkWriter, index: int, choice: Choice, events: Sequence[Event]) -> bytes:
    """What one piece adds: the role before anything else, the finish reason behind all."""
    written: list[bytes] = []
    offer = choice.offer
    if not choice.begun:
        choice.begun = True
        written.append(writer.role(index, content=None if offer.required else ""))
    for event in events:
        match event:
            case Text(text):
                told = choice.told()
                written.append(writer.content(index, text, _encode(_logprobs(told)) if told else b"null"))
            case CallBegan(name) if offer.older:
                written.append(writer.delta(index, chunks.function_began(name)))
            case CallBegan(name):
                call = choice.calls[choice.calls_told]
                written.append(writer.delta(index, chunks.call_began(choice.calls_told, call.id, name)))
                choice.calls_told += 1
            case Arguments(text) if offer.older:
                written.append(writer.delta(index, chunks.function_arguments(text)))
            case Arguments(text):
                written.append(writer.delta(index, chunks.call_arguments(choice.calls_told - 1, text)))
    if choice.finish is not None:
        told = choice.told()
        ending = _encode(_logprobs(told)) if told else b"null"
        written.append(writer.delta(index, b"{}", finish=choice.finish, logprobs=ending))
    return written[0] if len(written) == 1 else b"".join(written)


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {"content": logprobs.entries(tokens), "refusal": None}
