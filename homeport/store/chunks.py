"""Chunks of files in vector stores, as they are written: what finds them by their words and by their vectors is
written with them, in the same transaction."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store import pgvector
from homeport.store.tables import vector_store_chunks as table
from homeport.store.words import apart


class NewChunk(NamedTuple):
    """vectors: float32, little-endian, of length 1; one, or several one after the other."""

    number: int
    text: str
    tokens: int
    page: int | None
    begins: int
    ends: int
    vectors: bytes


async def insert_chunks(
    connection: AsyncConnection, store_seq: int, file_seq: int, chunks: Sequence[NewChunk], *, width: int
) -> None:
    """width: numbers of one vector. A character NUL, which PostgreSQL does not take, becomes a space."""
    if not chunks:
        return
    values = []
    for chunk in chunks:
        text = chunk.text.replace("\0", " ")
        values.append(
            {"store_seq": store_seq, "file_seq": file_seq, **chunk._asdict(), "text": text, "words": apart(text)}
        )
    statement = sa.insert(table)
    if connection.dialect.name == "sqlite" or not await pgvector.is_there(connection):
        await connection.execute(statement, values)
        return
    numbered = await connection.execute(statement.returning(table.c.seq, table.c.vectors), values)
    await pgvector.insert(connection, store_seq, file_seq, [(row.seq, row.vectors) for row in numbered], width=width)
