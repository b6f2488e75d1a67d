"""What HTTP costs a local model: tokens through Homeport's door, beside the same engine called directly.

`http` is a Homeport of its own process, asked by the load generator. `direct` is the same engine class with the same
settings in this process, called through the TextEngine seam with the very prompt that Homeport makes of the request.
`bare` is the library below it (xllamacpp), with nothing of ours between. A round measures all three, one after the
other. Every request has a seed, which keeps llama.cpp from reusing the prompt of the one before; end-of-text is banned,
so all answers have the same length, which is checked against the counts that come back.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import processes
from bench.loading import measure, request_file
from bench.report import Goal, paired, table
from bench.startup import with_model
from homeport.backends.engines import llama_cpp
from homeport.backends.local import chat_plan
from homeport.backends.local.chat_plan import Plan
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.settings import DEFAULT_MODEL

ALONE_TOKENS = 128
TOGETHER_TOKENS = 48
TOGETHER = 16
SOURCES = ("http", "direct", "bare")
_WORDS = "Homeport answers the OpenAI REST API at home, with local models and with upstreams. "


@dataclass(frozen=True)
class Speed:
    """One batch of requests, sent at once. first: seconds to the first text, the median of the batch.

    cpu_ms: CPU milliseconds per token of the process that the engine runs in, the engine's own included.
    """

    tokens_per_second: float
    first: float
    cpu_ms: float


@dataclass
class Engine:
    """rounds: streams at once -> source -> a Speed for each round."""

    prompt_tokens: int = 0
    rounds: dict[int, dict[str, list[Speed]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        head = ["", "streams", "tokens/s", "of direct", "lowest to highest round", "first text ms", "CPU ms/token"]
        rows = []
        for streams, sources in self.rounds.items():
            for name, speeds in sources.items():
                each = [one.tokens_per_second for one in speeds]
                share = _paired_tokens(speeds, sources["direct"])
                row = [name, str(streams), f"{statistics.median(each):.1f}", "" if share is None else f"{share:.1%}"]
                row += [
                    f"{min(each):.1f} to {max(each):.1f}",
                    f"{statistics.median(one.first for one in speeds) * 1e3:.0f}",
                ]
                rows.append([*row, f"{statistics.median(one.cpu_ms for one in speeds):.2f}"])
        return f"local engine, a prompt of {self.prompt_tokens} tokens\n{table(head, rows)}"

    def goals(self) -> list[Goal]:
        return [
            Goal(
                f"local engine, {streams} at once: tokens/s, of the engine's",
                value and value * 100,
                97,
                rising=True,
                unit="%",
            )
            for streams, sources in self.rounds.items()
            for value in [_paired_tokens(sources["http"], sources["direct"])]
        ]


class WrongLength(Exception):
    """An answer had fewer tokens than the request fixed, so its speed cannot be compared."""


def run(folder: Path, model: Path, *, rounds: int) -> Engine:
    """model: the default model's GGUF. Raises NotStarted, NotBuilt, WrongLength."""
    with processes.homeport(folder, with_model(model)) as server:
        return asyncio.run(_measured(folder, server, model, rounds))


async def _measured(folder: Path, server: processes.Served, model: Path, rounds: int) -> Engine:
    engine = llama_cpp.LlamaCpp(model)
    await engine.start()
    try:
        found = Engine()
        for streams, tokens in ((1, ALONE_TOKENS), (TOGETHER, TOGETHER_TOKENS)):
            request = await asked(engine, tokens)
            plan = await chat_plan.planned(request, DEFAULT_MODEL, engine, ChatTemplate.of(engine.card))
            found.prompt_tokens = len(plan.prompt)
            sources = _sources(folder, server, engine, request, plan)
            found.rounds[streams] = await _alternated(sources, streams, rounds)
        return found
    finally:
        await engine.close()


