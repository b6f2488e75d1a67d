"""A fine-tuning job is trained: by a child, in a folder of this machine. What it tells becomes rows, what it leaves
becomes blobs, and what is asked for meanwhile becomes a signal to it.

    queued -> folder filled -> child begun -> steps, checkpoints, its state ... -> the end
                                  ^   |
                                  +---+ it died: twice, then the job has failed

Whatever happens to this process, the job goes on from the newest state: the folder's, where that is the one that was
trained in last, else the one that was kept as a blob with the last checkpoint.
"""

import asyncio
import logging
import shutil
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from homeport import clock, ids
from homeport.control import files
from homeport.control import fine_tuning_states as states
from homeport.errors import InvalidKey, ModelNotReady, StorageFull, Unavailable
from homeport.gateway.limits import Grant
from homeport.jobs import fine_tuning_folder
from homeport.jobs.fine_tuning import (
    BROKEN,
    NO_ROOM,
    NO_TRAINER,
    NOT_HERE,
    REFUSALS,
    WAIT_SECONDS,
    Handler,
    TrainedBy,
    Workshop,
    refusal,
)
from homeport.jobs.fine_tuning_progress import Progress
from homeport.jobs.trainer import LOOK_SECONDS, Child, Events, left_alone
from homeport.jobs.worker import Task
from homeport.store.staged import Staged
from homeport.store.tables import fine_tuning_events
from homeport.training.text import rates
from homeport.training.text.gguf_file import GGUFFile
from homeport.training.text.job import (
    ADAPTER,
    JOB,
    START,
    STATE,
    Checkpoint,
    Hyperparameters,
    Job,
    Step,
)
from homeport.wire.fine_tuning import FineTuningError

log = logging.getLogger("homeport.fine_tuning")

#: How often what was told is written down, and how often it is looked whether anybody still wants it.
TELL_SECONDS = 0.5
#: How often its state is kept, too, so that another machine which takes the job over has not much to do again.
STATE_SECONDS = 300.0
#: A trainer that was told to end has so long, before it is killed.
CANCEL_SECONDS = 5.0
#: Times that a trainer which died is begun again without having come further, and seconds until then.
RESTARTS = 2
REST_SECONDS = 1.0
#: With which a trainer ends whom another attempt would not help.
_REFUSED = 2
#: Until it is looked again whether somebody else has left the folder.
_OCCUPIED_SECONDS = 30.0
#: A trainer that died with less than that on the disk may have died of it.
_SMALLEST_FREE = 64 * 2**20
#: States of a job that is trained, or is about to be.
ACTIVE = ("queued", "running", "pausing")
RESULTS, PURPOSE = "step_metrics.csv", "fine-tune-results"
_COLUMNS = ("step", "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")
_HEADER = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
_PAGE = 1000

Item = TypeVar("Item")


class Place(NamedTuple):
    """Where a job is, as the queue keeps it. mark: of the folder that it was trained in last. made: the step of the
    last checkpoint that was kept. crashes: of trainers, at the step `crashed_at`. told: why it waits."""

    mark: str | None = None
    step: int = 0
    made: int = 0
    crashes: int = 0
    crashed_at: int = 0
    told: str | None = None


class Train(Handler):
    kind: Final = states.TRAIN

    def __init__(self, shop: Workshop, *, trained_by: TrainedBy) -> None:
        super().__init__(shop)
        self._trained_by = trained_by

    @property
    def at_once(self) -> int:
        """One on a machine, whichever of its processes that is."""
        if self._trained_by == "others":
            return 0
        with suppress(StorageFull, Unavailable):  # which the log has
            return int(self.shop.folders.mine())
        return 0

    async def run(self, task: Task) -> None:
        job = await self.shop.find(task.job.subject)
        if job is None or job["status"] not in ACTIVE:
            await self.shop.end(task)
        elif self._trained_by == "nobody":
            await self.shop.fail(task, NO_TRAINER)
        else:
            await sweep(self.shop)
            await _Run(self.shop, task, job).go()


async def sweep(shop: Workshop) -> None:
    """Folders of jobs that have ended, or that nobody knows. Raises Unavailable."""
    for job_id in await asyncio.to_thread(shop.folders.there):
        job = await shop.find(job_id)
        if job is None or job["status"] in states.OVER:
            await shop.folders.remove(job_id)


