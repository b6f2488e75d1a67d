"""A chunk of a batch: some of its lines run, as many at once as their model takes, and what comes out is committed.

Lines, their count in the batch, and how far the chunk has come are one transaction, which holds only while the job is
still ours. So a line that has ended has ended once, and only lines in flight run again after a kill.

A process may die of a line. When one has died while lines of a chunk ran and nothing had come out, the next one writes
down that it begins, and how far the first lines go; when that has happened twice, these run one by one, each written
down before, and committed before the next. The one that never comes back is told so, and the others go on. To be in
hand while a process dies is no fault of a chunk, however often.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from math import inf
from typing import Any

import sqlalchemy as sa

from homeport import clock
from homeport.control import batch_states as states
from homeport.control.batch_input import Line, lines
from homeport.control.batch_states import Tally
from homeport.control.batches import Batches
from homeport.errors import ModelNotFound, Unavailable
from homeport.gateway.widths import Widths
from homeport.jobs.batch import BatchHandler, endpoint_of
from homeport.jobs.batch_lines import Answered, Answering, deadly
from homeport.jobs.worker import Task
from homeport.store.blobs import Blobs
from homeport.store.queue import Job, LeaseLost, Queue
from homeport.store.tables import batch_lines

#: What has come out is committed this often; less often where committing is slow, so that it takes no more than its
#: share of the time, but no later than the last.
GROUP_SECONDS = 0.1
COMMITTING_SHARE = 10
LATEST_SECONDS = 0.5
#: How often it is looked whether the batch goes on, while nothing comes out.
LOOK_SECONDS = 1.0
#: Until it is tried again to commit, while the database is away.
AGAIN_SECONDS = 0.5
#: Times that a chunk is begun with nothing coming out of it, before its first lines run one by one.
MOST_TOGETHER = 2
#: Times that a line runs alone and does not come back, before it is told so.
MOST_ALONE = 4
#: Times that a chunk is taken up without coming further, before these count as attempts.
MOST_TIMES = 50
#: Batches that are remembered: each has many chunks.
MOST_KNOWN = 100
#: Of a batch whose lines run.
RUNNING = "in_progress"


class Places:
    """For lines of one model in flight in this process, over all chunks and batches. Who comes first goes first, and
    keeps a place until the chunk has no more lines: so one chunk ends after the other."""

    def __init__(self) -> None:
        self.taken = 0
        self.users = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, width: Callable[[], int]) -> None:
        """width: how many there are now."""
        while self.taken >= width():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()
                raise
        self.taken += 1

    def give_back(self) -> None:
        self.taken -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Lines(BatchHandler):
    kind = states.LINES

    def __init__(
        self,
        batches: Batches,
        queue: Queue,
        blobs: Blobs,
        *,
        answering: Answering,
        widths: Widths,
        longest: int,
        at_once: int,
    ) -> None:
        """longest: bytes of a line. at_once: chunks."""
        super().__init__(batches, queue, blobs)
        self._answering = answering
        self._widths = widths
        self._places: dict[str, Places] = {}
        self._known: dict[str, states.Batch] = {}
        self._alone = asyncio.Lock()
        self._longest = longest
        self.at_once = at_once

    async def run(self, task: Task) -> None:
        batch = await self._batch(task.job)
        if batch is None or batch["status"] != RUNNING or task.cancelled.is_set():
            return await self.end(task.job)
        chunk = _Running(batch, task.job.checkpoint or {}, await self._todo(batch, task.job))
        watched = task.job.attempt > 1
        if watched and chunk.place.get("times", 0) < MOST_TIMES:
            await self._write_down(task.job, chunk)
        failed: LeaseLost | Unavailable | None = None
        with self._places_of(chunk) as places:
            async with asyncio.TaskGroup() as group:
                chunk.begin(group, places, partial(self._width, chunk), partial(self._ask, task.job, watched=watched))
                try:
                    await self._keep(task, chunk)
                except (LeaseLost, Unavailable) as error:
                    failed = error  # as it is: a group of tasks would wrap it
                finally:
                    chunk.cut()
        if failed is not None:
            raise failed

    async def _batch(self, job: Job) -> states.Batch | None:
        """Of a chunk that was never begun it may be one that was read before: its job would be gone if it did not go
        on, or soon is."""
        known = self._known.get(job.subject) if job.attempt == 1 else None
        if known is None:
            known = await self.batches.find(job.subject)
            if known is not None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[job.subject] = known
        return known

    @contextmanager
    def _places_of(self, chunk: "_Running") -> Iterator[Places]:
        """They are forgotten when nobody uses them: names come from clients."""
        model = chunk.batch["model"]
        places = self._places.setdefault(model, Places())
        places.users += 1
        try:
            yield places
        finally:
            places.users -= 1
            if not places.users:
                del self._places[model]

    def _width(self, chunk: "_Running") -> int:
        """Of a model that is gone, or of which nobody knows just now: what its lines are told then, they are told
        soon."""
        try:
            return max(1, self._widths.lines_at_once(chunk.endpoint, chunk.batch["model"]))
        except (ModelNotFound, Unavailable):
            return 1

    async def _todo(self, batch: states.Batch, job: Job) -> Sequence[Line]:
        """The lines of the chunk that have not ended."""
        place = job.checkpoint or {}
        first, last = place["first"], place["last"]
        done = await self._ended(batch, first, last) if job.attempt > 1 or place.get("ended") else set()
        pieces = self.blobs.read(batch["digest"], place["begin"], place["end"])
        async with aclosing(pieces), aclosing(lines(pieces, longest=self._longest, first=first)) as found:
            return [line async for line in found if line.number not in done]

    async def _ended(self, batch: states.Batch, first: int, last: int) -> set[int]:
        table = batch_lines.c
        ended = sa.select(table.line).where(table.batch_id == batch["id"], table.line.between(first, last))
        async with self.database.read() as connection:
            return {*(await connection.execute(ended)).scalars()}

    def _ask(self, job: Job, chunk: "_Running", line: Line, *, watched: bool) -> Awaitable[Answered | None]:
        if watched or line.number <= chunk.suspects:
            return self._ask_watched(job, chunk, line)
        return self._answering.answer(chunk.batch, chunk.endpoint, line, chunk.handed_back)

    async def _ask_watched(self, job: Job, chunk: "_Running", line: Line) -> Answered | None:
        """Of a chunk that was begun before."""
        try:
            if line.number <= chunk.suspects:
                return await self._ask_alone(job, chunk, line)
            async with chunk.beginning:
                if not chunk.begun:
                    await self._write_down(job, chunk, **chunk.begins())
        except (LeaseLost, Unavailable):
            chunk.handed_back.set()  # whoever commits next is told the same
            return None
        return await self._answering.answer(chunk.batch, chunk.endpoint, line, chunk.handed_back)

    async def _ask_alone(self, job: Job, chunk: "_Running", line: Line) -> Answered | None:
        """Nothing else that is suspected runs in this process until what it has answered is committed: if the process
        dies meanwhile, it has died of this line. Raises LeaseLost, Unavailable."""
        if (tries := chunk.tries(line)) >= MOST_ALONE:
            return deadly(chunk.batch, line)
        async with self._alone:
            await self._write_down(job, chunk, alone={"line": line.number, "tries": tries + 1})
            answered = await self._answering.answer(chunk.batch, chunk.endpoint, line, chunk.handed_back)
            if answered is not None:
                await chunk.commits(answered)
        return None

    async def _write_down(self, job: Job, chunk: "_Running", **more: Any) -> None:
        """In the chunk's place. Raises LeaseLost, Unavailable."""
        chunk.place = {**chunk.place, "times": chunk.place.get("times", 0) + 1, **more}
        async with self.database.write() as connection:
            await self.queue.hold(connection, job, checkpoint=chunk.place)

    async def _keep(self, task: Task, chunk: "_Running") -> None:
        """Commit what comes out, until all has come, or it is to end. Raises LeaseLost, Unavailable."""
        looked = clock.monotonic()
        pause = GROUP_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
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
            pause = min(LATEST_SECONDS, max(GROUP_SECONDS, COMMITTING_SHARE * (clock.monotonic() - now)))
            if over:
                task.over.set()
                return
            if not goes_on:
                await chunk.stop()

    async def _commit(self, job: Job, chunk: "_Running", *, over: bool) -> bool:
        """Whether the batch goes on. over: the job ends, or goes back to the queue. Raises LeaseLost, Unavailable."""
        answered = list(chunk.answered)
        if not answered and not over:
            batch = await self.batches.find(job.subject)
            return batch is not None and batch["status"] == RUNNING
        tally = Tally.of([one.tally for one in answered])
        checkpoint = chunk.further(len(answered))
        whole = over and chunk.committed + len(answered) == chunk.total
        async with self.database.write() as connection:
            ended = [one.ended for one in answered]
            status = await states.took(connection, self.queue, job.subject, tally, ended, whole=whole)
            if not over:
                await self.queue.hold(connection, job, checkpoint=checkpoint)
            elif status == RUNNING and not whole:
                await self.queue.later(connection, job, run_in=0, checkpoint=checkpoint)
            else:
                await self.queue.finish(connection, job)
        chunk.place = checkpoint
        chunk.kept(len(answered))
        if over and (status != RUNNING or not whole):
            self.queue.told()
        return status == RUNNING


