"""Files into a vector store: pages a second from the first upload to `completed`, and what of it takes the time.

The files are PDF, Word, HTML and plain text in equal parts, sent through `/v1/files` and put into a store as one batch.
Beside them, in turns and with the same settings: reading the same files in child processes, cutting what was read into
chunks, and the bare engine's vectors of the very windows that the server asks for, in batches as large as the engine's.
The server does these beside each other where it can, so their shares may add up to more than the whole.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import openai

from bench import documents, processes
from bench.processes import KEY, Served
from bench.report import Goal, paired, table
from homeport.backends.capabilities import Call, Frame
from homeport.backends.engines.onnx import Onnx
from homeport.backends.local.embeddings import LocalEmbeddings
from homeport.backends.text import Occupancy
from homeport.backends.vectors import Input, Vector, VectorCard
from homeport.documents.chunking import Chunk, chunks
from homeport.documents.document import Document, Page
from homeport.documents.reader import Reader
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.pipeline import StraightLine
from homeport.jobs.batch_lines import Callers
from homeport.jobs.embedding import Embedder, Windows
from homeport.jobs.ingestion import BLOCK, HALF

KINDS = ("pdf", "docx", "html", "txt")
INGESTION, READING, CUTTING, VECTORS = "upload to completed", "reading alone", "cutting alone", "vectors alone"
#: What a store takes by default.
_SIZE, _OVERLAP = 800, 400
#: Inputs and tokens of the engine's batches (engines/onnx.py; backing.py has the former).
_PARALLEL, _TOKENS = 16, 4096
#: A look costs the server some milliseconds.
_LOOK_SECONDS = 0.2
_PATIENCE = 1800.0

SETTINGS = """\
[models.bench]
path = "{path}"
threads = 1
parallel = {parallel}

[vector_stores]
embedding_model = "bench"

[tiers.home.default]  # every step is on, and none refuses the load
max_requests_per_1_minute = 1_000_000_000
max_tokens_per_1_minute = 1_000_000_000_000
"""


Made = TypeVar("Made")


class File(NamedTuple):
    name: str
    content: bytes


@dataclass(frozen=True)
class Taken:
    """seconds: of the wall clock. cpu: seconds of all processes that did it."""

    seconds: float
    cpu: float


@dataclass
class Ingestion:
    """rounds: what was done -> what it took, of each round. tokens: of the windows, together."""

    files: int
    pages: int
    chunks: int = 0
    windows: int = 0
    tokens: int = 0
    rounds: dict[str, list[Taken]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Medians of the rounds."""
        rows = []
        for name, rounds in self.rounds.items():
            seconds = statistics.median(one.seconds for one in rounds)
            cpu = statistics.median(one.cpu for one in rounds)
            share = self._share(name)
            row = [name, f"{self.pages / seconds:,.1f}", f"{seconds:.2f}", "" if share is None else f"{share:.0%}"]
            rows.append([*row, f"{cpu / self.pages * 1e3:.1f}"])
        title = f"ingestion: {self.files} files, {self.pages} pages, {self.chunks:,} chunks, {self.windows:,} windows"
        head = ["", "pages/s", "seconds", "of the whole", "CPU ms/page"]
        return f"{title}, {self.tokens:,} tokens\n{table(head, rows)}"

    def goals(self) -> list[Goal]:
        """What goes beyond the vectors is ours; where the model is fast enough, it is what there is."""
        value = self._share(VECTORS)
        name = "ingestion: pages/s, of what the bare engine's vectors would allow"
        return [Goal(name, value and value * 100, 80, 90, rising=True, unit="%")]

    def _share(self, name: str) -> float | None:
        """Of the seconds of the whole, what this alone takes."""
        whole = [one.seconds for one in self.rounds[INGESTION]]
        return paired([one.seconds for one in self.rounds[name]], whole)


def run(folder: Path, model: Path, *, files: int, pages: int, rounds: int) -> Ingestion:
    """files: of each kind, of so many pages each. Raises NotStarted."""
    made = [File(f"{at}.{kind}", documents.KINDS[kind](pages)) for kind in KINDS for at in range(files)]
    found = Ingestion(len(made), len(made) * pages)
    settings = SETTINGS.format(path=model, parallel=_PARALLEL)
    with (
        processes.homeport(folder, settings) as server,
        openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=KEY) as client,
        asyncio.Runner() as runner,
        _engine(runner, model) as engine,
    ):
        _ingest(client, server, [File("first.txt", b"The tokenizer is read now.")])
        _cut(Document("text/plain", [Page("And here.", None)]))
        for _ in range(rounds):
            ingested = _ingest(client, server, made)
            alone = _alone(runner, engine, folder, made, found)
            for name, taken in ({INGESTION: ingested} | alone).items():
                found.rounds.setdefault(name, []).append(taken)
    return found


