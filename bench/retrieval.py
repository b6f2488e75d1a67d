"""Does search find what was meant? Vectors and words together, and each alone, over documentation that is at hand.

The collection: docstrings of the standard library and of packages that are installed. A docstring's first sentence is
the query; what follows it, without the name of what it is about, is the document that should be found, among all
others. Who wrote the sentence wrote it to say what the rest is about, for readers and not for this; many share words
with it, some share none. What is measured: how often that one document is among the first ten (recall@10), and how
near to the top it is (MRR@10: the mean of 1 / its place, 0 below the tenth).
"""

import asyncio
import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

from bench.report import Goal, table
from bench.stores import Chunks, filled
from homeport.backends.engines.onnx import Onnx
from homeport.control.owners import Owner
from homeport.control.vector_search import Embedded, VectorSearch, Weights

PACKAGES = ("numpy", "sqlalchemy", "starlette", "msgspec", "hypothesis", "pytest", "uvicorn", "alembic", "jinja2")
WAYS = {"both": Weights(1, 1), "vectors": Weights(1, 0), "words": Weights(0, 1)}
FIRST = 10
#: Characters of a document: shorter ones say too little to be found, and longer ones are cut.
_SHORTEST, _LONGEST = 200, 3000
#: Characters that the model reads at once, about.
_WINDOW = 800


class Known(NamedTuple):
    """A query, and the document that answers it."""

    query: str
    document: str


@dataclass
class Quality:
    recall: float
    mrr: float


@dataclass
class Retrieval:
    """by: database -> way -> how good it is."""

    documents: int = 0
    queries: int = 0
    by: dict[str, dict[str, Quality]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            [f"{name}, {way}", f"{one.recall:.3f}", f"{one.mrr:.3f}"]
            for name, ways in self.by.items()
            for way, one in ways.items()
        ]
        title = f"retrieval: {self.queries:,} queries, {self.documents:,} documents\n"
        return title + table(["", "recall@10", "MRR@10"], rows)

    def goals(self) -> list[Goal]:
        return []


def collection(most: int) -> list[Known]:
    """The same ones on the same machine."""
    found: dict[str, Known] = {}
    for name, text in sorted(_docstrings()):
        known = known_of(name, text)
        if known is not None:
            found.setdefault(known.query, known)
            found.setdefault(known.document, known)  # what stands there twice is one
    every = sorted({*found.values()})
    once = [one for one in every if found[one.document] is one and found[one.query] is one]
    return Random(0).sample(once, min(most, len(once)))


def known_of(name: str, text: str) -> Known | None:
    first, _, rest = inspect.cleandoc(text).partition("\n\n")
    query = " ".join(first.split())
    words = [re.escape(part) for part in name.split(".") if len(part) > 2]
    document = re.sub(rf"\b({'|'.join(words)})\b", "it", rest) if words else rest
    document = document.strip()[:_LONGEST]
    if not 20 <= len(query) <= 200 or len(document) < _SHORTEST or query in document:
        return None
    return Known(query, document)


def _docstrings() -> Iterator[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in _modules():
            for name, thing in inspect.getmembers(module, lambda one: inspect.isroutine(one) or inspect.isclass(one)):
                if name.startswith("_"):
                    continue
                yield from _of(f"{module.__name__}.{name}", thing)
                if inspect.isclass(thing):
                    for inner, method in vars(thing).items():
                        if not inner.startswith("_"):
                            yield from _of(f"{name}.{inner}", method)


def _of(name: str, thing: object) -> Iterator[tuple[str, str]]:
    text = getattr(thing, "__doc__", None)
    if isinstance(text, str):
        yield name, text


def _modules() -> Iterator[ModuleType]:
    for name in sorted(one for one in sys.stdlib_module_names if not one.startswith("_")):
        if name not in ("antigravity", "this", "idlelib", "turtledemo", "turtle", "tkinter", "lib2to3", "test"):
            yield from _imported(name)
    for package in PACKAGES:
        for module in _imported(package):
            yield module
            paths = getattr(module, "__path__", [])
            for info in pkgutil.walk_packages(paths, f"{package}.", onerror=lambda _: None):
                if not any(part.startswith("_") or part in ("tests", "testing") for part in info.name.split(".")):
                    yield from _imported(info.name)


def _imported(name: str) -> Iterator[ModuleType]:
    try:
        yield importlib.import_module(name)
    except BaseException:
        return


class _Model:
    """What makes the vectors, without anything between."""

    def __init__(self, engine: Onnx) -> None:
        self._engine = engine

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        """Of each text one for each window of it, one after the other."""
        windows = [[*_windows(text)] for text in texts]
        made = [one.data for one in await self._engine.embed([part for each in windows for part in each])]
        ends = [sum(len(one) for one in windows[: at + 1]) for at in range(len(windows))]
        return [b"".join(made[end - len(each) : end]) for end, each in zip(ends, windows, strict=True)]

    async def embed(self, who: Owner, model: str, texts: Sequence[str]) -> Embedded:
        vectors = await self._engine.embed(texts)
        return Embedded(model, [one.data for one in vectors], self._engine.card.width)

    async def rewrite(self, who: Owner, question: str) -> str | None:
        return None

    async def rerank(self, who: Owner, query: str, texts: Sequence[str]) -> Sequence[float] | None:
        return None


def _windows(text: str) -> Iterator[str]:
    while text:
        end = len(text) if len(text) <= _WINDOW else text.rfind(" ", _WINDOW // 2, _WINDOW) + 1 or _WINDOW
        if text[:end].strip():
            yield text[:end]
        text = text[end:]


def run(folder: Path, model: Path, *, most: int, queries: int) -> Retrieval:
    """most: documents. model: the folder of the default model for embeddings."""
    known = collection(most)
    asked = Random(1).sample(known, min(queries, len(known)))
    found = Retrieval(len(known), len(asked))
    with asyncio.Runner() as runner:
        engine = Onnx(model)
        runner.run(engine.start())
        maker = _Model(engine)
        vectors: list[bytes] = []
        for at in range(0, len(known), 64):
            vectors += runner.run(maker.vectors([one.document for one in known[at : at + 64]]))
        chunks = Chunks([one.document for one in known], vectors, engine.card.width)
        for name, search, who, store, _ in filled(folder, runner, maker, chunks):
            found.by[name] = {
                way: runner.run(_quality(search, who, store, asked, weights)) for way, weights in WAYS.items()
            }
        runner.run(engine.close())
    return found


async def _quality(search: VectorSearch, who: Owner, store: str, asked: Sequence[Known], weights: Weights) -> Quality:
    places = []
    for known in asked:
        found = await search.find(who, [store], [known.query], most=FIRST, weights=weights)
        texts = [one.text for one in found]
        places.append(texts.index(known.document) + 1 if known.document in texts else None)
    hits = [one for one in places if one is not None]
    return Quality(len(hits) / len(places), sum(1 / one for one in hits) / len(places))
