"""The files of a batch, written from what has come out of it, line after line in the order of the input."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import sqlalchemy as sa

from homeport.control import batch_states as states
from homeport.control import files
from homeport.control.batch_input import lines, request_of
from homeport.control.batches import Batches
from homeport.errors import StorageFull
from homeport.jobs.batch import BatchHandler
from homeport.jobs.batch_lines import unanswered
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Queue
from homeport.store.tables import batch_lines
from homeport.wire.batches import BatchError, BatchRequestError

log = logging.getLogger("homeport.batch")

PURPOSE = "batch_output"
#: What is written at once.
PAGE_LINES = 100
#: How long lines in flight may take to end once their batch is to end, and how often it is looked.
GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.2
#: Until it is tried again to write to a disk that is full.
FULL_SECONDS = 15.0

#: What a batch ends as -> what is said of its lines that have not run.
_NOT_RUN = {
    "expired": BatchRequestError(
        "batch_expired", "This request could not be executed before the completion window expired."
    ),
    "cancelled": BatchRequestError("batch_cancelled", "The batch was cancelled before this request was executed."),
    "failed": BatchRequestError("batch_failed", "The batch has failed before this request was executed."),
}


class Finalize(BatchHandler):
    kind = states.FINALIZE

    def __init__(self, batches: Batches, queue: Queue, blobs: Blobs, *, longest: int) -> None:
        """longest: bytes of a line."""
        super().__init__(batches, queue, blobs)
        self._longest = longest

    async def run(self, task: Task) -> None:
        batch = await self.batches.find(task.job.subject)
        if batch is None or batch["ending"] is None or batch["status"] not in ("finalizing", "cancelling"):
            return await self.end(task.job)
        if not await self._lines_have_ended(batch, task):
            return
        try:
            await self._write(batch, task)
        except StorageFull as error:
            log.error("%s: its files cannot be written: %s", batch["id"], error.message)
            async with self.database.write() as connection:
                why = BatchError(error.code or error.type, f"The files cannot be written yet. {error.message}")
                await states.wait(connection, batch["id"], why)
                await self.queue.later(connection, task.job, run_in=FULL_SECONDS)
            return
        self.queue.told()
        await self.blobs.release([batch["digest"]])

    async def _lines_have_ended(self, batch: states.Batch, task: Task) -> bool:
        """Or are made to. False: the job is in the queue again."""
        async with self.database.write() as connection:
            since = await states.ending_since(connection, batch["id"])
            left = await self.queue.left(connection, batch["id"], states.LINES)
            if left and since < GRACE_SECONDS:
                await self.queue.later(connection, task.job, run_in=LOOK_SECONDS)
                return False
            await self.queue.hold(connection, task.job)
            if left:
                await self.queue.withdraw(connection, batch["id"], states.LINES)
        return True

    async def _write(self, batch: states.Batch, task: Task) -> None:
        """Raises StorageFull, LeaseLost."""
        batch_id, life = batch["id"], batch["output_expires_after"]
        unfinished = 0
        async with self.blobs.staged() as output, self.blobs.staged() as errors:
            async with aclosing(self._lines(batch)) as found:
                async for succeeded, ran, line in found:
                    unfinished += not ran
                    await (output if succeeded else errors).write(line + b"\n")
            written = [one for one in (output, errors) if one.bytes]
            async with self.blobs.keep(*written) as connection:
                ids = [
                    (await files.add(connection, batch["project_id"], name, PURPOSE, one, life=life)).id
                    if one.bytes
                    else None
                    for one, name in ((output, f"{batch_id}_output.jsonl"), (errors, f"{batch_id}_error.jsonl"))
                ]
                ended = await states.end(
                    connection,
                    self.queue,
                    batch_id,
                    output_file_id=ids[0],
                    error_file_id=ids[1],
                    unfinished=unfinished,
                )
                assert ended, "nobody else ends it while this job is ours"
                await self.queue.finish(connection, task.job)

    async def _lines(self, batch: states.Batch) -> AsyncGenerator[tuple[bool, bool, bytes], None]:
        """Of all lines: whether it succeeded, whether it has run, and what is written of it."""
        rows = self._rows(batch["id"])
        async with aclosing(rows):
            error = _NOT_RUN.get(batch["ending"])
            if error is None or not batch["total"]:
                async for row in rows:
                    yield row.succeeded, True, bytes(row.output)
                return
            row = await anext(rows, None)
            pieces = self.blobs.read(batch["digest"])
            async with aclosing(pieces), aclosing(lines(pieces, longest=self._longest)) as found:
                async for line in found:
                    if row is not None and row.line == line.number:
                        yield row.succeeded, True, bytes(row.output)
                        row = await anext(rows, None)
                    else:
                        custom_id = request_of(line.raw).custom_id
                        yield False, False, unanswered(batch["id"], line.number, custom_id, error)

    async def _rows(self, batch_id: str) -> AsyncGenerator[Any, None]:
        """Lines that have run. Each page is read by itself: nobody waits for a client's disk, or for ours."""
        after, table = 0, batch_lines.c
        while True:
            page = (
                sa.select(table.line, table.succeeded, table.output)
                .where(table.batch_id == batch_id, table.line > after)
                .order_by(table.line)
                .limit(PAGE_LINES)
            )
            async with self.database.read() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield row
            if len(rows) < PAGE_LINES:
                return
            after = rows[-1].line