async def asked(engine: llama_cpp.LlamaCpp, tokens: int) -> dict[str, Any]:
    """The chat request: a fixed number of tokens, as the control tokens that could end it are banned."""
    ends: set[int] = set()
    for text in {engine.card.eos, "<|im_end|>", "<|endoftext|>"}:
        found = await engine.tokenize(text, special=True)
        if len(found) == 1:
            ends.add(found[0])
    return {
        "model": DEFAULT_MODEL,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": f"{_WORDS}Tell a long story about a harbour."}],
        "max_tokens": tokens,
        "temperature": 0.0,
        "seed": 7,
        "logit_bias": {str(end): -100 for end in sorted(ends)},
    }


Source = Callable[[int], Awaitable[Speed]]


def _sources(
    folder: Path, server: processes.Served, engine: llama_cpp.LlamaCpp, request: dict[str, Any], plan: Plan
) -> dict[str, Source]:
    file = request_file(folder, request)
    tokens = request["max_tokens"]

    async def http(streams: int) -> Speed:
        taken = await asyncio.to_thread(measure, server, file, streams, most=streams, pinned=False)
        if taken.errors:
            raise processes.NotStarted(f"{taken.errors} of {streams} answers were wrong: {json.dumps(asdict(taken))}")
        cpu = taken.cpu_us * taken.count / 1e6
        return _speed(streams * tokens, taken.tokens, taken.seconds, cpu, [taken.first_p50 / 1e6])

    async def direct(streams: int) -> Speed:
        began, cpu = time.perf_counter(), time.process_time()
        ends = await asyncio.gather(*(_one(engine, plan) for _ in range(streams)))
        seconds = time.perf_counter() - began
        counted, firsts = sum(count for count, _ in ends), [first - began for _, first in ends]
        return _speed(streams * tokens, counted, seconds, time.process_time() - cpu, firsts)

    async def bare(streams: int) -> Speed:
        return await asyncio.to_thread(_bare, engine, plan, streams, tokens)

    return {"http": http, "direct": direct, "bare": bare}


async def _one(engine: llama_cpp.LlamaCpp, plan: Plan) -> tuple[int, float]:
    """Tokens of one answer, and when its first text was there."""
    first, count = 0.0, 0
    async for piece in engine.generate(plan.prompt, plan.samplings[0], plan.constraint):
        first = first or time.perf_counter()
        count = piece.completion_tokens or count
    return count, first


def _bare(engine: llama_cpp.LlamaCpp, plan: Plan, streams: int, tokens: int) -> Speed:
    """The library's own call in as many threads, with the engine's own request and no look at the text."""
    library: Any = engine._loaded.library
    firsts: list[float] = []

    def one() -> None:
        seen: list[float] = []

        def take(chunk: dict[str, Any]) -> bool:
            if not seen:
                seen.append(time.perf_counter())
            return False

        library.handle_completions(llama_cpp._request(plan.prompt, plan.samplings[0], None), take)
        firsts.extend(seen)

    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(streams) as threads:
        for done in [threads.submit(one) for _ in range(streams)]:
            done.result()
    seconds = time.perf_counter() - began
    used = time.process_time() - cpu
    return _speed(streams * tokens, streams * tokens, seconds, used, [first - began for first in firsts])


def _speed(asked: int, counted: int, seconds: float, cpu: float, firsts: Sequence[float]) -> Speed:
    """asked, counted: tokens. cpu: seconds. Raises WrongLength."""
    if counted != asked:
        raise WrongLength(f"{counted} tokens came back where {asked} were asked for")
    return Speed(counted / seconds, statistics.median(firsts), cpu / counted * 1e3)


async def _alternated(sources: dict[str, Source], streams: int, rounds: int) -> dict[str, list[Speed]]:
    """Who begins changes from round to round; the first round warms up and does not count."""
    found: dict[str, list[Speed]] = {name: [] for name in sources}
    order = list(sources)
    for place in range(rounds + 1):
        for name in order:
            speed = await sources[name](streams)
            if place:
                found[name].append(speed)
        order.append(order.pop(0))
    return found


def _paired_tokens(ours: Sequence[Speed], theirs: Sequence[Speed]) -> float | None:
    """Of tokens a second."""
    return paired([one.tokens_per_second for one in ours], [one.tokens_per_second for one in theirs])