class _Unwanted(Exception):
    """Somebody has ended the job."""


class _Run:
    """One time that a worker has it in hand."""

    def __init__(self, shop: Workshop, task: Task, job: states.Job) -> None:
        self._shop = shop
        self._queue = shop.queue
        self._database = shop.queue.database
        self._task = task
        self._job = job
        self._id: str = job["id"]
        self._folder = shop.folders.root / self._id
        self._name = ids.fine_tuned_model(job["model"], shop.organization, job["suffix"], self._id)
        self._place = Place(**(task.job.checkpoint or {}))
        self._grant: Grant | None = None
        self._child: Child | None = None
        self._told = Progress(job["step"], job["tokens"])
        # What is wanted of it, as the row says; refused: why it cannot go on.
        self._over = False
        self._pausing = job["status"] == "pausing"
        self._refused: FineTuningError | None = None
        self._written_at = self._looked_at = self._full_until = float("-inf")
        self._kept_at, self._kept_state = clock.monotonic(), 0

    async def go(self) -> None:
        """Until the job has ended, or somebody else goes on with it."""
        try:
            await self._shop.folders.made(self._id)
            if not await left_alone(self._folder):
                return await self._put_off(_OCCUPIED_SECONDS)
            if self._pausing:
                return await self._pause()
            if not await self._ready():
                return await self._stop()
            while not await self._has_ended(await self._train()):
                pass
        except ModelNotReady as error:
            await self._put_off(WAIT_SECONDS, error.message)
        except StorageFull:
            self._kill()
            await self._put_off(WAIT_SECONDS, NO_ROOM)
        finally:
            self._kill()
            if self._grant is not None:
                with self._grant:  # what it took is booked
                    self._grant.used, self._grant.cost = 0, 0

    # Before it is trained

    async def _ready(self) -> bool:
        """All is there that the trainer needs, its money is reserved, and the job runs. False: it is not to.

        Raises ModelNotReady, StorageFull, Unavailable.
        """
        shop, job, task = self._shop, self._job, self._task
        try:
            await shop.booking.principal(job)
            prepared = await shop.examples(job, [task.stopping, task.cancelled])
            if prepared is None:
                return False
            self._refused = prepared.error()  # none when it was admitted: by now the base may be another
            if self._refused is not None:
                return False
            tokens = prepared.training.tokens * job["hyperparameters"]["n_epochs"]
            self._grant = await shop.booking.reserve(job, tokens)
            await self._fill(shop.base(job["base"]))
        except REFUSALS as error:
            self._refused = refusal(error)
            return False
        if task.job.claim in (await self._queue.look([task.job])).cancelled:
            self._over = True  # it was paused meanwhile; and if it was resumed, that is another job of the queue
            return False
        async with self._database.write() as connection:
            if await states.begin(connection, self._id) is None:
                self._over = True
            else:
                await self._queue.hold(connection, task.job, checkpoint=self._place._asdict())
        return not self._over

    async def _fill(self, base: Path) -> None:
        """Raises ContentMissing, StorageFull, Unavailable."""
        job, folder, fetch = self._job, self._folder, self._shop.folders.fetch
        if not fine_tuning_folder.has_mark(folder, self._place.mark):
            await asyncio.to_thread(fine_tuning_folder.forget_training, folder)
            if job["state_digest"] is not None:
                await fetch(job["state_digest"], folder / STATE)
            if job["start_digest"] is not None:
                await fetch(job["start_digest"], folder / START)
            self._place = self._place._replace(mark=fine_tuning_folder.mark(folder))
        with fine_tuning_folder.written(folder / JOB) as file:
            file.write_bytes(msgspec.json.encode(await asyncio.to_thread(self._for_the_trainer, base)))

    def _for_the_trainer(self, base: Path) -> Job:
        job, settings, chosen = self._job, self._shop.settings, self._job["hyperparameters"]
        rate = settings.learning_rate or rates.learning_rate(GGUFFile(base).parameters, job["method"])
        return Job(
            base=str(base),
            method=job["method"],
            hyperparameters=Hyperparameters(
                n_epochs=chosen["n_epochs"],
                batch_size=chosen["batch_size"],
                learning_rate=rate * chosen["learning_rate_multiplier"],
                beta=chosen.get("beta"),
            ),
            seed=job["seed"],
            lora_r=settings.lora_r,
            lora_alpha=settings.lora_alpha or 2 * settings.lora_r,
            device=settings.device,
            threads=settings.threads,
            nice=settings.nice,
        )

    # While it is trained

    async def _train(self) -> int:
        """A child, until it has ended. Its status."""
        events = Events(self._folder)
        for event in await asyncio.to_thread(events.new):
            self._told.hear(event)
        self._told.ended = None
        child = self._child = Child(self._shop.trainer, self._folder)
        child.begin()
        told_to_end_at: float | None = None
        while True:
            status = child.status  # first: what it told before is read then
            for event in await asyncio.to_thread(events.new):
                self._told.hear(event)
            await self._write_down(at_once=status is not None)
            if status is not None:
                return status
            await self._look()
            if self._is_unwanted:
                child.signal(signal.SIGTERM)
                told_to_end_at = told_to_end_at or clock.monotonic()
                if clock.monotonic() > told_to_end_at + CANCEL_SECONDS:
                    child.kill()
            elif self._pausing or self._task.stopping.is_set():
                child.signal(signal.SIGUSR1)
            await clock.sleep(LOOK_SECONDS)

    @property
    def _is_unwanted(self) -> bool:
        return self._over or self._refused is not None or self._task.cancelled.is_set()

    async def _look(self) -> None:
        """Whether anybody still wants it: who asked for it may pause it, or lose their key."""
        if clock.monotonic() < self._looked_at + TELL_SECONDS:
            return
        self._looked_at = clock.monotonic()
        with suppress(Unavailable):
            job = await self._shop.find(self._id)
            self._over = job is None or job["status"] in states.OVER
            self._pausing = job is not None and job["status"] == "pausing"
            try:
                await self._shop.booking.principal(self._job)
            except InvalidKey as error:
                self._refused = refusal(error)

    async def _write_down(self, *, at_once: bool) -> None:
        """What the trainer has told, as far as that is possible now. at_once: it tells nothing more.

        Raises LeaseLost.
        """
        told = self._told
        due = at_once or clock.monotonic() > self._written_at + TELL_SECONDS
        if self._over or not due:
            return
        self._written_at = clock.monotonic()
        with suppress(Unavailable):
            if told.steps:
                await self._write_steps(told.steps[:])
            while told.checkpoints and clock.monotonic() > self._full_until and not self._over:
                await self._keep(told.checkpoints[0])
                del told.checkpoints[0]
            if clock.monotonic() > max(self._kept_at + STATE_SECONDS, self._full_until) and not self._over:
                await self._keep_newest_state()

    async def _write_steps(self, steps: Sequence[Step]) -> None:
        tokens = self._told.tokens
        place = self._place._replace(step=steps[-1].step, told=None)
        async with self._database.write() as connection:
            wanted = await states.progress(
                connection,
                self._id,
                step=place.step,
                tokens=tokens,
                estimated_finish=self._told.ends_at(),
                events=[self._told.event(one) for one in steps],
            )
            if wanted:
                await self._queue.hold(connection, self._task.job, checkpoint=place._asdict())
        if not wanted:
            self._over = True
            return
        self._place = place
        del self._told.steps[: len(steps)]

    async def _keep(self, checkpoint: Checkpoint) -> None:
        """Its adapter is a model, and the state with it can be gone on from anywhere. Raises Unavailable, LeaseLost."""
        if checkpoint.step <= self._place.made:
            return
        place = self._place._replace(made=checkpoint.step)
        try:
            async with AsyncExitStack() as stack:
                adapter, state = await self._staged(stack, Path(checkpoint.file).name, STATE)
                if adapter is None:
                    return  # there are newer ones
                kept = [one for one in (adapter, state) if one is not None]
                async with self._shop.blobs.keep(*kept) as connection:
                    before = await states.keep_state(connection, self._id, state.digest if state is not None else None)
                    if before is None:
                        raise _Unwanted
                    await states.made(
                        connection,
                        before,
                        f"{self._name}:ckpt-step-{checkpoint.step}",
                        digest=adapter.digest,
                        step=checkpoint.step,
                        metrics=self._told.metrics(checkpoint),
                    )
                    gone = await states.forget_checkpoints(connection, self._id)
                    await self._queue.hold(connection, self._task.job, checkpoint=place._asdict())
        except _Unwanted:
            self._over = True
        except StorageFull:
            await self._say_there_is_no_room()
            raise Unavailable(NO_ROOM) from None
        else:
            self._place, self._kept_at = place, clock.monotonic()
            await self._shop.blobs.release([*gone, *_some(before["state_digest"])])

    async def _keep_newest_state(self) -> None:
        """Where there is one that is not kept. Raises Unavailable, LeaseLost."""
        self._kept_at = clock.monotonic()
        with suppress(FileNotFoundError):
            written_at = (self._folder / STATE).stat().st_mtime_ns
            if written_at == self._kept_state:
                return
            self._kept_state = written_at
        try:
            async with AsyncExitStack() as stack:
                (state,) = await self._staged(stack, STATE)
                if state is None:
                    return
                async with self._shop.blobs.keep(state) as connection:
                    before = await states.keep_state(connection, self._id, state.digest)
                    if before is not None:
                        await self._queue.hold(connection, self._task.job, checkpoint=self._place._asdict())
        except StorageFull:
            await self._say_there_is_no_room()
            return
        if before is None:
            self._over = True
        else:
            await self._shop.blobs.release(_some(before["state_digest"]))

    async def _staged(self, stack: AsyncExitStack, *names: str) -> list[Staged | None]:
        """Copies of files; None of one that is not there. Raises StorageFull, Unavailable."""
        found: list[Staged | None] = []
        for name in names:
            try:
                found.append(await stack.enter_async_context(self._shop.folders.staged(self._folder / name)))
            except FileNotFoundError:
                found.append(None)
        return found

    async def _say_there_is_no_room(self) -> None:
        self._full_until = clock.monotonic() + WAIT_SECONDS
        if self._place.told != NO_ROOM:
            self._place = self._place._replace(told=NO_ROOM)
            async with self._database.write() as connection:
                await states.tell(connection, self._id, NO_ROOM, level="warn")

    # When the child has ended

    async def _has_ended(self, status: int) -> bool:
        """False: another child is to go on. Raises StorageFull, LeaseLost."""
        ended, written = self._told.ended, await self._have_written()
        died = ended is None or ended.how == "cancelled"  # which nobody here has asked for
        if self._is_unwanted or not written or (died and self._task.stopping.is_set()):
            await self._stop()
        elif ended is None or died:
            return await self._has_died(status)
        elif ended.how == "failed":
            await self._fail(FineTuningError("training_failed", ended.why or "The training failed."))
        elif ended.how == "succeeded":
            await self._succeed()
        elif self._pausing:
            await self._pause()
        else:
            await self._stop()
        return True

    async def _have_written(self) -> bool:
        """All that was told, however long the database or the disk take. False: there is no time for that, and who goes
        on is told it again. Raises LeaseLost."""
        while (self._told.steps or self._told.checkpoints) and not self._is_unwanted:
            if self._task.stopping.is_set():
                return False
            await clock.sleep(LOOK_SECONDS)
            await self._look()
            await self._write_down(at_once=True)
        return True

    async def _stop(self) -> None:
        """It is not wanted, or this process ends. Raises LeaseLost, Unavailable."""
        if self._refused is not None:
            await self._fail(self._refused)
        elif self._is_unwanted:
            await self._end()
        else:
            await self._hand_back()

    async def _end(self) -> None:
        """Somebody else has ended it."""
        await self._shop.end(self._task)
        job = await self._shop.find(self._id)
        if job is None or job["status"] not in ACTIVE:  # or else it goes on under another job of the queue
            await self._close(job)

    async def _fail(self, error: FineTuningError) -> None:
        self._kill()
        await self._shop.fail(self._task, error)
        await self._close(await self._shop.find(self._id))

    async def _close(self, job: states.Job | None) -> None:
        """What it took is in the ledger before its money is free."""
        self._kill()
        if job is not None:
            with suppress(Unavailable):  # then it is booked by the job of the queue that is for that
                await self._shop.booking.book(job)
        await self._shop.folders.remove(self._id)

    async def _has_died(self, status: int) -> bool:
        """As _has_ended."""
        assert self._child is not None
        log.error("%s: its trainer ended with %d: %s", self._id, status, self._child.complaints() or "it said nothing")
        if shutil.disk_usage(self._folder).free < _SMALLEST_FREE:
            raise StorageFull(NO_ROOM)
        step, place = self._place.step, self._place
        crashes = place.crashes + 1 if place.crashed_at == step else 1
        if status == _REFUSED or crashes > RESTARTS:
            await self._fail(NOT_HERE if status == _REFUSED else BROKEN)
            return True
        self._place = place._replace(crashes=crashes, crashed_at=step)
        async with self._database.write() as connection:
            await self._queue.hold(connection, self._task.job, checkpoint=self._place._asdict())
        await clock.sleep(REST_SECONDS)
        if self._task.stopping.is_set():
            await self._stop()
            return True
        return False

    async def _succeed(self) -> None:
        """Raises StorageFull, LeaseLost, Unavailable."""
        shop = self._shop
        try:
            async with AsyncExitStack() as stack:
                (adapter,) = await self._staged(stack, ADAPTER)
                if adapter is None:
                    raise FileNotFoundError(ADAPTER)
                results = await stack.enter_async_context(shop.blobs.staged())
                await self._write_results(results)
                async with shop.blobs.keep(adapter, results) as connection:
                    file = await files.add(connection, self._job["project_id"], RESULTS, PURPOSE, results, life=None)
                    before = await states.succeed(
                        connection,
                        self._queue,
                        self._id,
                        model=self._name,
                        tokens=self._told.tokens,
                        result_file=file.id,
                    )
                    if before is None:
                        raise _Unwanted
                    await states.made(connection, before, self._name, digest=adapter.digest, step=None)
                    await self._queue.finish(connection, self._task.job)
        except _Unwanted:
            return await self._end()
        self._task.over.set()
        self._queue.told()
        await self._close(await shop.find(self._id))
        await shop.blobs.release(states.digests(before))

    async def _write_results(self, results: Staged) -> None:
        """Of all steps, whoever trained them."""
        await results.write(_HEADER)
        table, after = fine_tuning_events.c, 0
        while True:
            of_it = table.job_id == self._id, table.type == "metrics", table.seq > after
            page = sa.select(table.seq, table.data).where(*of_it).order_by(table.seq).limit(_PAGE)
            async with self._database.read() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                values = [row.data.get(name) for name in _COLUMNS]
                await results.write(",".join("" if one is None else str(one) for one in values).encode() + b"\n")
            if len(rows) < _PAGE:
                return
            after = rows[-1].seq

    async def _pause(self) -> None:
        """Raises StorageFull, LeaseLost, Unavailable."""
        await self._keep_state(paused=True)
        await self._shop.folders.remove(self._id)

    async def _hand_back(self) -> None:
        """Whoever comes next goes on at once, wherever that is."""
        try:
            await self._keep_state(paused=False)
        except StorageFull:  # then here, or from the last checkpoint
            await self._put_off(0.0)

    async def _keep_state(self, *, paused: bool) -> None:
        async with AsyncExitStack() as stack:
            ours = fine_tuning_folder.has_mark(self._folder, self._place.mark)
            (state,) = await self._staged(stack, STATE) if ours else (None,)
            async with self._shop.blobs.keep(*_some(state)) as connection:
                change = states.paused if paused else states.keep_state
                before = await change(connection, self._id, state.digest if state is not None else None)
                if paused or before is None:
                    await self._queue.finish(connection, self._task.job)
                else:
                    checkpoint = self._place._asdict()
                    await self._queue.later(connection, self._task.job, run_in=0, checkpoint=checkpoint)
        self._task.over.set()
        self._queue.told()
        if before is not None:
            await self._shop.blobs.release(_some(before["state_digest"]))

    async def _put_off(self, seconds: float, why: str | None = None) -> None:
        """As Workshop.put_off."""
        told, self._place = self._place.told, self._place._replace(told=why)
        news = why if why != told else None
        await self._shop.put_off(self._task, seconds, why=news, checkpoint=self._place._asdict())

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()


def _some(one: Item | None) -> list[Item]:
    return [one] if one is not None else []
