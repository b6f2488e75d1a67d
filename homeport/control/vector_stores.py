"""Vector stores as their owners see them. What becomes of them is in vector_store_states.py and docs/vector-stores.md.

Counts and status follow from the rows of their files, and from the time: nothing is kept that could be wrong.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import pages
from homeport.control import vector_store_states as states
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.vector_store_files import Counted, counted, wanted
from homeport.control.vector_store_states import Store
from homeport.store.database import Database
from homeport.store.queue import Queue
from homeport.store.tables import vector_store_files, vector_stores
from homeport.wire.fields import Deleted, Page
from homeport.wire.vector_stores import (
    CreateVectorStoreFileRequest,
    CreateVectorStoreRequest,
    ExpiresAfter,
    UpdateVectorStoreRequest,
    VectorStore,
)

#: A store that is searched is said to be active once in so many seconds: to say so is a transaction.
ACTIVE_SECONDS = 60


class VectorStores:
    def __init__(self, database: Database, queue: Queue, *, model: str) -> None:
        """model: makes the vectors of new stores."""
        self._database = database
        self._queue = queue
        self._model = model

    async def create(self, owner: Owner, asked: CreateVectorStoreRequest) -> VectorStore:
        """Its files are on their way by then. Raises InvalidRequest; NotFound: no such file."""
        async with self._database.write() as connection:
            shown = await _shown(connection, [await self.add(connection, owner, asked)])
        self._queue.told()
        return shown[0]

    async def add(self, connection: AsyncConnection, owner: Owner, asked: CreateVectorStoreRequest) -> Store:
        """`create`, in the caller's transaction. Afterwards call `told`."""
        values = {
            "name": asked.name or "",
            "description": asked.description,
            "metadata": asked.metadata,
            "expires_after_days": asked.expires_after.days if asked.expires_after is not None else None,
            "model": self._model,
        }
        files = [
            CreateVectorStoreFileRequest(file_id=file_id, chunking_strategy=asked.chunking_strategy)
            for file_id in asked.file_ids or ()
        ]
        await states.hold_files(connection, owner, [one.file_id for one in files], "file_ids")
        store = await states.create(connection, owner, values)
        await states.attach(connection, self._queue, store, owner.key_id, [wanted(one) for one in files])
        return store

    async def put(self, connection: AsyncConnection, owner: Owner, store_id: str, file_ids: Sequence[str]) -> None:
        """Files into a store that is used so, in the caller's transaction. Afterwards call `told`.

        Raises NotFound; InvalidRequest: the store has expired, or is full.
        """
        await states.hold_files(connection, owner, file_ids, "file_ids")
        store = await states.use(connection, owner, store_id)
        files = [wanted(CreateVectorStoreFileRequest(file_id=file_id)) for file_id in file_ids]
        await states.attach(connection, self._queue, store, owner.key_id, files)

    def told(self) -> None:
        """There are files to be brought in."""
        self._queue.told()

    async def list(self, owner: Owner, window: Window) -> Page[VectorStore]:
        """Raises InvalidRequest: no such place in the list."""
        theirs = sa.and_(vector_stores.c.project_id == owner.project, vector_stores.c.deleted_at.is_(None))
        async with self._database.read() as connection:
            found = await pages.page(
                connection,
                sa.select(vector_stores),
                window,
                seq=vector_stores.c.seq,
                id=vector_stores.c.id,
                within=theirs,
            )
            shown = await _shown(connection, [row._mapping for row in found.rows])
        return Page.of(shown, has_more=found.has_more)

    async def retrieve(self, owner: Owner, store_id: str) -> VectorStore:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return (await _shown(connection, [await states.find(connection, owner, store_id)]))[0]

    async def modify(self, owner: Owner, store_id: str, asked: UpdateVectorStoreRequest) -> VectorStore:
        """Raises NotFound; InvalidRequest: it has expired."""
        values: dict[str, Any] = {}
        if asked.name is not UNSET:
            values["name"] = asked.name or ""
        if asked.metadata is not UNSET:
            values["metadata"] = asked.metadata
        if asked.expires_after is not UNSET:
            values["expires_after_days"] = asked.expires_after.days if asked.expires_after else None
        async with self._database.write() as connection:
            return (await _shown(connection, [await states.use(connection, owner, store_id, **values)]))[0]

    async def delete(self, owner: Owner, store_id: str) -> Deleted:
        """Its files stay, as files. Raises NotFound."""
        async with self._database.write() as connection:
            if not await states.delete(connection, self._queue, owner, store_id):
                await states.find(connection, owner, store_id)
        self._queue.told()
        return Deleted("vector_store.deleted", store_id)

    async def searched(self, owner: Owner, store_id: str) -> None:
        """It is being used. Raises NotFound; InvalidRequest: it has expired."""
        async with self._database.read() as connection:
            store = await states.find(connection, owner, store_id)
        states.check_usable(store)
        if store["last_active_at"] <= clock.now() - ACTIVE_SECONDS:
            async with self._database.write() as connection:
                await states.use(connection, owner, store_id)

    async def in_progress(self, owner: Owner, store_ids: Sequence[str]) -> bool:
        """Whether files are on their way into these."""
        inside = vector_store_files.c
        query = (
            sa.select(inside.seq)
            .join(vector_stores, vector_stores.c.seq == inside.store_seq)
            .where(
                vector_stores.c.id.in_(store_ids),
                vector_stores.c.project_id == owner.project,
                states.usable(),
                inside.status == states.IN_PROGRESS,
            )
        )
        async with self._database.read() as connection:
            return (await connection.execute(query.limit(1))).first() is not None

    async def expire(self) -> None:
        """What has expired is emptied. Raises Unavailable."""
        async with self._database.write() as connection:
            await states.expire(connection, self._queue)
        self._queue.told()


async def _shown(connection: AsyncConnection, stores: Collection[Store]) -> list[VectorStore]:
    files = await counted(connection, vector_store_files.c.store_seq, [store["seq"] for store in stores])
    return [_as_object(store, files[store["seq"]]) for store in stores]


def _as_object(store: Store, files: Counted) -> VectorStore:
    days = store["expires_after_days"]
    expired = states.is_expired(store)
    return VectorStore(
        id=store["id"],
        created_at=store["created_at"],
        name=store["name"],
        description=store["description"],
        usage_bytes=files.usage_bytes,
        file_counts=files.counts,
        status="expired" if expired else "in_progress" if files.counts.in_progress else "completed",
        expires_after=None if days is None else ExpiresAfter(anchor="last_active_at", days=days),
        expires_at=store["expires_at"],
        last_active_at=store["last_active_at"],
        metadata=store["metadata"] or {},
    )
