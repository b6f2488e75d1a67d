"""Batches as their owners see them. How they go on is in batch_states.py and docs/batches.md."""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from homeport import clock
from homeport.control import batch_states as states
from homeport.control import pages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import Conflict, InvalidRequest, NotFound
from homeport.store.database import Database
from homeport.store.queue import Queue
from homeport.store.tables import batches, files
from homeport.wire.batches import (
    Batch,
    BatchError,
    BatchErrors,
    BatchRequestCounts,
    BatchUsage,
    CreateBatchRequest,
    InputTokensDetails,
    OutputTokensDetails,
)
from homeport.wire.fields import Page

PURPOSE = "batch"
#: Of a batch's object: columns that it has as they are.
_PLAIN = tuple(
    name
    for name in Batch.__struct_fields__
    if name not in ("object", "model", "errors", "request_counts", "usage", "metadata")
)


class Batches:
    def __init__(self, database: Database, queue: Queue, endpoints: Collection[str]) -> None:
        """endpoints: paths of those that this Homeport answers in a batch."""
        self._database = database
        self._queue = queue
        self._endpoints = endpoints

    async def create(self, owner: Owner, asked: CreateBatchRequest) -> Batch:
        """Accepted: it is written down, and will be done. Raises InvalidRequest, NotFound: there is no such file."""
        if asked.endpoint not in self._endpoints and f"/v1{asked.endpoint}" not in self._endpoints:
            raise InvalidRequest(
                f"The endpoint '{asked.endpoint}' is not supported here in a batch. Supported are: "
                f"{', '.join(sorted(self._endpoints))}.",
                param="endpoint",
                code="unsupported_endpoint",
            )
        expires = asked.output_expires_after
        values = {
            "project_id": owner.project,
            "key_id": owner.key_id,
            "endpoint": asked.endpoint,
            "input_file_id": asked.input_file_id,
            "completion_window": asked.completion_window,
            "metadata": asked.metadata,
            "output_expires_after": expires.seconds if expires is not None else None,
        }
        try:
            async with self._database.write() as connection:
                digest = await self._input(connection, owner, asked.input_file_id)
                batch_id = await states.create(connection, self._queue, {**values, "digest": digest})
        except IntegrityError:  # the file's bytes went while we looked
            raise _no_file(asked.input_file_id) from None
        self._queue.told()
        return await self.retrieve(owner, batch_id)

    async def _input(self, connection: Any, owner: Owner, file_id: str) -> str:
        """The digest of the file, which is not deleted before the transaction has ended."""
        query = sa.select(files).where(files.c.id == file_id, files.c.project_id == owner.project)
        found = (await connection.execute(query.with_for_update(read=True))).one_or_none()
        if found is None or (found.expires_at is not None and found.expires_at <= clock.now()):
            raise _no_file(file_id)
        if found.purpose != PURPOSE:
            raise InvalidRequest(
                f"The input file of a batch must have the purpose '{PURPOSE}'; '{file_id}' has '{found.purpose}'.",
                param="input_file_id",
                code="invalid_purpose",
            )
        digest: str = found.digest
        return digest

    async def list(self, owner: Owner, window: Window) -> Page[Batch]:
        async with self._database.read() as connection:
            found = await pages.page(
                connection,
                sa.select(batches),
                window,
                seq=batches.c.seq,
                id=batches.c.id,
                within=batches.c.project_id == owner.project,
            )
        return Page.of([shown(row._mapping) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, batch_id: str) -> Batch:
        """Raises NotFound."""
        query = sa.select(batches).where(batches.c.id == batch_id, batches.c.project_id == owner.project)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"No batch found with id '{batch_id}'.")
        return shown(row)

    async def cancel(self, owner: Owner, batch_id: str) -> Batch:
        """Raises NotFound, Conflict: it has ended. That it is being cancelled already is no error."""
        await self.retrieve(owner, batch_id)
        async with self._database.write() as connection:
            cancelled = await states.cancel(connection, self._queue, batch_id)
        self._queue.told()
        batch = await self.retrieve(owner, batch_id)
        if not cancelled and batch.status != "cancelling":
            raise Conflict(
                f"Cannot cancel a batch with status '{batch.status}'.", headers=(("x-should-retry", "false"),)
            )
        return batch

    async def find(self, batch_id: str) -> states.Batch | None:
        """For those who work on it."""
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(batches).where(batches.c.id == batch_id))
            return found.mappings().one_or_none()


def shown(row: states.Batch) -> Batch:
    counts = BatchRequestCounts(row["total"], row["completed"], row["failed"])
    usage = BatchUsage(
        row["input_tokens"],
        InputTokensDetails(row["cached_tokens"]),
        row["output_tokens"],
        OutputTokensDetails(row["reasoning_tokens"]),
        row["input_tokens"] + row["output_tokens"],
    )
    errors = row["errors"]
    return Batch(
        **{name: row[name] for name in _PLAIN},
        model=row["model"] or msgspec.UNSET,
        errors=BatchErrors(msgspec.convert(errors, list[BatchError])) if errors else None,
        request_counts=counts,
        usage=usage,
        metadata=row["metadata"],
    )


def _no_file(file_id: str) -> NotFound:
    return NotFound(f"No such File object: {file_id}", param="input_file_id")
