"""Claims jobs and runs their handlers. What a job goes through is drawn in docs/queue.md.

    worker = Worker(queue, [handler, ...], name="...")
    await worker.run()        # until drain(), and all jobs in hand have ended; cancelled, it hands them back

A handler ends its job itself (`Queue.finish`, or `later`), in the transaction that holds what came of it, and last: the
rows of jobs are taken after those of what they are about. It fails by an exception: then it is tried again, after 1, 4,
16 and 64 seconds, and after the fifth time it is given up.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, logs
from homeport.errors import SettingsError, Unavailable
from homeport.jobs.heartbeat import Heartbeat, Lease
from homeport.store.queue import Beat, Claim, Job, LeaseLost, Queue

log = logging.getLogger("homeport.jobs")

#: Times that a job is tried, without having come further meanwhile.
ATTEMPTS = 5
#: Seconds until it is tried again: the first time, and how often as many each time after.
_FIRST_REST, _FACTOR = 1.0, 4.0
#: Until it is tried again to give a job up.
_LONG_REST = 300.0
#: For handing jobs back at the end.
_ENDING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """A job in its handler's hands.

    stopping: this process ends: come to a checkpoint and return soon, with the job finished or put off (`later`);
    otherwise it is cut off and handed back. cancelled: somebody wants the job ended: end it. It may be set from the
    beginning. over: its handler may say so when it has ended the job, and that is committed; else it is looked up.
    """

    job: Job
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Handler(Protocol):
    """Does one kind of jobs. kind: no other handler has it. at_once: jobs of this kind at once in a process."""

    @property
    def lane(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def at_once(self) -> int: ...

    async def run(self, task: Task) -> None:
        """Do it, and end it. It is cancelled (asyncio's way) when its lease is lost, or the process cannot wait."""
        ...

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        """It has failed so often that it is not tried again: whoever waits for it must hear of it, by rows that are
        written in this transaction, which ends it (`Queue.finish`). error: of the last time; without content, for the
        operator."""
        ...


#: What is counted. retried: claimed, and not for the first time.
EVENTS = ("claimed", "retried", "failed", "given_up", "lost")


class Event(NamedTuple):
    """what: one of EVENTS."""

    lane: str
    kind: str
    what: str


@dataclass(slots=True, eq=False)
class _Held:
    """running: what runs it. lost: somebody else has it, or may have."""

    task: Task
    lease: Lease
    running: "asyncio.Task[None] | None" = None
    lost: bool = False

    def lose(self) -> None:
        """Nothing that it could still write would count."""
        self.lost = True
        self.task.cancelled.set()
        if self.running is not None:
            self.running.cancel()


class Worker:
    """counts: what has happened since it began."""

    def __init__(
        self,
        queue: Queue,
        handlers: Iterable[Handler],
        *,
        name: str,
        lanes: Collection[str] = (),
        poll_seconds: float = 1.0,
    ) -> None:
        """name: for the operator to read. lanes: that it works on; all by default. poll_seconds: how often it looks for
        jobs that nobody has told of, and whether those in hand are to end.

        Raises SettingsError: there is no such lane.
        """
        known = list(handlers)
        check_lanes(lanes, known)
        self._queue = queue
        self._handlers = {one.kind: one for one in known if not lanes or one.lane in lanes}
        assert len({one.kind for one in known}) == len(known), "a kind of jobs has one handler"
        self._name = name
        self._poll_seconds = poll_seconds
        self._hand: dict[Claim, _Held] = {}
        self._draining = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        kinds = [(one.lane, one.kind) for one in self._handlers.values()]
        self.counts = Counter({Event(*kind, what): 0 for kind in kinds for what in EVENTS})

    async def run(self) -> None:
        """Until it is drained, or cancelled."""
        self._loop = asyncio.get_running_loop()
        self._idle.clear()
        try:
            heartbeat = Heartbeat(self._queue, self._leases, self._heard, look_seconds=self._poll_seconds)
            async with heartbeat, asyncio.TaskGroup() as beside:
                watching = [beside.create_task(self._queue.listen()), beside.create_task(self._watch_leases())]
                async with asyncio.TaskGroup() as group:
                    await self._claim_until_drained(group)
                for task in watching:
                    task.cancel()
        finally:
            try:
                await self._hand_back()
            finally:
                self._idle.set()

    def drain(self) -> None:
        """Claim nothing more, and tell the handlers. From any thread, and from a handler of signals."""
        self._draining.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop)

    async def drained(self) -> None:
        """Returns when nothing is in hand any more."""
        await self._idle.wait()

    def _stop(self) -> None:
        for held in self._hand.values():
            held.task.stopping.set()
        self._queue.told()

    async def _claim_until_drained(self, group: asyncio.TaskGroup) -> None:
        while not self._draining.is_set():
            room = self._room()
            claimed: list[Job] = []
            began = clock.monotonic()
            with suppress(Unavailable):  # which those say who follow changes
                claimed = await self._queue.claim(room, self._name)
            for job in claimed:
                held = _Held(Task(job), Lease(job, began + self._queue.lease_seconds))
                self._hand[job.claim] = held
                self._count(job, "claimed")
                if job.attempt > 1:
                    self._count(job, "retried")
                if job.cancel_requested:
                    held.task.cancelled.set()
                if self._draining.is_set():
                    held.task.stopping.set()
                held.running = group.create_task(self._work(held), name=f"{job.kind} {job.id}")
            if not claimed or len(claimed) < sum(room.values()):
                await self._queue.wait(self._poll_seconds)

    def _room(self) -> Mapping[str, int]:
        taken = Counter(held.task.job.kind for held in self._hand.values())
        room = {kind: handler.at_once - taken[kind] for kind, handler in self._handlers.items()}
        return {kind: places for kind, places in room.items() if places > 0}

    async def _work(self, held: _Held) -> None:
        job = held.task.job
        try:
            await self._attempt(self._handlers[job.kind], held.task)
        except asyncio.CancelledError:
            if not held.lost:
                raise  # it stays in hand, and is handed back
            self._lost(job)
        except LeaseLost:
            self._lost(job)
        except Unavailable:
            log.warning("%s %s: the database cannot be reached; it goes on when its lease has ended", job.kind, job.id)
        except Exception:
            log.exception("%s %s goes on when its lease has ended", job.kind, job.id)
        del self._hand[job.claim]
        self._queue.told()  # there is room for another

    async def _attempt(self, handler: Handler, task: Task) -> None:
        """Raises LeaseLost, Unavailable."""
        job = task.job
        if job.attempt > ATTEMPTS:
            await self._failed(handler, job, "every time whoever ran it was killed, or could not say why it failed")
            return
        try:
            await handler.run(task)
        except LeaseLost:
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            await self._failed(handler, job, logs.trail(error))  # something that it waited for was
            return
        except Exception as error:
            await self._failed(handler, job, logs.trail(error))
            return
        if not task.over.is_set() and await self._queue.holds(job):
            await self._failed(handler, job, "its handler has returned without having ended it")

    async def _failed(self, handler: Handler, job: Job, error: str) -> None:
        """Raises LeaseLost, Unavailable."""
        try:
            async with self._queue.database.write() as connection:
                attempt = await self._queue.hold(connection, job)
                over = attempt >= ATTEMPTS
                rest = _FIRST_REST * _FACTOR ** (attempt - 1)
                if not over:
                    await self._queue.later(connection, job, run_in=rest, error=error)
            if over:  # apart: there the job's row comes last
                async with self._queue.database.write() as connection:
                    await handler.give_up(connection, job, error)
        except LeaseLost:
            log.warning("%s %s is not to be tried again here: %s", job.kind, job.id, error)
            raise
        except Unavailable:
            raise
        except Exception:
            log.exception("%s %s cannot be given up", job.kind, job.id)
            async with self._queue.database.write() as connection:
                await self._queue.later(connection, job, run_in=_LONG_REST, error=error)
            return
        self._count(job, "given_up" if over else "failed")
        then = "it is given up" if over else f"again in {rest:g} s"
        log.log(
            logging.ERROR if over else logging.WARNING,
            "%s %s failed (%d): %s; %s",
            *(job.kind, job.id, attempt, error, then),
        )

    def _lost(self, job: Job) -> None:
        self._count(job, "lost")
        log.warning("%s %s: its lease is lost: it was ended, or somebody else has it now", job.kind, job.id)

    def _count(self, job: Job, what: str) -> None:
        self.counts[Event(job.lane, job.kind, what)] += 1

    def _leases(self) -> list[Lease]:
        """Called in the heartbeat's thread."""
        return [held.lease for held in list(self._hand.values())]

    def _heard(self, beat: Beat) -> None:
        for held in self._hand.values():
            if held.task.job.claim in beat.lost:
                held.lose()
            elif held.task.job.claim in beat.cancelled:
                held.task.cancelled.set()

    async def _watch_leases(self) -> None:
        """When nobody can renew them, jobs end before others may take them over."""
        while True:
            await clock.sleep(min(self._poll_seconds, self._queue.lease_seconds / 10))
            for held in self._hand.values():
                if not held.lost and clock.monotonic() > held.lease.until:
                    held.lose()

    async def _hand_back(self) -> None:
        """What was cut off can go on elsewhere at once."""
        with suppress(Unavailable, TimeoutError):  # then it goes on when its lease has ended
            async with asyncio.timeout(_ENDING_SECONDS):
                for held in [*self._hand.values()]:
                    del self._hand[held.task.job.claim]
                    with suppress(LeaseLost):
                        async with self._queue.database.write() as connection:
                            await self._queue.later(connection, held.task.job, run_in=0)


def _is_cancelled() -> bool:
    """This task itself is."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def check_lanes(lanes: Collection[str], handlers: Iterable[Handler]) -> None:
    """Raises SettingsError."""
    known = sorted({one.lane for one in handlers})
    for lane in lanes:
        if lane not in known:
            raise SettingsError(f"jobs.lanes: there is no lane {lane!r}. There are: {', '.join(known)}.")
