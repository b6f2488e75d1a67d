"""Chunks found by their words, best first: BM25 of SQLite's FTS5, and the like of it from PostgreSQL's text search.

Both keep their index beside the chunks by triggers (migration 0003), know English endings (a chunk with `running` is
found by `run`), and look in some stores. What is asked for are words and nothing else: no syntax reaches the database.
A chunk is better the rarer the words are that it has, the more of them, and the shorter it is.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store.tables import vector_store_chunks as chunks
from homeport.store.tables import vector_store_files as files
from homeport.store.words import telling

#: Words of a query that are looked for.
MOST_WORDS = 64

_terms = sa.table("vector_store_terms", *map(sa.column, ("rowid", "chunk_seq", "store_seq", "file_seq", "terms")))
_ENGLISH: "sa.ColumnElement[str]" = sa.literal_column("'english'")
_BM25: "sa.ColumnElement[float]" = sa.literal_column("bm25(vector_store_terms, 0.0, 1.0)")


async def best(
    connection: AsyncConnection,
    store_seqs: Sequence[int],
    query: str,
    *,
    most: int,
    where: "sa.ColumnElement[bool] | None" = None,
) -> list[int]:
    """Numbers of chunks of files that are completed, and of which `where` is true (of `vector_store_files`)."""
    words = telling(query)[:MOST_WORDS]
    if not words or not store_seqs:
        return []
    here = sa.select(files.c.seq).where(files.c.store_seq.in_(store_seqs), files.c.status == "completed")
    if where is not None:
        here = here.where(where)
    if connection.dialect.name == "sqlite":
        return await _fts5(connection, store_seqs, words, here, most, filtered=where is not None)
    found = await _tsvector(connection, store_seqs, words, here)
    return list((await connection.scalars(found.limit(most))).all())


async def _fts5(
    connection: AsyncConnection,
    store_seqs: Sequence[int],
    words: Sequence[str],
    here: "sa.Select[Any]",
    most: int,
    *,
    filtered: bool,
) -> list[int]:
    """To look at whose each match is takes longer than to rank it. Without a filter nearly all are of completed files:
    so the best are looked at alone, and all of them only where that leaves too few."""
    asked = " OR ".join(_quoted(word, '"', "*") for word in words)
    stores = " OR ".join(f'"{seq}"' for seq in store_seqs)
    matches: sa.ColumnElement[bool] = sa.literal_column("vector_store_terms").op("MATCH", is_comparison=True)(
        f"store_seq : ({stores}) AND words : ({asked})"
    )
    ranked = sa.select(_terms.c.rowid).where(matches).order_by(_BM25, _terms.c.rowid)
    if not filtered:
        first = (await connection.scalars(ranked.limit(2 * most))).all()
        theirs = sa.select(chunks.c.seq).where(chunks.c.seq.in_(first), chunks.c.file_seq.in_(here))
        kept = {*(await connection.scalars(theirs)).all()} if first else set()
        if len(kept) >= most or len(first) < 2 * most:
            return [seq for seq in first if seq in kept][:most]
    whole = ranked.join(chunks, chunks.c.seq == _terms.c.rowid).where(chunks.c.file_seq.in_(here))
    return list((await connection.scalars(whole.limit(most))).all())


async def _tsvector(
    connection: AsyncConnection, store_seqs: Sequence[int], words: Sequence[str], here: "sa.Select[Any]"
) -> "sa.Select[Any]":
    """ts_rank knows how often a chunk has a word, and how long it is; how rare the word is must be counted."""
    asked = [_quoted(word, "'", ":*") for word in words]
    of_store = sa.select(sa.func.count()).select_from(_terms).where(_terms.c.store_seq.in_(store_seqs))
    counts = [of_store.where(_has(word)).scalar_subquery() for word in asked]
    whole, *having = (await connection.execute(sa.select(of_store.scalar_subquery(), *counts))).one()
    ranks = [
        log(1 + (whole - n + 0.5) / (n + 0.5)) * sa.func.ts_rank(_terms.c.terms, _query(word), 1)
        for word, n in zip(asked, having, strict=True)
        if n
    ]
    rank: Any = sum(ranks, sa.literal(0.0))
    return (
        sa.select(_terms.c.chunk_seq)
        .where(_terms.c.store_seq.in_(store_seqs), _has(" | ".join(asked)), _terms.c.file_seq.in_(here))
        .order_by(rank.desc(), _terms.c.chunk_seq)
    )


def _query(asked: str) -> "sa.Function[Any]":
    return sa.func.to_tsquery(_ENGLISH, asked)


def _has(asked: str) -> "sa.ColumnElement[bool]":
    return _terms.c.terms.op("@@", is_comparison=True)(_query(asked))


def _quoted(word: str, quote: str, beginning: str) -> str:
    """Words have letters, digits and marks alone; one that ends in `*` stands for all that begin so."""
    return f"{quote}{word[:-1]}{quote}{beginning}" if word.endswith("*") else f"{quote}{word}{quote}"