#: Lines one after the other, until there is none left for it.
Work = Callable[[], Coroutine[Any, Any, None]]
#: Has a line of a chunk answered. None: it has no answer yet.
Ask = Callable[["_Running", Line], Awaitable[Answered | None]]


class _Running:
    """The lines of a chunk under way. place: its checkpoint. answered: and not yet committed. over: nobody is at it any
    more. handed_back: no more lines are begun, and none is waited with. suspects: up to this line they run one by one.
    begun: that it has is written down."""

    def __init__(self, batch: states.Batch, place: Mapping[str, Any], todo: Iterable[Line]) -> None:
        self.batch = batch
        self.endpoint = endpoint_of(batch["endpoint"])
        self.place = place
        self.suspects: int = place["suspects"] if place.get("begun", 0) >= MOST_TOGETHER else 0
        self._last_alone: Mapping[str, int] = place.get("alone") or {}
        self._todo = deque(todo)
        self._first = 0
        self._runners: list[asyncio.Task[None]] = []
        self._at_it = 0
        self.total = len(self._todo)
        self.committed = 0
        self.answered: list[Answered] = []
        self._committed = asyncio.Event()
        self.over = asyncio.Event()
        self.handed_back = asyncio.Event()
        self.beginning = asyncio.Lock()
        self.begun = False

    def begin(self, group: asyncio.TaskGroup, places: Places, width: Callable[[], int], ask: Ask) -> None:
        """width: how many places there are, which may change."""
        if not self._todo:
            self.over.set()
            return
        self._first = self._todo[min(self.total, width()) - 1].number
        work = partial(self._work, places, width, ask)
        together = partial(self._spawn, group, work, width)
        if self.suspects:
            self._spawn(group, partial(self._one_by_one, work, together), lambda: 1)
        else:
            together()

    def begins(self) -> Mapping[str, Any]:
        """What is written down of it: again without having come further, and with which lines at first."""
        self.begun = True
        return {"begun": self.place.get("begun", 0) + 1, "suspects": self._first}

    def tries(self, line: Line) -> int:
        """Times that it has run alone, and nobody has come back."""
        return self._last_alone["tries"] if self._last_alone.get("line") == line.number else 0

    def further(self, count: int) -> dict[str, Any]:
        """The checkpoint once so many more have ended."""
        ended = {**self.place, "ended": self.place.get("ended", 0) + count}
        return {**ended, "times": 0, "begun": 0} if count else ended

    def _spawn(self, group: asyncio.TaskGroup, work: Work, width: Callable[[], int]) -> None:
        for _ in range(min(len(self._todo), width())):
            runner = group.create_task(work())
            runner.add_done_callback(self._ended)
            self._runners.append(runner)
            self._at_it += 1

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._at_it -= 1
        if not self._at_it:
            self.over.set()

    async def _work(self, places: Places, width: Callable[[], int], ask: Ask, last: float = inf) -> None:
        """One line after the other, in one place. last: not beyond this one."""
        await places.take(width)
        try:
            while self._todo and self._todo[0].number <= last and not self.handed_back.is_set():
                answered = await ask(self, self._todo.popleft())
                if answered is not None:
                    self.answered.append(answered)
        finally:
            places.give_back()

    async def _one_by_one(self, work: Callable[[float], Awaitable[None]], then: Callable[[], None]) -> None:
        await work(self.suspects)
        if not self.handed_back.is_set():
            then()

    def kept(self, count: int) -> None:
        """So many of the first of those answered are committed."""
        del self.answered[:count]
        self.committed += count
        self._committed.set()

    async def commits(self, one: Answered) -> None:
        """One that nothing else may be answered beside. Returns once it is."""
        self.answered.append(one)
        while self.answered:
            self._committed.clear()
            await self._committed.wait()

    def cut(self) -> None:
        for runner in self._runners:
            runner.cancel()

    async def stop(self) -> None:
        """Lines in flight are ended, and none is begun."""
        self.cut()
        if self._runners:
            await asyncio.wait(self._runners)
        self.over.set()
