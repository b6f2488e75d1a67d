"""Chunks whose vectors are the nearest to those of queries: all of a store are looked at, so the nearest are found.

The truth is in the database (`vector_store_chunks.vectors`). Of stores that are searched the vectors are kept in
memory, up to a number of bytes; what was not searched for the longest time goes first. A store that is larger than that
is read anew, piece by piece, whenever it is searched.

What is kept is of one generation of its store. Chunks of a completed file never change, so from one generation to the
next only whole files come and go: those that came are read, those that went are passed over, and are let go of once
they are half of it. Whatever is kept is never written to again, so a search goes on with what it has.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store.database import Database
from homeport.store.tables import vector_store_chunks as chunks
from homeport.store.tables import vector_store_files as files
from homeport.store.tables import vector_stores as stores

Numbers: TypeAlias = NDArray[np.float32]
Whole: TypeAlias = NDArray[np.int64]

#: Rows that are read at once: the event loop has other things to do between two of these.
_ROWS = 500
#: Of a store that is not kept, bytes of a piece.
PIECE = 32 * 2**20
#: Multiplications that take less than a thread's beginning and end.
_FEW = 400_000
#: Part of the vectors below which it is faster to put those that are wanted together first.
_SMALL_PART = 0.2
#: Digits of a similarity that do not depend on how the vectors lie in memory: the same is the same everywhere.
DIGITS = 6


class Ranked(NamedTuple):
    """A chunk, by its number. similarity: cosine, of the nearest of its vectors."""

    seq: int
    similarity: float


class Searched(NamedTuple):
    """A store. width: numbers of a vector of it."""

    seq: int
    generation: int
    width: int


class Index(Protocol):
    async def nearest(
        self, store: Searched, queries: Numbers, *, most: int, where: "sa.ColumnElement[bool] | None" = None
    ) -> list[list[Ranked]]:
        """For each query (of length 1), best first. Of files that are completed, of which `where` is true (of
        `vector_store_files`); the store is as it was at its generation, or is newer. Raises Unavailable."""
        ...


@dataclass(frozen=True, eq=False)
class Segment:
    """Vectors of some files. chunk, file: whose each is, by number; the vectors of a chunk follow each other."""

    rows: Numbers
    chunk: Whole
    file: Whole

    @property
    def bytes(self) -> int:
        return self.rows.nbytes + self.chunk.nbytes + self.file.nbytes

    @cached_property
    def _begins(self) -> Whole:
        """Where each chunk begins."""
        return np.flatnonzero(np.diff(self.chunk, prepend=-1)).astype(np.int64)

    @cached_property
    def _files(self) -> tuple[Whole, Whole]:
        """Its files, and at which place among them that of each row is."""
        each, which = np.unique(self.file, return_inverse=True)
        return each, which.astype(np.int64)

    def wanted(self, allowed: Whole) -> NDArray[np.bool_]:
        """Which rows are of these files."""
        each, which = self._files
        found: NDArray[np.bool_] = np.isin(each, allowed)[which]
        return found

    def only(self, wanted: NDArray[np.bool_]) -> "Segment":
        kept = np.flatnonzero(wanted)
        return self if len(kept) == len(wanted) else Segment(self.rows[kept], self.chunk[kept], self.file[kept])

    def nearest(self, queries: Numbers, most: int, allowed: Whole | None = None) -> list[list[Ranked]]:
        """allowed: files."""
        wanted = None if allowed is None else self.wanted(allowed)
        if wanted is not None and wanted.mean() < _SMALL_PART:  # then it is faster to put these rows together
            return self.only(wanted).nearest(queries, most)
        similar = np.round(queries @ self.rows.T, DIGITS)
        if wanted is not None:
            similar[:, ~wanted] = -np.inf
        if not len(self.rows):
            return [[] for _ in queries]
        begins = self._begins
        if len(begins) < len(self.rows):
            similar = np.maximum.reduceat(similar, begins, axis=1)
        return [_best(each, self.chunk[begins], most) for each in similar]


def _best(similar: Numbers, chunk: Whole, most: int) -> list[Ranked]:
    """Equals in the order of their numbers, also where not all of them are among the best."""
    least = np.partition(similar, -most)[-most] if len(similar) > most else -np.inf
    some = np.flatnonzero((similar >= least) & (similar > -np.inf))
    order = some[np.lexsort((chunk[some], -similar[some]))][:most]
    return [Ranked(int(chunk[at]), float(similar[at])) for at in order]


def numbers_of(vectors: Sequence[bytes]) -> Numbers:
    """Vectors of one width as rows."""
    return np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1).astype(np.float32)


def similarity(vectors: bytes, queries: Numbers) -> float:
    """Of the nearest of a chunk's vectors and of the queries: cosine."""
    rows = np.frombuffer(vectors, "<f4").reshape(-1, queries.shape[1])
    return float(np.round((rows @ queries.T).max(), DIGITS))


