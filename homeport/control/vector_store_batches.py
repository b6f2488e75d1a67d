"""Batches of files of vector stores, as their owners see them. A file belongs to the batch that asked for it last."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import vector_store_states as states
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.vector_store_files import counted, listed, wanted
from homeport.errors import NotFound
from homeport.store.database import Database
from homeport.store.queue import Queue
from homeport.store.tables import vector_store_file_batches, vector_store_files
from homeport.wire.fields import Page
from homeport.wire.vector_stores import (
    CreateVectorStoreFileBatchRequest,
    FileCounts,
    Status,
    VectorStoreFile,
    VectorStoreFileBatch,
)


class VectorStoreBatches:
    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def create(
        self, owner: Owner, store_id: str, asked: CreateVectorStoreFileBatchRequest
    ) -> VectorStoreFileBatch:
        """All of its files, or none. Raises NotFound; InvalidRequest: the store has expired, or is full."""
        files = asked.each
        param = "files" if asked.files is not None else "file_ids"
        async with self._database.write() as connection:
            await states.hold_files(connection, owner, [one.file_id for one in files], param)
            store = await states.use(connection, owner, store_id)
            batch = await states.create_batch(connection, store)
            which = [wanted(one) for one in files]
            await states.attach(connection, self._queue, store, owner.key_id, which, batch_seq=batch["seq"])
            shown = await _shown(connection, store, batch)
        self._queue.told()
        return shown

    async def retrieve(self, owner: Owner, store_id: str, batch_id: str) -> VectorStoreFileBatch:
        """Raises NotFound."""
        async with self._database.read() as connection:
            store = await states.find(connection, owner, store_id)
            return await _shown(connection, store, await _find(connection, store, batch_id))

    async def files(
        self, owner: Owner, store_id: str, batch_id: str, window: Window, status: str | None
    ) -> Page[VectorStoreFile]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            store = await states.find(connection, owner, store_id)
            batch = await _find(connection, store, batch_id)
            return await listed(connection, store, vector_store_files.c.batch_seq == batch["seq"], window, status)

    async def cancel(self, owner: Owner, store_id: str, batch_id: str) -> VectorStoreFileBatch:
        """What is in progress ends; one of which all has ended stays as it is.

        Raises NotFound; InvalidRequest: the store has expired.
        """
        async with self._database.write() as connection:
            store = await states.use(connection, owner, store_id)
            batch = await _find(connection, store, batch_id)
            await states.cancel_batch(connection, batch["seq"])
            return await _shown(connection, store, await _find(connection, store, batch_id))


async def _find(connection: AsyncConnection, store: states.Store, batch_id: str) -> "sa.RowMapping":
    """Raises NotFound."""
    batches = vector_store_file_batches.c
    query = sa.select(vector_store_file_batches).where(batches.store_seq == store["seq"], batches.id == batch_id)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound(f"No file batch found with id '{batch_id}' in vector store '{store['id']}'.", param="batch_id")
    return found


async def _shown(connection: AsyncConnection, store: states.Store, batch: "sa.RowMapping") -> VectorStoreFileBatch:
    counts = (await counted(connection, vector_store_files.c.batch_seq, [batch["seq"]]))[batch["seq"]].counts
    return VectorStoreFileBatch(
        id=batch["id"],
        created_at=batch["created_at"],
        vector_store_id=store["id"],
        status=_status(counts, cancelled=batch["cancelled_at"] is not None),
        file_counts=counts,
    )


def _status(counts: FileCounts, *, cancelled: bool) -> Status:
    if counts.in_progress:
        return "in_progress"
    if cancelled:
        return "cancelled"
    return "failed" if counts.total and counts.failed == counts.total else "completed"
