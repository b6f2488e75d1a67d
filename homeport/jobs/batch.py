"""The jobs of a batch. Its states, and who changes them: control/batch_states.py; how it is told: docs/batches.md.

validate    the input is read once; its lines become chunks, each a job
lines       a chunk runs (batch_chunk.py)
finalize    the output and the error file are written (batch_files.py)
expire      a day has passed
sweep       what is in the files is forgotten elsewhere
"""

from contextlib import aclosing
from functools import partial

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import batch_states as states
from homeport.control.batch_input import Input
from homeport.control.batches import Batches
from homeport.errors import HomeportError, InvalidKey, ModelNotFound, PermissionDenied
from homeport.gateway.endpoints import BATCHED, Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Limits
from homeport.gateway.routing import Router
from homeport.gateway.tiers import pool
from homeport.jobs.batch_lines import Callers
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, Queue
from homeport.store.tables import batch_lines
from homeport.wire.batches import BatchError

#: Rows that are forgotten in one transaction.
SWEEP_LINES = 1000
BROKEN = BatchError(
    "server_error", "The server has failed several times at this batch, and gives it up. Its log says why."
)


def endpoint_of(path: str) -> Endpoint:
    """path: as the batch has it. It was in the table when the batch was made."""
    return next(one for one in BATCHED if one.path in (path, f"/v1{path}"))


class BatchHandler:
    """What the jobs of a batch have in common."""

    lane = states.LANE
    at_once = 1

    def __init__(self, batches: Batches, queue: Queue, blobs: Blobs) -> None:
        self.batches = batches
        self.queue = queue
        self.blobs = blobs
        self.database = queue.database

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        await states.give_up(connection, self.queue, job.subject, BROKEN)
        await self.queue.finish(connection, job)

    async def end(self, job: Job) -> None:
        """There is nothing to do, or no longer."""
        async with self.database.write() as connection:
            await self.queue.finish(connection, job)


class Validate(BatchHandler):
    kind = states.VALIDATE
    at_once = 2

    def __init__(
        self,
        batches: Batches,
        queue: Queue,
        blobs: Blobs,
        *,
        router: Router,
        callers: Callers,
        limits: Limits,
        longest: int,
    ) -> None:
        """longest: bytes of a line."""
        super().__init__(batches, queue, blobs)
        self._router = router
        self._callers = callers
        self._limits = limits
        self._longest = longest

    async def run(self, task: Task) -> None:
        batch = await self.batches.find(task.job.subject)
        if batch is None or batch["status"] != "validating":
            return await self.end(task.job)
        found = Input(batch["endpoint"])
        async with aclosing(self.blobs.read(batch["digest"])) as pieces:
            await found.read(pieces, longest=self._longest)
        errors = list(found.errors)
        principal = None
        if not errors:
            try:
                principal = await self._principal(batch, found.model)
            except (InvalidKey, ModelNotFound, PermissionDenied) as error:
                errors.append(_refusal(error))
        async with self.database.write() as connection:
            if principal is not None:
                try:
                    await self._check_limit(connection, batch, principal, found)
                except HomeportError as error:
                    errors.append(_refusal(error))
            if errors:
                await states.fail(connection, self.queue, batch["id"], errors, found.model or None)
            else:
                await states.begin(
                    connection,
                    self.queue,
                    batch["id"],
                    model=found.model,
                    total=found.total,
                    tokens=found.tokens,
                    chunks=[msgspec.structs.asdict(chunk) for chunk in found.chunks],
                )
            await self.queue.finish(connection, task.job)
        self.queue.told()
        if errors:
            await self.blobs.release([batch["digest"]])

    async def _principal(self, batch: states.Batch, model: str) -> Principal:
        """Who may have this answered by that model. Raises InvalidKey, PermissionDenied, ModelNotFound, Unavailable."""
        principal = await self._callers.of(batch["key_id"])
        principal.may(endpoint_of(batch["endpoint"]).scope)
        principal.may_use(model)
        if model.startswith("ft:"):
            await self._router.look_for(model)
        self._router.targets(model, principal.project)
        return principal

    async def _check_limit(
        self, connection: AsyncConnection, batch: states.Batch, principal: Principal, found: Input
    ) -> None:
        """Raises HomeportError."""
        for limit in self._limits.enqueued(principal, found.model):
            same = partial(_is_of, limit.pool)
            enqueued = await states.enqueued(connection, batch["project_id"], limit.key_id, same)
            limit.check(enqueued, found.tokens)


def _is_of(name: str, model: str) -> bool:
    return pool(model) == name


def _refusal(error: HomeportError) -> BatchError:
    code = "model_not_found" if isinstance(error, ModelNotFound) else error.code
    return BatchError(code or error.type, error.message, "body.model" if code == "model_not_found" else None)


class Expire(BatchHandler):
    kind = states.EXPIRE

    async def run(self, task: Task) -> None:
        async with self.database.write() as connection:
            await states.expire(connection, self.queue, task.job.subject)
            await self.queue.finish(connection, task.job)
        self.queue.told()


class Sweep(BatchHandler):
    """Each block in a transaction of its own, so that nobody has to wait for long."""

    kind = states.SWEEP

    async def run(self, task: Task) -> None:
        table, this = batch_lines.c, batch_lines.c.batch_id == task.job.subject
        while True:
            async with self.database.write() as connection:
                some = sa.select(table.line).where(this).order_by(table.line).limit(SWEEP_LINES)
                last = await connection.scalar(sa.select(sa.func.max(some.subquery().c.line)))
                if last is None:
                    return await self.queue.finish(connection, task.job)
                await connection.execute(sa.delete(batch_lines).where(this, table.line <= last))
                await self.queue.hold(connection, task.job, checkpoint={"line": last})

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        """They do no harm."""
        await self.queue.finish(connection, job)