def merged(found: Sequence[Sequence[Ranked]], most: int) -> list[Ranked]:
    """Several lists of the best as one."""
    every = [one for some in found for one in some]
    return sorted(every, key=lambda one: (-one.similarity, one.seq))[:most]


@dataclass(frozen=True, eq=False)
class Matrix:
    """What is kept of a store. files: that are in it now; there may be vectors of others."""

    generation: int
    files: frozenset[int]
    segments: tuple[Segment, ...] = ()
    gone: bool = False

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.segments)

    def nearest(self, queries: Numbers, most: int, allowed: Collection[int] | None) -> list[list[Ranked]]:
        wanted = None
        if allowed is not None or self.gone:
            wanted = np.array(sorted(self.files if allowed is None else self.files & {*allowed}), np.int64)
        found = [one.nearest(queries, most, wanted) for one in self.segments]
        return [merged([each[at] for each in found], most) for at in range(len(queries))]

    @property
    def numbers(self) -> int:
        return sum(one.rows.size for one in self.segments)

    def next(self, generation: int, now: frozenset[int], more: Segment) -> "Matrix":
        """Of a later generation. more: vectors of the files that came."""
        gone = not self.files <= now or self.gone
        segments = [one for one in (*self.segments, more) if len(one.rows)]
        if gone:
            live = np.array(sorted(now), np.int64)
            alive = [one.wanted(live) for one in segments]
            if 2 * sum(int(one.sum()) for one in alive) <= sum(len(one) for one in alive):
                segments = [one.only(wanted) for one, wanted in zip(segments, alive, strict=True) if wanted.any()]
                gone = False
        while len(segments) > 1 and 2 * len(segments[-1].rows) >= len(segments[-2].rows):
            last, before = segments.pop(), segments.pop()
            segments.append(
                Segment(
                    np.concatenate([before.rows, last.rows]),
                    np.concatenate([before.chunk, last.chunk]),
                    np.concatenate([before.file, last.file]),
                )
            )
        return Matrix(generation, now, tuple(segments), gone)


class Matrices:
    """Vectors in memory. Of many that ask for the same store at once, one reads it."""

    def __init__(self, database: Database, *, most_bytes: int, piece: int = PIECE) -> None:
        """piece: bytes of one, of a store that is not kept."""
        self._database = database
        self._most_bytes = most_bytes
        self._piece = piece
        self._kept: OrderedDict[int, Matrix] = OrderedDict()
        self._turns: dict[int, asyncio.Lock] = {}
        #: Rows that were read from the database.
        self.read = 0

    @property
    def bytes(self) -> int:
        """That are kept."""
        return sum(one.bytes for one in self._kept.values())

    async def nearest(
        self, store: Searched, queries: Numbers, *, most: int, where: "sa.ColumnElement[bool] | None" = None
    ) -> list[list[Ranked]]:
        matrix = await self._matrix(store)
        allowed = None
        if where is not None:
            async with self._database.read() as connection:
                allowed = (await connection.scalars(_completed(store.seq).where(where))).all()
        if matrix is None:
            return await self._piecewise(store, queries, most, allowed)
        if matrix.numbers * len(queries) < _FEW:
            return matrix.nearest(queries, most, allowed)
        return await asyncio.to_thread(matrix.nearest, queries, most, allowed)

    async def _matrix(self, store: Searched) -> Matrix | None:
        """None: it is too large to be kept."""
        if (kept := self._current(store)) is not None:
            return kept
        async with self._turns.setdefault(store.seq, asyncio.Lock()):
            if (kept := self._current(store)) is not None:
                return kept
            had = self._kept.get(store.seq) or Matrix(-1, frozenset())
            made = await self._read(store, had)
            if made is None:
                self._kept.pop(store.seq, None)
                return None
            self._kept[store.seq] = made
            self._kept.move_to_end(store.seq)
            self._make_room()
            return made

    def _current(self, store: Searched) -> Matrix | None:
        kept = self._kept.get(store.seq)
        if kept is None or kept.generation < store.generation:
            return None
        self._kept.move_to_end(store.seq)
        return kept

    def _make_room(self) -> None:
        while self.bytes > self._most_bytes and len(self._kept) > 1:
            seq, _ = self._kept.popitem(last=False)
            turn = self._turns.get(seq)
            if turn is not None and not turn.locked():
                del self._turns[seq]

    async def _read(self, store: Searched, had: Matrix) -> Matrix | None:
        async with self._database.read() as connection:
            generation = await connection.scalar(sa.select(stores.c.generation).where(stores.c.seq == store.seq))
            if generation is None:
                return Matrix(store.generation, frozenset())
            now = frozenset((await connection.scalars(_completed(store.seq))).all())
            new = now - had.files
            # What was there and is not now may come again only as another file, with another number.
            if not await self._fits(connection, store, now):
                return None
            async with aclosing(_segments(connection, store, new, whole=new == now, piece=None)) as read:
                more = await anext(read)
        self.read += len(more.rows)
        return await asyncio.to_thread(had.next, generation, now, more)

    async def _fits(self, connection: AsyncConnection, store: Searched, now: Collection[int]) -> bool:
        if not now:
            return True
        size = sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(chunks.c.vectors)), 0))
        whole = await connection.scalar(size.where(chunks.c.store_seq == store.seq))
        return int(whole or 0) <= self._most_bytes

    async def _piecewise(
        self, store: Searched, queries: Numbers, most: int, allowed: Collection[int] | None
    ) -> list[list[Ranked]]:
        best: list[list[Ranked]] = [[] for _ in queries]
        async with self._database.read() as connection:
            now = (await connection.scalars(_completed(store.seq))).all()
            wanted = {*now} if allowed is None else {*now} & {*allowed}
            pieces = _segments(connection, store, wanted, whole=len(wanted) == len(now), piece=self._piece)
            async with aclosing(pieces):
                async for piece in pieces:
                    self.read += len(piece.rows)
                    found = await asyncio.to_thread(piece.nearest, queries, most)
                    best = [merged(both, most) for both in zip(best, found, strict=True)]
        return best


