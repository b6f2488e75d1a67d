"""Runs of assistants, as durable jobs: what their rows say becomes a plan, the loop does it, and the rows say how it
ended.

A turn is written down when its model has said all of it, and a call when it has its output; so a run whose worker was
killed goes on with the call, or with the turn, that was in hand. All of that is in the run's rows: the checkpoint of
its job says no more than that it has come further.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import run_events, run_states, run_steps
from homeport.control.run_events import Event
from homeport.control.run_states import Begun, Ended, Run
from homeport.errors import HomeportError
from homeport.gateway.watching import status_of
from homeport.jobs import batch_lines, run_plan
from homeport.jobs.patience import Patience, Sign, watched
from homeport.jobs.run_scribe import RunScribe
from homeport.jobs.worker import Task
from homeport.loop.history import Pictures
from homeport.loop.loop import Loop
from homeport.loop.tools.toolbox import Toolbox
from homeport.loop.turns import Outcome
from homeport.store.events import Events
from homeport.store.queue import Job, Queue
from homeport.wire.runs import ErrorCode, LastError

BROKEN = "The server has failed several times at this run, and gives it up. Its log says why."
#: What is wrong with what was asked.
_INVALID = frozenset({400, 413, 422})


class RunJobs:
    lane: Final = run_states.LANE
    kind: Final = run_states.KIND

    def __init__(
        self, queue: Queue, events: Events, loop: Loop, toolbox: Toolbox, pictures: Pictures, *, at_once: int
    ) -> None:
        """at_once: runs that a process works on."""
        self.at_once: Final = at_once
        self._queue = queue
        self._database = queue.database
        self._events = events
        self._loop = loop
        self._toolbox = toolbox
        self._pictures = pictures

    async def run(self, task: Task) -> None:
        job = task.job
        async with self._database.write() as connection:
            begun = await run_states.begin(connection, job.subject)
            if begun is None:
                return await self._queue.finish(connection, job)
            run, first = begun.run, begun.run["events"]
            if begun.new:
                first = 1 + await self._events.tell(connection, run["seq"], [run_events.of_run(run)])
            await self._queue.hold(connection, job)
        self._events.told(run["seq"])
        async with self._events.telling(run["seq"], first, job, again=not begun.new) as telling:
            scribe = RunScribe(self._queue, job, run, telling)
            how = await self._work(task, begun, scribe)
            async with self._database.write() as connection:
                await scribe.hold_thread(connection)
                if how is Sign.STOPPING:
                    await scribe.drop(connection)
                    await self._queue.later(connection, job, run_in=0)
                else:
                    await scribe.leave(connection)
                    await telling.tell(connection, *await _ended(connection, run, how))
                    await self._queue.finish(connection, job)
            telling.told()
        task.over.set()

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        ended = await run_states.failed(connection, job.subject, LastError("server_error", BROKEN))
        if ended is not None:
            await self._events.tell(connection, ended.run["seq"], run_events.of_end(ended))
        await self._queue.finish(connection, job)

    async def _work(self, task: Task, begun: Begun, scribe: RunScribe) -> Outcome | HomeportError | Sign:
        """Until it ends, or is to be left. Raises LeaseLost; Unavailable: of the database."""
        run = begun.run
        if run["status"] == "cancelling":
            return Sign.CANCELLED
        left = run["expires_at"] - clock.now()
        if left <= 0:
            return Sign.LATE
        patience = Patience(run["expires_at"])
        how = await watched(task, self._go(begun, scribe, patience), seconds=left)
        if isinstance(how, Exception) and not (isinstance(how, HomeportError) and not patience.is_of_others(how)):
            raise how
        return how

    async def _go(self, begun: Begun, scribe: RunScribe, patience: Patience) -> Outcome:
        """Raises HomeportError, LeaseLost."""
        run = begun.run
        if not begun.new:
            await scribe.take_over()
        rows = await run_plan.read(self._database, run)
        over = run_plan.outcome(rows)
        if over is not None:
            return over
        plan = await run_plan.plan(run, rows, self._pictures)
        hosted = await self._toolbox.of_run(
            plan.who,
            thread_seq=run["thread_seq"],
            model=run["model"],
            tools=run["tools"],
            tool_resources=run["tool_resources"],
            sources=plan.sources,
        )
        return await self._loop.go(plan, scribe, hosted, wait=patience.wait)


async def _ended(connection: AsyncConnection, run: Run, how: Outcome | HomeportError | Sign) -> Sequence[Event]:
    """What is told of it."""
    if isinstance(how, Outcome) and how.status == "requires_action":
        waiting = await run_states.requires_action(connection, run)
        if waiting is not None:
            step = await run_steps.open_calls(connection, run["seq"])
            return [run_events.of_run(waiting, waiting=step)]
        how = Sign.CANCELLED
    told: list[Event] = []
    if how is Sign.CANCELLED:
        cancelling = await run_states.find(connection, run["id"])
        if cancelling is not None and cancelling["status"] == "cancelling":
            told.append(run_events.of_run(cancelling))
    ended = await _end(connection, run, how)
    return [*told, *run_events.of_end(ended)] if ended is not None else told


async def _end(connection: AsyncConnection, run: Run, how: Outcome | HomeportError | Sign) -> Ended | None:
    if how is Sign.CANCELLED:
        return await run_states.cancelled(connection, run)
    if how is Sign.LATE:
        return await run_states.expired(connection, run)
    if isinstance(how, HomeportError):
        return await run_states.failed(connection, run["id"], last_error(how))
    assert isinstance(how, Outcome), how
    if how.status == "incomplete":
        return await run_states.incomplete(connection, run, how.reason)
    return await run_states.completed(connection, run)


def last_error(error: HomeportError) -> LastError:
    """As the run has it."""
    status = status_of(error)
    code: ErrorCode = "server_error"
    if status == 429 or (status == 503 and batch_lines.wait(error, 1) is not None):
        code = "rate_limit_exceeded"
    elif status in _INVALID:
        code = "invalid_prompt"
    return LastError(code, error.message)