@contextmanager
def _engine(runner: asyncio.Runner, model: Path) -> Iterator[Onnx]:
    engine = Onnx(model, threads=1, parallel=_PARALLEL)
    runner.run(engine.start())
    try:
        yield engine
    finally:
        runner.run(engine.close())


def _ingest(client: openai.OpenAI, server: Served, files: Sequence[File]) -> Taken:
    """Into a store of its own, which is deleted again. Raises NotStarted."""
    store = client.vector_stores.create()
    began, cpu = time.perf_counter(), server.cpu()
    ids = [client.files.create(file=file, purpose="assistants").id for file in files]
    batch = client.vector_stores.file_batches.create(store.id, file_ids=ids)
    while batch.status == "in_progress" and time.perf_counter() - began < _PATIENCE:
        time.sleep(_LOOK_SECONDS)
        batch = client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    taken = Taken(time.perf_counter() - began, server.cpu() - cpu)
    if batch.file_counts.completed != len(files):
        raise processes.NotStarted(f"of {len(files)} files, {batch.file_counts.completed} were completed")
    client.vector_stores.delete(store.id)
    for id in ids:
        client.files.delete(id)
    return taken


def _alone(
    runner: asyncio.Runner, engine: Onnx, folder: Path, files: Sequence[File], found: Ingestion
) -> dict[str, Taken]:
    """Each part, by name. found: gets how much there was to do."""
    read, reading = _timed(lambda: runner.run(_read(folder, files)))
    cut, cutting = _timed(lambda: [_cut(one) for one in read])
    windows = runner.run(_windows(engine, cut))
    _, vectors = _timed(lambda: _make(engine, windows))
    found.chunks = sum(map(len, cut))
    found.windows, found.tokens = len(windows), sum(map(len, windows))
    return {READING: reading, CUTTING: cutting, VECTORS: vectors}


def _timed(work: Callable[[], Made]) -> tuple[Made, Taken]:
    began, cpu = time.perf_counter(), documents.taken_by_children() + time.process_time()
    done = work()
    return done, Taken(time.perf_counter() - began, documents.taken_by_children() + time.process_time() - cpu)


async def _read(folder: Path, files: Sequence[File]) -> list[Document]:
    """One after the other, as a server does by default."""
    reader = Reader(seconds=60, memory_mb=1024, at_once=1)
    place = folder / "content"
    found = []
    for file in files:
        place.write_bytes(file.content)
        found.append(await reader.read(place, file.name))
    await reader.close()
    return found


def _cut(document: Document) -> list[Chunk]:
    return list(chunks(document, _SIZE, _OVERLAP))


class _Tokenizing:
    """VectorEngine that makes tokens, and refuses, as the real one does, and keeps the tokens in place of vectors."""

    name = "tokenizing"

    def __init__(self, engine: Onnx) -> None:
        self._engine = engine
        self.made: list[list[int]] = []

    @property
    def card(self) -> VectorCard:
        return self._engine.card

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def occupancy(self) -> Sequence[Occupancy]:
        return ()

    async def embed(self, inputs: Sequence[Input], *, batch: bool = False) -> list[Vector]:
        made = self._engine._tokenized(inputs)
        self.made += made
        return [Vector(b"\0\0\x80\x3f", len(one)) for one in made]


class _Line:
    """In the place of the straight line, and of whose account it is on: straight to the engine."""

    def __init__(self, embeddings: LocalEmbeddings) -> None:
        self._embeddings = embeddings

    async def of(self, key_id: str) -> None: ...

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame:
        return (await self._embeddings.embed(call)).first


async def _windows(engine: Onnx, cut: Sequence[Sequence[Chunk]]) -> list[list[int]]:
    """Tokens of every input that is not refused, when chunks are asked for as jobs/ingestion.py does it."""
    tokenizing = _Tokenizing(engine)
    line = _Line(LocalEmbeddings("bench", tokenizing))
    embedder = Embedder(cast("StraightLine", line), cast("Callers", line))
    for document in cut:
        windows = Windows()
        coming = iter(document)
        while block := [chunk.text for chunk in islice(coming, BLOCK)]:
            halves = [block[at : at + HALF] for at in range(0, len(block), HALF)]
            await asyncio.gather(*(embedder.embed("", "bench", half, windows=windows) for half in halves))
    return tokenizing.made


def _make(engine: Onnx, windows: Sequence[list[int]]) -> None:
    """The longest first, those of like length together."""
    left = sorted(windows, key=len)
    while left:
        fit = min(_PARALLEL, _TOKENS // len(left[-1]))
        engine._run(left[-fit:])
        del left[-fit:]