def _completed(store_seq: int) -> "sa.Select[Any]":
    return sa.select(files.c.seq).where(files.c.store_seq == store_seq, files.c.status == "completed")


async def _segments(
    connection: AsyncConnection, store: Searched, wanted: Collection[int], *, whole: bool, piece: int | None
) -> AsyncGenerator[Segment, None]:
    """The vectors of files, in pieces of so many bytes, or all at once. whole: they are all that are completed."""
    most = None if piece is None else max(1, piece // (4 * store.width))
    gathered = _Gathered(store.width)
    for where in _where(wanted, whole=whole):
        query = (
            sa.select(chunks.c.seq, chunks.c.file_seq, chunks.c.vectors)
            .where(chunks.c.store_seq == store.seq, where)
            .order_by(chunks.c.seq)
            .execution_options(yield_per=_ROWS)
        )
        async with connection.stream(query) as result:
            async for some in result.partitions():
                gathered.add(some)
                if most is not None and gathered.rows >= most:
                    yield await asyncio.to_thread(gathered.segment)
                    gathered = _Gathered(store.width)
    if piece is None or gathered.rows:
        yield await asyncio.to_thread(gathered.segment)


def _where(wanted: Collection[int], *, whole: bool) -> Sequence["sa.ColumnElement[bool]"]:
    """Conditions that together are true of the chunks of some files, each of them of a few hundred at most."""
    if whole:
        here = sa.select(files.c.seq).where(files.c.status == "completed", files.c.seq == chunks.c.file_seq)
        return [here.exists()] if wanted else []
    each = sorted(wanted)
    return [chunks.c.file_seq.in_(each[at : at + _ROWS]) for at in range(0, len(each), _ROWS)]


class _Gathered:
    def __init__(self, width: int) -> None:
        self._width = width
        self._vectors: deque[bytes] = deque()
        self._chunk: list[int] = []
        self._file: list[int] = []
        self._count: list[int] = []
        self.rows = 0

    def add(self, some: Sequence[Any]) -> None:
        size = 4 * self._width
        for seq, file, vectors in some:
            self._chunk.append(seq)
            self._file.append(file)
            self._count.append(len(vectors) // size)
        self._vectors.append(b"".join(vectors for _, _, vectors in some))
        self.rows += len(self._vectors[-1]) // size

    def segment(self) -> Segment:
        rows = np.empty((self.rows, self._width), np.float32)
        at = 0
        while self._vectors:  # never all of them twice
            part = np.frombuffer(self._vectors.popleft(), "<f4").reshape(-1, self._width)
            rows[at : at + len(part)] = part
            at += len(part)
        return Segment(
            rows,
            np.repeat(np.array(self._chunk, np.int64), self._count),
            np.repeat(np.array(self._file, np.int64), self._count),
        )
