"""Files in vector stores, as their owners see them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import pages
from homeport.control import vector_store_states as states
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.vector_store_states import Wanted
from homeport.errors import InvalidRequest, NotFound
from homeport.store.database import Database
from homeport.store.queue import Queue
from homeport.store.tables import vector_store_chunks, vector_store_files
from homeport.wire.fields import Deleted, Page
from homeport.wire.vector_stores import (
    CHUNK_OVERLAP,
    CHUNK_SIZE,
    Attributes,
    CreateVectorStoreFileRequest,
    FileCounts,
    LastError,
    StaticChunking,
    StaticChunkingStrategy,
    Text,
    VectorStoreFile,
    VectorStoreFileContent,
)


class VectorStoreFiles:
    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def create(self, owner: Owner, store_id: str, asked: CreateVectorStoreFileRequest) -> VectorStoreFile:
        """It is on its way. Raises NotFound; InvalidRequest: the store has expired, or is full."""
        async with self._database.write() as connection:
            await states.hold_files(connection, owner, [asked.file_id], "file_id")
            store = await states.use(connection, owner, store_id)
            await states.attach(connection, self._queue, store, owner.key_id, [wanted(asked)])
            shown = await self._one(connection, store, asked.file_id)
        self._queue.told()
        return shown

    async def list(self, owner: Owner, store_id: str, window: Window, status: str | None) -> Page[VectorStoreFile]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            store = await states.find(connection, owner, store_id)
            return await listed(connection, store, vector_store_files.c.store_seq == store["seq"], window, status)

    async def retrieve(self, owner: Owner, store_id: str, file_id: str) -> VectorStoreFile:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return await self._one(connection, await states.find(connection, owner, store_id), file_id)

    async def update(self, owner: Owner, store_id: str, file_id: str, attributes: Attributes | None) -> VectorStoreFile:
        """Raises NotFound; InvalidRequest: the store has expired."""
        async with self._database.write() as connection:
            store = await states.use(connection, owner, store_id)
            await states.set_attributes(connection, store, file_id, attributes)
            return await self._one(connection, store, file_id)

    async def delete(self, owner: Owner, store_id: str, file_id: str) -> Deleted:
        """The file itself stays. Raises NotFound; InvalidRequest: the store has expired."""
        async with self._database.write() as connection:
            store = await states.use(connection, owner, store_id)
            if not await states.detach(connection, store, file_id):
                raise _not_in(store, file_id)
        return Deleted("vector_store.file.deleted", file_id)

    async def content(self, owner: Owner, store_id: str, file_id: str) -> VectorStoreFileContent:
        """What was read from it, put together again from its chunks.

        Raises NotFound; InvalidRequest: it is not there, or not yet.
        """
        chunks = vector_store_chunks.c
        async with self._database.read() as connection:
            store = await states.find(connection, owner, store_id)
            file = await self._row(connection, store, file_id)
            if file["status"] != "completed":
                raise InvalidRequest(
                    f"What is in the file '{file_id}' can be told once its status is 'completed'; it is "
                    f"'{file['status']}'.",
                    param="file_id",
                )
            query = sa.select(chunks.text, chunks.begins, chunks.ends).where(chunks.file_seq == file["seq"])
            text = together(await connection.execute(query.order_by(chunks.number)))
        return VectorStoreFileContent([Text(text)])

    async def _one(self, connection: AsyncConnection, store: states.Store, file_id: str) -> VectorStoreFile:
        """Raises NotFound."""
        return _as_object(store, await self._row(connection, store, file_id))

    async def _row(self, connection: AsyncConnection, store: states.Store, file_id: str) -> "sa.RowMapping":
        """Raises NotFound."""
        inside = vector_store_files.c
        query = sa.select(vector_store_files).where(inside.store_seq == store["seq"], inside.file_id == file_id)
        found = (await connection.execute(query)).mappings().one_or_none()
        if found is None:
            raise _not_in(store, file_id)
        return found


def together(chunks: Iterable[Any]) -> str:
    """Of chunks in their order, which touch or overlap: the text that they are of."""
    pieces: list[str] = []
    end = 0
    for chunk in chunks:
        pieces.append(chunk.text[end - chunk.begins :])
        end = chunk.ends
    return "".join(pieces)


def wanted(asked: CreateVectorStoreFileRequest) -> Wanted:
    chosen = asked.chunking_strategy
    if isinstance(chosen, StaticChunkingStrategy):
        size, overlap = chosen.static.max_chunk_size_tokens, chosen.static.chunk_overlap_tokens
        return Wanted(asked.file_id, asked.attributes, size, overlap)
    return Wanted(asked.file_id, asked.attributes, CHUNK_SIZE, CHUNK_OVERLAP)


async def listed(
    connection: AsyncConnection,
    store: states.Store,
    within: "sa.ColumnElement[bool]",
    window: Window,
    status: str | None,
) -> Page[VectorStoreFile]:
    """status: of those that are wanted; None: all. Raises InvalidRequest: no such place in the list."""
    inside = vector_store_files.c
    query = sa.select(vector_store_files)
    if status is not None:
        query = query.where(inside.status == status)
    found = await pages.page(connection, query, window, seq=inside.seq, id=inside.file_id, within=within)
    return Page.of([_as_object(store, row._mapping) for row in found.rows], has_more=found.has_more)


class Counted(NamedTuple):
    counts: FileCounts
    usage_bytes: int


async def counted(
    connection: AsyncConnection, column: "sa.ColumnElement[int]", seqs: Sequence[int]
) -> Mapping[int, Counted]:
    """Of stores, or of batches, what their files are. column: which they are told apart by."""
    inside = vector_store_files.c
    query = (
        sa.select(column, inside.status, sa.func.count(), sa.func.sum(inside.usage_bytes))
        .where(column.in_(seqs))
        .group_by(column, inside.status)
    )
    counts = {seq: FileCounts() for seq in seqs}
    used = dict.fromkeys(seqs, 0)
    for seq, status, number, usage_bytes in await connection.execute(query):
        setattr(counts[seq], status, number)
        counts[seq].total += number
        used[seq] += int(usage_bytes)
    return {seq: Counted(counts[seq], used[seq]) for seq in seqs}


def _as_object(store: states.Store, row: "sa.RowMapping") -> VectorStoreFile:
    code = row["error_code"]
    chunking = StaticChunking(max_chunk_size_tokens=row["chunk_size"], chunk_overlap_tokens=row["chunk_overlap"])
    return VectorStoreFile(
        id=row["file_id"],
        usage_bytes=row["usage_bytes"],
        created_at=row["created_at"],
        vector_store_id=store["id"],
        status=row["status"],
        last_error=None if code is None else LastError(code, row["error_message"]),
        chunking_strategy=StaticChunkingStrategy(static=chunking),
        attributes=row["attributes"] or {},
    )


def _not_in(store: states.Store, file_id: str) -> NotFound:
    return NotFound(f"No file found with id '{file_id}' in vector store '{store['id']}'.", param="file_id")
