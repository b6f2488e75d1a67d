"""The jobs of a fine-tuning job. Its states, and who changes them: control/fine_tuning_states.py.

validate    the files are read once, by a child; what is wrong with them fails it, what is right becomes numbers
train       a child trains (fine_tuning_run.py)
book        it has ended: what it was trained on goes into the ledger
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.backends.engines import gguf_header
from homeport.backends.tuning import preparation
from homeport.backends.tuning.preparation import Preparation, Prepared
from homeport.control import fine_tuning_states as states
from homeport.errors import (
    ContentMissing,
    HomeportError,
    InsufficientQuota,
    InvalidKey,
    InvalidRequest,
    ModelNotReady,
    StorageFull,
)
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Grant
from homeport.gateway.training_bills import TrainingBills
from homeport.jobs.batch_lines import Callers
from homeport.jobs.fine_tuning_folder import Folders, written
from homeport.jobs.hyperparameters import resolved
from homeport.jobs.trainer import Child, is_free
from homeport.jobs.worker import Task
from homeport.settings import FineTuning
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, Queue
from homeport.store.tables import fine_tuning_jobs
from homeport.wire.fine_tuning import FineTuningError

log = logging.getLogger("homeport.fine_tuning")

#: Who can train: a process of this machine, maybe workers on others, or nobody at all.
TrainedBy = Literal["here", "others", "nobody"]

#: Of the longest example, where neither the settings nor the model say less.
LONGEST_EXAMPLE = 4096
#: Until it is looked again whether there is room on the disk, or the model on the machine.
WAIT_SECONDS = 15.0
NO_ROOM = "There is no room on the server's disk. The job goes on when there is."
BROKEN = FineTuningError(
    "server_error", "The server has failed several times at this job, and gives it up. Its log says why."
)
NOT_HERE = FineTuningError("server_error", "The trainer cannot work on this server. Its log says why.")
NO_TRAINER = FineTuningError(
    "trainer_not_installed",
    "Fine-tuning needs PyTorch, which this server does not have. Whoever runs it installs it: "
    "pip install 'homeport[train]'.",
)
#: What a job cannot be done for, and to try again does not help.
REFUSALS = (ContentMissing, InsufficientQuota, InvalidKey, InvalidRequest)


class Booking:
    """Of jobs that have ended, on whose account they ran."""

    def __init__(self, callers: Callers, bills: TrainingBills) -> None:
        self._callers = callers
        self._bills = bills

    async def principal(self, job: states.Job) -> Principal:
        """Raises InvalidKey, Unavailable."""
        return await self._callers.of(job["key_id"])

    async def reserve(self, job: states.Job, tokens: int) -> Grant:
        """Raises InvalidKey, InsufficientQuota, Unavailable."""
        return await self._bills.reserve(await self.principal(job), job, tokens)

    async def book(self, job: states.Job) -> None:
        """Once, however often this is called. Raises Unavailable."""
        principal = None
        with suppress(InvalidKey):
            principal = await self.principal(job)
        await self._bills.book(job, principal)


@dataclass(frozen=True)
class Workshop:
    """What those who work on fine-tuning jobs have in common. base: the file of a model of this machine by its name;
    raises InvalidRequest, ModelNotReady. organization: in the names of what is made. preparer, trainer: what is run,
    with a folder behind it, to make examples of files, and to train on them."""

    queue: Queue
    blobs: Blobs
    folders: Folders
    booking: Booking
    base: Callable[[str], Path]
    settings: FineTuning
    organization: str
    preparer: Sequence[str]
    trainer: Sequence[str]

    async def find(self, job_id: str) -> states.Job | None:
        async with self.queue.database.read() as connection:
            query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job_id)
            return (await connection.execute(query)).mappings().one_or_none()

    async def end(self, task: Task) -> None:
        """There is nothing to do, or no longer."""
        async with self.queue.database.write() as connection:
            await self.queue.finish(connection, task.job)
        task.over.set()

    async def put_off(
        self, task: Task, seconds: float, *, checkpoint: dict[str, Any] | None = None, why: str | None = None
    ) -> None:
        """why: told to whoever asked for the job."""
        async with self.queue.database.write() as connection:
            if why is not None:
                await states.tell(connection, task.job.subject, why, level="warn")
            await self.queue.later(connection, task.job, run_in=seconds, checkpoint=checkpoint)
        task.over.set()

    async def fail(self, task: Task, error: FineTuningError, warnings: Iterable[str] = ()) -> None:
        async with self.queue.database.write() as connection:
            for warning in warnings:
                await states.tell(connection, task.job.subject, warning, level="warn")
            before = await states.fail(connection, self.queue, task.job.subject, error)
            await self.queue.finish(connection, task.job)
        task.over.set()
        self.queue.told()
        await self.folders.remove(task.job.subject)
        if before is not None:
            await self.blobs.release(states.digests(before))

    async def examples(self, job: states.Job, until: Iterable[asyncio.Event]) -> Prepared | None:
        """What has become of its files, whose examples are in its folder then. None: one of the events came first.

        Raises InvalidRequest, ModelNotReady, ContentMissing, StorageFull, Unavailable.
        """
        folder = await self.folders.made(job["id"])
        known = _prepared(folder)
        if known is not None and known.error() is None:
            return known
        base = self.base(job["base"])
        raw = {preparation.RAW_TRAINING: job["training_digest"], preparation.RAW_VALIDATION: job["validation_digest"]}
        for name, digest in raw.items():
            if digest is not None:
                await self.folders.fetch(digest, folder / name)
        told = Preparation(
            base=str(base),
            model=job["model"],
            method=job["method"],
            max_length=self._max_length(base),
            nice=self.settings.nice,
        )
        with written(folder / preparation.PREPARE) as file:
            file.write_bytes(msgspec.json.encode(told))
        child = Child(self.preparer, folder)
        try:
            child.begin()
            status = await child.ended(until)
        finally:
            child.kill()
        if status is None:
            return None
        prepared = _prepared(folder)
        if status != 0 or prepared is None:
            log.error("%s: its files could not be read (status %d): %s", job["id"], status, child.complaints())
            raise ChildFailed
        for name in raw:
            (folder / name).unlink(missing_ok=True)
        return prepared

    def _max_length(self, base: Path) -> int:
        context = gguf_header.context_length(gguf_header.read(base, tokenizer=False))
        return min(self.settings.max_length or LONGEST_EXAMPLE, context or LONGEST_EXAMPLE)


class ChildFailed(Exception):
    """The log says why."""


def _prepared(folder: Path) -> Prepared | None:
    with suppress(FileNotFoundError):
        return msgspec.json.decode((folder / preparation.PREPARED).read_bytes(), type=Prepared)
    return None


class Handler:
    """What the jobs of a fine-tuning job have in common."""

    lane: Final = states.LANE

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.queue = shop.queue
        self.database = shop.queue.database

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        await states.fail(connection, self.queue, job.subject, BROKEN)
        await self.queue.finish(connection, job)


class Validate(Handler):
    kind: Final = states.VALIDATE
    at_once: Final = 2

    def __init__(self, shop: Workshop, *, trained_by: TrainedBy) -> None:
        super().__init__(shop)
        self._trained_by = trained_by

    async def run(self, task: Task) -> None:
        job = await self.shop.find(task.job.subject)
        if job is None or job["status"] != "validating_files":
            return await self._forget(task)
        if self._trained_by == "nobody":
            return await self.shop.fail(task, NO_TRAINER)
        try:
            await self.shop.booking.principal(job)
            prepared = await self.shop.examples(job, [task.stopping, task.cancelled])
            if prepared is not None:
                await self._decide(task, job, prepared)
            elif task.cancelled.is_set():
                await self._forget(task)
            else:
                await self.shop.put_off(task, 0.0)
        except ModelNotReady as error:
            await self._wait(task, error.message)
        except StorageFull:
            await self._wait(task, NO_ROOM)
        except REFUSALS as error:
            await self.shop.fail(task, refusal(error))

    async def _decide(self, task: Task, job: states.Job, prepared: Prepared) -> None:
        """Raises InvalidKey, InsufficientQuota, Unavailable."""
        reports = [one for one in (prepared.training, prepared.validation) if one is not None]
        warnings = [warning for report in reports for warning in report.warnings]
        error = prepared.error()
        if error is not None:
            return await self.shop.fail(task, error, warnings)
        chosen = resolved(job["hyperparameters"], job["method"], prepared.training.examples)
        tokens = prepared.training.tokens
        with await self.shop.booking.reserve(job, tokens * chosen["n_epochs"]) as grant:
            grant.used, grant.cost = 0, 0  # what it really needs is reserved while it trains
        if self._trained_by == "others":
            warnings.append("No process of this machine can train. The job waits for a worker that has PyTorch.")
        async with self.database.write() as connection:
            for warning in warnings:
                await states.tell(connection, job["id"], warning, level="warn")
            admitted = await states.admit(connection, self.queue, job["id"], chosen, tokens)
            await self.queue.finish(connection, task.job)
        task.over.set()
        self.queue.told()
        if not admitted or self._trained_by == "others":
            await self.shop.folders.remove(job["id"])

    async def _wait(self, task: Task, why: str) -> None:
        """Until it can be done. It is said once."""
        told = {"told": why}
        news = why if task.job.checkpoint != told else None
        await self.shop.put_off(task, WAIT_SECONDS, checkpoint=told, why=news)

    async def _forget(self, task: Task) -> None:
        await self.shop.end(task)
        await self.shop.folders.remove(task.job.subject)


class Book(Handler):
    kind: Final = states.BOOK
    at_once: Final = 2

    async def run(self, task: Task) -> None:
        job = await self.shop.find(task.job.subject)
        if job is not None:
            await self.shop.booking.book(job)
            if is_free(self.shop.folders.root / job["id"]):
                await self.shop.folders.remove(job["id"])
        await self.shop.end(task)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        log.error("%s: what it was trained on could not be booked", job.subject)
        await self.queue.finish(connection, job)


def refusal(error: HomeportError) -> FineTuningError:
    return FineTuningError(error.code or error.type, error.message, error.param)
