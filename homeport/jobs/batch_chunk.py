"""A chunk of a batch: some of its lines run, as many at once as their model takes, and what comes out is committed.

Lines, their count in the batch, and how far the chunk has come are one transaction, which holds only while the job is
still ours. So a line that has ended has ended once, and only lines in flight run again after a kill.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import sqlalchemy as sa

from homeport import clock
from homeport.control import batch_states as states
from homeport.control.batch_input import Line, lines
from homeport.control.batch_states import Tally
from homeport.control.batches import Batches
from homeport.errors import Unavailable
from homeport.jobs.batch import BatchHandler, endpoint_of
from homeport.jobs.batch_lines import Answered, Answering
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, LeaseLost, Queue
from homeport.store.tables import batch_lines

#: What has come out is committed this often.
GROUP_SECONDS = 0.1
#: How often it is looked whether the batch goes on, while nothing comes out.
LOOK_SECONDS = 0.5
#: Until it is tried again to commit, while the database is away.
AGAIN_SECONDS = 0.5
#: Of a batch whose lines run.
RUNNING = "in_progress"


class Widths:
    """How many lines of a model are in flight in this process, over all chunks and batches."""

    def __init__(self, width: Callable[[str], int]) -> None:
        self._width = width
        self._places: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def of(self, model: str) -> AsyncIterator[tuple[asyncio.Semaphore, int]]:
        """The places of a model, and how many they are."""
        width = max(1, self._width(model))
        places = self._places.setdefault(model, asyncio.Semaphore(width))
        self._users[model] = self._users.get(model, 0) + 1
        try:
            yield places, width
        finally:
            self._users[model] -= 1
            if not self._users[model]:  # names come from clients
                del self._users[model], self._places[model]


class Lines(BatchHandler):
    kind = states.LINES

    def __init__(
        self,
        batches: Batches,
        queue: Queue,
        blobs: Blobs,
        *,
        answering: Answering,
        width: Callable[[str], int],
        longest: int,
        at_once: int,
    ) -> None:
        """width: how many lines of a model may be in flight. longest: bytes of a line. at_once: chunks."""
        super().__init__(batches, queue, blobs)
        self._answering = answering
        self._widths = Widths(width)
        self._longest = longest
        self.at_once = at_once

    async def run(self, task: Task) -> None:
        batch = await self.batches.find(task.job.subject)
        if batch is None or batch["status"] != RUNNING or task.cancelled.is_set():
            return await self.end(task.job)
        todo = await self._todo(batch, task.job)
        failed: LeaseLost | Unavailable | None = None
        async with self._widths.of(batch["model"]) as (places, width), asyncio.TaskGroup() as group:
            chunk = _Running(batch, todo, self._answering, places)
            chunk.begin(group, min(width, len(todo)))
            try:
                await self._keep(task, chunk)
            except (LeaseLost, Unavailable) as error:
                failed = error  # as it is: a group of tasks would wrap it
            finally:
                chunk.cut()
        if failed is not None:
            raise failed

    async def _todo(self, batch: states.Batch, job: Job) -> Sequence[Line]:
        """The lines of the chunk that have not ended."""
        place = job.checkpoint or {}
        first, last = place["first"], place["last"]
        table = batch_lines.c
        ended = sa.select(table.line).where(table.batch_id == batch["id"], table.line.between(first, last))
        async with self.database.read() as connection:
            done = {*(await connection.execute(ended)).scalars()}
        pieces = self.blobs.read(batch["digest"], place["begin"], place["end"])
        async with aclosing(pieces), aclosing(lines(pieces, longest=self._longest, first=first)) as found:
            return [line async for line in found if line.number not in done]

    async def _keep(self, task: Task, chunk: "_Running") -> None:
        """Commit what comes out, until all has come, or it is to end. Raises LeaseLost, Unavailable."""
        looked = clock.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(GROUP_SECONDS):
                    await chunk.over.wait()
            if task.stopping.is_set():
                chunk.handed_back.set()
            if task.cancelled.is_set():
                await chunk.stop()
            over, now = chunk.over.is_set(), clock.monotonic()
            if not over and not chunk.answered and now - looked < LOOK_SECONDS:
                continue
            looked = now
            try:
                goes_on = await self._commit(task.job, chunk, over=over)
            except Unavailable:
                if task.cancelled.is_set():
                    raise
                await clock.sleep(AGAIN_SECONDS)
                continue
            if over:
                return
            if not goes_on:
                await chunk.stop()

    async def _commit(self, job: Job, chunk: "_Running", *, over: bool) -> bool:
        """Whether the batch goes on. over: the job ends, or goes back to the queue. Raises LeaseLost, Unavailable."""
        answered = list(chunk.answered)
        if not answered and not over:
            batch = await self.batches.find(job.subject)
            return batch is not None and batch["status"] == RUNNING
        tally = Tally()
        for one in answered:
            tally = tally.plus(one.tally)
        checkpoint = {**(job.checkpoint or {}), "ended": chunk.committed + len(answered)}
        async with self.database.write() as connection:
            status = await states.took(connection, chunk.batch, tally, [one.ended for one in answered])
            if not over:
                await self.queue.hold(connection, job, checkpoint=checkpoint)
            elif status == RUNNING and chunk.committed + len(answered) < chunk.total:
                await self.queue.later(connection, job, run_in=0, checkpoint=checkpoint)
            else:
                if status == RUNNING:
                    await states.chunk_ended(connection, self.queue, chunk.batch["id"])
                await self.queue.finish(connection, job)
        chunk.kept(len(answered))
        if over:
            self.queue.told()
        return status == RUNNING


class _Running:
    """The lines of a chunk under way. answered: and not yet committed. over: nobody is at it any more. handed_back:
    no more lines are begun, and none is waited with."""

    def __init__(
        self, batch: states.Batch, todo: Iterable[Line], answering: Answering, places: asyncio.Semaphore
    ) -> None:
        self.batch = batch
        self._endpoint = endpoint_of(batch["endpoint"])
        self._todo = deque(todo)
        self._answering = answering
        self._places = places
        self._runners: list[asyncio.Task[None]] = []
        self._at_it = 0
        self.total = len(self._todo)
        self.committed = 0
        self.answered: list[Answered] = []
        self.over = asyncio.Event()
        self.handed_back = asyncio.Event()

    def begin(self, group: asyncio.TaskGroup, width: int) -> None:
        self._at_it = width
        self._runners = [group.create_task(self._run()) for _ in range(width)]
        if not width:
            self.over.set()

    async def _run(self) -> None:
        try:
            while self._todo and not self.handed_back.is_set():
                async with self._places:
                    if self._todo and not self.handed_back.is_set():
                        await self._answer(self._todo.popleft())
        finally:
            self._at_it -= 1
            if not self._at_it:
                self.over.set()

    async def _answer(self, line: Line) -> None:
        answered = await self._answering.answer(self.batch, self._endpoint, line, self.handed_back)
        if answered is not None:
            self.answered.append(answered)

    def kept(self, count: int) -> None:
        """So many of the first of those answered are committed."""
        del self.answered[:count]
        self.committed += count

    def cut(self) -> None:
        for runner in self._runners:
            runner.cancel()

    async def stop(self) -> None:
        """Lines in flight are ended, and none is begun."""
        self.cut()
        if self._runners:
            await asyncio.wait(self._runners)
        self.over.set()
