"""What HTTP costs embeddings: sentences a second through Homeport's door, beside the same engine called directly.

`http` is a Homeport of its own process, asked by the load generator. `direct` is the same engine class with the same
settings in this process, called through the VectorEngine seam by as many callers. `bare` is the library below it, with
nothing of ours between but what it needs: onnxruntime with our tokenizer, of like lengths in the same batches; of
llama.cpp its own call, which tokenises as well. `llama-server` is the peer: llama.cpp's own HTTP server, from the same
library, in a process of its own. A round measures all, one after the other. All of them use one thread to compute.

The sentences are real: this package's own comments and docstrings. All requests of a measurement send the same ones.
"""

import ast
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import homeport
from bench import processes
from bench.loading import measure, request_file
from bench.processes import Served
from bench.report import Goal, paired, table
from homeport.backends.engines.llama_vectors import LlamaVectors
from homeport.backends.engines.onnx import Onnx

PATH = "/v1/embeddings"
HTTP, DIRECT, BARE, PEER = "http", "direct", "bare", "llama-server"
#: (requests at once, sentences of each): a program that embeds documents, and many that ask for one vector.
SHAPES = ((4, 32), (16, 1))
#: As backing.py has it.
_PARALLEL = 16

SETTINGS = """\
[models.bench]
path = "{path}"
threads = 1
parallel = {parallel}

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""
#: llama.cpp's own server, as much like ours as its settings go.
LLAMA_SERVER = """\
import signal
import xllamacpp
made = xllamacpp.CommonParams()
made.model.path = {path!r}
made.embedding = True
made.n_ctx = {parallel} * 512
made.n_batch = made.n_ubatch = 512
made.n_parallel = {parallel}
made.cpuparams.n_threads = made.cpuparams_batch.n_threads = 1
made.hostnames, made.port, made.api_keys = ["127.0.0.1"], {port}, [{key!r}]
made.verbosity = -1
server = xllamacpp.Server(made)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
"""


@dataclass(frozen=True)
class Rate:
    """cpu_ms: CPU milliseconds per sentence of the process that the engine runs in, the engine's own included."""

    sentences: float
    cpu_ms: float


