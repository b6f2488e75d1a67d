"""Search of a vector store: how long it takes and what memory it takes, and how both grow with the store.

Vectors have the default model's width and lie in clusters, as those of texts do. Texts are words drawn as often as
words are (Zipf), 200 in a chunk. A query is five of them, of which none is among the hundred most frequent (such
words are left out of queries), and the vector of a text near some chunk; making that vector is not part of it. With a
filter a twentieth of the files remains.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng

from bench.report import Goal, table
from bench.stores import NAMES, Chunks, filled
from homeport.control.owners import Owner
from homeport.control.vector_search import Embedded, VectorSearch, Weights
from homeport.wire.vector_store_search import ComparisonFilter
from tests.store.vector_stores import MODEL

SIZES = (1_000, 10_000, 100_000)
WAYS = {"both": Weights(1, 1), "vectors": Weights(1, 0), "words": Weights(0, 1)}
FILTERED = "both, filtered"
WIDTH = 384
_WORDS, _VOCABULARY = 200, 20_000


@dataclass
class Latency:
    p50_ms: float
    p99_ms: float


@dataclass
class Searches:
    """Of a database with so many chunks. filling: seconds. first_ms: the first search, which reads the vectors.
    memory: bytes that the process has more after it. by: way -> latency."""

    chunks: int
    filling: float
    first_ms: float
    memory: int
    by: dict[str, Latency]


@dataclass
class Found:
    """by: database -> sizes."""

    by: dict[str, list[Searches]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """A row for each size of each database."""
        rows = [
            [
                f"{name}, {one.chunks:,} chunks",
                *(f"{one.by[way].p50_ms:.1f} / {one.by[way].p99_ms:.1f}" for way in one.by),
                f"{one.first_ms:,.0f}",
                f"{one.memory / 1e6:,.0f}",
                f"{one.chunks / one.filling:,.0f}",
            ]
            for name, sizes in self.by.items()
            for one in sizes
        ]
        ways = [f"{way}, p50 / p99 ms" for sizes in self.by.values() for way in sizes[0].by][: len(rows[0]) - 4]
        return "search\n" + table(["", *ways, "first ms", "memory MB", "chunks put in a second"], rows)

    def goals(self) -> list[Goal]:
        return []


class _Near:
    """Makes of a query the vector of a text near some chunk, in no time."""

    def __init__(self, vectors: Any, random: Generator) -> None:
        self._vectors = vectors
        self._random = random

    async def embed(self, who: Owner, model: str, texts: Sequence[str]) -> Embedded:
        places = self._random.integers(len(self._vectors), size=len(texts))
        near = _units(self._vectors[places] + self._random.normal(0, 0.03, (len(texts), WIDTH)))
        return Embedded(MODEL, [one.tobytes() for one in near], WIDTH)

    async def rewrite(self, who: Owner, question: str) -> str | None:
        return None

    async def rerank(self, who: Owner, query: str, texts: Sequence[str]) -> Sequence[float] | None:
        return None


def run(folder: Path, *, sizes: Sequence[int] = SIZES, count: int = 200, names: Sequence[str] = NAMES) -> Found:
    """count: of searches, each way."""
    found = Found()
    for size in sizes:
        random = default_rng(size)
        vectors = _vectors(random, size)
        chunks = Chunks(_texts(random, size, _WORDS), [one.tobytes() for one in vectors], WIDTH)
        queries = _texts(random, count, 5, common=100)
        part = folder / str(size)
        part.mkdir()
        with asyncio.Runner() as runner:
            for name, search, who, store, seconds in filled(part, runner, _Near(vectors, random), chunks, names=names):
                gc.collect()
                before = _resident()
                first = runner.run(_timed(search, who, store, queries[:1], WAYS["both"]))
                memory = _resident() - before
                print(f"{name}: {size:,} chunks are searched", file=sys.stderr, flush=True)
                by = {
                    way: _latency(runner.run(_timed(search, who, store, queries, weights)))
                    for way, weights in WAYS.items()
                }
                few = ComparisonFilter("eq", "part", 7.0)
                by[FILTERED] = _latency(runner.run(_timed(search, who, store, queries, WAYS["both"], few)))
                found.by.setdefault(name, []).append(Searches(size, seconds, first[0], memory, by))
    return found


async def _timed(
    search: VectorSearch,
    who: Owner,
    store: str,
    queries: Sequence[str],
    weights: Weights,
    filters: ComparisonFilter | None = None,
) -> list[float]:
    """Milliseconds of each."""
    taken = []
    for query in queries:
        began = time.perf_counter()
        await search.find(who, [store], [query], most=10, weights=weights, filters=filters)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


def _latency(taken: Sequence[float]) -> Latency:
    return Latency(float(np.percentile(taken, 50)), float(np.percentile(taken, 99)))


def _vectors(random: Generator, size: int) -> Any:
    centres = _units(random.normal(size=(max(1, size // 50), WIDTH)))
    return _units(centres[random.integers(len(centres), size=size)] + random.normal(0, 0.04, (size, WIDTH)))


def _units(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _texts(random: Generator, count: int, words: int, *, common: int = 0) -> list[str]:
    """common: so many of the most frequent words are in none."""
    weights = 1 / np.arange(1, _VOCABULARY + 1)
    weights[:common] = 0
    drawn = random.choice(_VOCABULARY, size=(count, words), p=weights / weights.sum())
    return [" ".join(f"w{word}" for word in text) for text in drawn]


def _resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
