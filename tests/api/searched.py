"""Stores with chunks as a test wants them: put in as ingestion puts them in, with vectors of the store's model."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import openai
import sqlalchemy as sa

from homeport.store.chunks import NewChunk, insert_chunks
from homeport.store.tables import vector_store_files, vector_stores
from tests.server import Running
from tests.store.vector_stores import make_file

MODEL = "echo"


def new_store(server: Running, client: openai.OpenAI, **files: Sequence[str]) -> str:
    """A store with files, by their names without `.txt`, each with these chunks."""
    store = client.vector_stores.create(name="searched").id
    for name, texts in files.items():
        add(server, client, store, texts, name=f"{name}.txt")
    return store


def add(
    server: Running,
    client: openai.OpenAI,
    store: str,
    texts: Sequence[str],
    *,
    name: str = "some.txt",
    attributes: Mapping[str, Any] | None = None,
    status: str = "completed",
    pages: bool = False,
) -> str:
    """The id of a new file in the store. pages: each chunk is on a page of its own."""
    file = client.files.create(file=(name, b"content"), purpose="assistants").id
    answer = client.embeddings.create(model=MODEL, input=list(texts), encoding_format="base64")
    vectors = [base64.b64decode(str(one.embedding)) for one in answer.data]
    width = len(vectors[0]) // 4
    database = server.app.books.database

    async def write() -> None:
        async with database.write() as connection:
            found = vector_stores.c.id == store
            values = {"answered": answer.model, "width": width, "generation": vector_stores.c.generation + 1}
            changed = sa.update(vector_stores).where(found).values(values).returning(vector_stores.c.seq)
            seq = (await connection.execute(changed)).scalar_one()
            row = await make_file(connection, seq, file, status=status, attributes=attributes)
            chunks, at = [], 0
            for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
                page = number + 1 if pages else None
                chunks.append(NewChunk(number, text, len(text.split()), page, at, at + len(text), vector))
                at += len(text)
            await insert_chunks(connection, seq, row, chunks, width=width)

    server.begin(write()).result(10)
    return file


def complete(server: Running, file: str) -> None:
    """As ingestion ends."""

    async def write() -> None:
        async with server.app.books.database.write() as connection:
            which = vector_store_files.c.file_id == file
            await connection.execute(sa.update(vector_store_files).where(which).values(status="completed"))
            stores = sa.select(vector_store_files.c.store_seq).where(which)
            await connection.execute(
                sa.update(vector_stores)
                .where(vector_stores.c.seq.in_(stores))
                .values(generation=vector_stores.c.generation + 1)
            )

    server.begin(write()).result(10)