@dataclass
class Embeddings:
    """rounds: engine -> `REQUESTS AT ONCE x SENTENCES OF EACH` -> source -> a Rate for each round. tokens: engine -> of
    a sentence, on average."""

    tokens: dict[str, float] = field(default_factory=dict)
    rounds: dict[str, dict[str, dict[str, list[Rate]]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Medians of the rounds."""
        rows = []
        for engine, shapes in self.rounds.items():
            for shape, sources in shapes.items():
                bare = [one.sentences for one in sources[BARE]]
                for name, rounds in sources.items():
                    each = [one.sentences for one in rounds]
                    share = paired(each, bare)
                    row = [f"{engine}, {name}", shape, f"{statistics.median(each):,.0f}"]
                    row += ["" if share is None else f"{share:.1%}", f"{min(each):,.0f} to {max(each):,.0f}"]
                    rows.append([*row, f"{statistics.median(one.cpu_ms for one in rounds):.2f}"])
        head = ["", "at once x sentences", "sentences/s", "of bare", "lowest to highest round", "CPU ms/sentence"]
        tokens = ", ".join(f"{average:.1f} on {engine}" for engine, average in self.tokens.items())
        return f"embeddings; tokens of a sentence: {tokens}\n" + table(head, rows)

    def goals(self) -> list[Goal]:
        goals: list[Goal] = []
        for engine, shapes in self.rounds.items():
            for shape, sources in shapes.items():
                rates = {source: [one.sentences for one in rounds] for source, rounds in sources.items()}
                ours = rates[HTTP]
                bare = paired(ours, rates[BARE])
                name = f"embeddings on {engine}, {shape}: sentences/s, of"
                goals.append(Goal(f"{name} the bare engine's", bare and bare * 100, 90, 95, rising=True, unit="%"))
                if PEER in rates:
                    peer = paired(ours, rates[PEER])
                    goals.append(Goal(f"{name} {PEER}'s", peer, 0.9, 1.0, rising=True, unit="x"))
        return goals


Engine = Onnx | LlamaVectors
#: Requests at once, requests -> what they took.
Source = Callable[[int, int], Awaitable[Rate]]


def run(
    folder: Path, files: dict[str, Path], *, sentences: int, rounds: int, shapes: Sequence[tuple[int, int]] = SHAPES
) -> Embeddings:
    """files: engine (`onnx`, `llama_cpp`) -> its model's file. sentences: of one measurement. Raises NotStarted,
    NotBuilt."""
    found = Embeddings()
    for name, file in files.items():
        home = folder / name
        settings = SETTINGS.format(path=file, parallel=_PARALLEL)
        with ExitStack() as stack:
            server = stack.enter_context(processes.homeport(home, settings))
            peer = stack.enter_context(llama_server(home, file)) if name == "llama_cpp" else None
            asyncio.run(_measured(found, name, home, server, peer, file, sentences, rounds, shapes))
    return found


async def _measured(
    found: Embeddings,
    name: str,
    folder: Path,
    server: Served,
    peer: Served | None,
    file: Path,
    sentences: int,
    rounds: int,
    shapes: Sequence[tuple[int, int]],
) -> None:
    engine: Engine = (Onnx if name == "onnx" else LlamaVectors)(file, threads=1, parallel=_PARALLEL)
    await engine.start()
    try:
        for callers, each in shapes:
            texts = _texts(each)
            found.tokens.setdefault(name, sum(one.tokens for one in await engine.embed(texts)) / each)
            count = max(1, sentences // each)
            sources: dict[str, Source] = {
                HTTP: _through(folder, server, texts),
                DIRECT: _direct(engine, texts),
                BARE: _bare(engine, texts),
            }
            if peer is not None:
                sources[PEER] = _through(folder, peer, texts)
            found.rounds.setdefault(name, {})[f"{callers} x {each}"] = await _alternated(
                sources, callers, count, rounds
            )
    finally:
        await engine.close()


def _texts(count: int) -> list[str]:
    """Lines of prose, of all lengths."""
    lines = [line for file in sorted(Path(homeport.__file__).parent.rglob("*.py")) for line in _prose(file)]
    step = max(1, len(lines) // count)
    return lines[::step][:count]


def _prose(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (line.strip() for line in (ast.get_docstring(node) or "").splitlines() if len(line.split()) > 5)


def _through(folder: Path, server: Served, texts: Sequence[str]) -> Source:
    request = {"model": "bench", "input": texts[0] if len(texts) == 1 else texts, "encoding_format": "base64"}
    file = request_file(folder, request, path=PATH)

    async def source(callers: int, count: int) -> Rate:
        taken = await asyncio.to_thread(measure, server, file, callers, most=count, pinned=False)
        if taken.errors or taken.count != count:
            raise processes.NotStarted(f"{taken.errors} of {count} answers were wrong")
        return Rate(count * len(texts) / taken.seconds, taken.cpu_us / len(texts) / 1e3)

    return source


def _direct(engine: Engine, texts: Sequence[str]) -> Source:
    async def source(callers: int, count: int) -> Rate:
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await engine.embed(texts)

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return _rate(count * len(texts), began, cpu)

    return source


def _bare(engine: Engine, texts: Sequence[str]) -> Source:
    """What the callers send at once, again and again: sentences of like length in batches as large as the engine's."""
    batch = _bare_onnx(engine) if isinstance(engine, Onnx) else _bare_llama(engine)

    def work(callers: int, count: int) -> Rate:
        sentences = sorted([*texts] * callers, key=len)
        left = count * len(texts)
        began, cpu = time.perf_counter(), time.process_time()
        while left > 0:
            for at in range(0, min(left, len(sentences)), _PARALLEL):
                batch(sentences[at : at + _PARALLEL])
            left -= len(sentences)
        return _rate(count * len(texts), began, cpu)

    async def source(callers: int, count: int) -> Rate:
        return await asyncio.to_thread(work, callers, count)

    return source


def _rate(sentences: int, began: float, cpu: float) -> Rate:
    """began, cpu: of the wall clock and of this process, then."""
    return Rate(sentences / (time.perf_counter() - began), (time.process_time() - cpu) / sentences * 1e3)


def _bare_onnx(engine: Onnx) -> Callable[[Sequence[str]], object]:
    return lambda texts: engine._run(engine._tokenized(texts))


def _bare_llama(engine: LlamaVectors) -> Callable[[Sequence[str]], object]:
    library: Any = engine._loaded.library
    return lambda texts: library.handle_embeddings({"input": texts, "encoding_format": "base64"})


async def _alternated(sources: dict[str, Source], callers: int, count: int, rounds: int) -> dict[str, list[Rate]]:
    """Who begins changes from round to round; the first round warms up and does not count."""
    found: dict[str, list[Rate]] = {name: [] for name in sources}
    order = list(sources)
    for place in range(rounds + 1):
        for name in order:
            rate = await sources[name](callers, count if place else callers)
            if place:
                found[name].append(rate)
        order.append(order.pop(0))
    return found


@contextmanager
def llama_server(folder: Path, file: Path) -> Iterator[Served]:
    """Raises NotStarted."""
    port, log = processes.free_port(), folder / "llama-server.log"
    script = LLAMA_SERVER.format(path=str(file), parallel=_PARALLEL, port=port, key=processes.KEY)
    with processes.running([sys.executable, "-c", script], log) as process:
        processes.wait_for(process, port, "/health", log)
        yield Served(process.pid, port, port)
