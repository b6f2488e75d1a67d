"""Vector stores through the official SDK: a file put into one, and what its database has of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import openai
import sqlalchemy as sa
from openai.types.vector_stores import VectorStoreFile

from homeport.store.database import Database
from homeport.store.tables import vector_store_chunks, vector_store_files
from tests.fake_upstream import until

PATIENCE = 90.0
#: What cannot be read as text.
PROGRAM = b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 4


def upload(client: openai.OpenAI, content: bytes | str = b"hello there", name: str = "a.txt") -> str:
    """The id of a new file."""
    data = content.encode() if isinstance(content, str) else content
    return client.files.create(file=(name, data), purpose="assistants").id


def prose(words: int, *, seed: str = "") -> str:
    """Text in paragraphs, no two of which are alike: about 7 tokens for each six words."""
    lines = [f"{seed} line {number} tells of the number {number * number}." for number in range(words // 8)]
    return "\n\n".join("\n".join(lines[at : at + 5]) for at in range(0, len(lines), 5))


def ended(client: openai.OpenAI, store: str, file: str, seconds: float = PATIENCE) -> VectorStoreFile:
    """However it has."""
    seen: list[VectorStoreFile] = []

    def has() -> bool:
        seen[:] = [client.vector_stores.files.retrieve(file, vector_store_id=store)]
        return seen[0].status != "in_progress"

    assert until(has, seconds), seen[0]
    return seen[0]


def put(client: openai.OpenAI, store: str, content: bytes | str, name: str = "a.txt", **more: Any) -> VectorStoreFile:
    """A new file, once it has ended."""
    file = client.vector_stores.files.create(store, file_id=upload(client, content, name), **more)
    return ended(client, store, file.id)


def text(client: openai.OpenAI, store: str, file: str) -> str:
    """What was read from it."""
    return "".join(one.text or "" for one in client.vector_stores.files.content(file, vector_store_id=store))


def ids(files: Any) -> list[str]:
    return [one.id for one in files]


def chunks(url: str, file: str | None = None) -> Sequence[sa.RowMapping]:
    """Of a file, or of all, as the database has them."""
    query = sa.select(vector_store_files.c.file_id, vector_store_chunks).join(
        vector_store_files, vector_store_files.c.seq == vector_store_chunks.c.file_seq
    )
    if file is not None:
        query = query.where(vector_store_files.c.file_id == file)
    return rows(url, query.order_by(vector_store_chunks.c.file_seq, vector_store_chunks.c.number))


def rows(url: str, query: Any) -> Sequence[sa.RowMapping]:
    async def read() -> Sequence[sa.RowMapping]:
        database = Database(url)
        try:
            async with database.read() as connection:
                return (await connection.execute(query)).mappings().all()
        finally:
            await database.close()

    return asyncio.run(read())
