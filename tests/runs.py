"""Runs through the official SDK, and what becomes of them said by hand: a server whose worker works on none."""

from collections.abc import Sequence
from typing import Any

import openai
import sqlalchemy as sa
from openai.types.beta.threads import Run
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import run_events, run_states, run_steps
from homeport.store.calls import Calling
from homeport.store.queue import Job, Queue
from homeport.store.tables import items, jobs, runs
from homeport.store.tables import run_events as events
from homeport.wire.runs import LastError
from tests.fine_tuning import drive
from tests.server import Running

#: Nobody works on jobs, and no code is run.
SETTINGS: dict[str, Any] = {"jobs": {"in_server": False}, "code_interpreter": {"enabled": False}}
FUNCTION: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def new(client: openai.OpenAI, **more: Any) -> Run:
    """A run in a thread of its own."""
    return begun(client, client.beta.threads.create(messages=[{"role": "user", "content": "hello"}]).id, **more)


def begun(client: openai.OpenAI, thread: str, **more: Any) -> Run:
    assistant = client.beta.assistants.create(model="echo", tools=[FUNCTION])
    run: Run = client.beta.threads.runs.create(thread, assistant_id=assistant.id, **more)
    return run


def again(client: openai.OpenAI, run: Run) -> Run:
    return client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)


def call(number: int = 1, **more: Any) -> Calling:
    made = {"type": "function", "name": "weather", "arguments": '{"city": "Rome"}', **more}
    return Calling(id=f"call_{number}", **made)


class Worker:
    """Has a run's job, as a worker would have it. Each method is one of its commits."""

    run: run_states.Run

    def __init__(self, server: Running, run_id: str) -> None:
        """It has begun: the run is in progress."""
        self._server = server
        self._id = run_id
        self.job = server.begin(_claim(server.app.durable.queue, run_id)).result(timeout=60)

        async def begin(connection: AsyncConnection, _: Queue) -> None:
            begun = await run_states.begin(connection, run_id)
            assert begun is not None
            self.run = begun.run
            if begun.new:
                await self._tell(connection, [run_events.of_run(self.run)])

        drive(server, begin)

    def requires(self, *calls: Calling) -> bool:
        """Outputs of functions; False: it is to be cancelled. Hosted calls are there with their outputs."""

        async def require(connection: AsyncConnection, queue: Queue) -> bool:
            run = await run_states.requires_action(connection, self.run)
            if run is None:
                return False
            step = run_steps.used(run_steps.new(self.run, calls=calls), 20, 10)
            await run_steps.save(connection, step)
            await run_states.spend(connection, self.run, 20, 10)
            await self._tell(connection, [run_events.of_run(run, waiting=step)])
            await queue.finish(connection, self.job)
            return True

        return drive(self._server, require)

    def says(self, text: str, *, half: bool = False) -> str:
        """The id of the message. half: it is still being said."""
        message_id = ids.message()

        async def say(connection: AsyncConnection, _: Queue) -> None:
            now = int(clock.now())
            row = {
                "id": message_id,
                "project_id": self.run["project_id"],
                "thread_seq": self.run["thread_seq"],
                "output": True,
                "created_at": now,
                "type": "message",
                "role": "assistant",
                "status": "in_progress" if half else "completed",
                "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
                "assistant_id": self.run["assistant_id"],
                "run_id": self._id,
                "completed_at": None if half else now,
            }
            await connection.execute(items.insert().values(row))
            step = run_steps.new(self.run, message_id=message_id)
            if not half:
                step = run_steps.ended(run_steps.used(step, 30, 5))
                await run_states.spend(connection, self.run, 30, 5)
            await run_steps.save(connection, step)

        drive(self._server, say)
        return message_id

    def calls(self, *calls: Calling) -> None:
        """Hosted ones, with their results."""

        async def save(connection: AsyncConnection, _: Queue) -> None:
            await run_steps.save(connection, run_steps.ended(run_steps.new(self.run, calls=calls)))

        drive(self._server, save)

    def ends(self, status: str, reason: Any = None) -> bool:
        """False: it was not so. reason: of `incomplete`; of `failed` the error."""

        async def end(connection: AsyncConnection, queue: Queue) -> bool:
            if status == "failed":
                ended = await run_states.failed(connection, self._id, reason or LastError("server_error", "Broken."))
            elif status == "incomplete":
                ended = await run_states.incomplete(connection, self.run, reason)
            else:
                ended = await getattr(run_states, status)(connection, self.run)
            if ended is None:
                return False
            await self._tell(connection, run_events.of_end(ended))
            await queue.finish(connection, self.job)
            return True

        return drive(self._server, end)

    def puts_back(self) -> None:
        """Its process ends."""
        drive(self._server, lambda connection, queue: queue.later(connection, self.job, run_in=0))

    def dies(self) -> None:
        """Its lease has ended."""
        late = sa.update(jobs).where(jobs.c.id == self.job.id).values(run_at=0)
        drive(self._server, lambda connection, _: connection.execute(late))

    async def _tell(self, connection: AsyncConnection, told: Sequence[run_events.Event]) -> None:
        await self._server.app.durable._assisting._run_events.tell(connection, self.run["seq"], told)


async def _claim(queue: Queue, run_id: str) -> Job:
    """Whoever else has one to do puts it back."""
    for job in await queue.claim({run_states.KIND: 1000}, "by hand"):
        if job.subject == run_id:
            found = job
        else:
            async with queue.database.write() as connection:
                await queue.later(connection, job, run_in=0)
    return found


def late(server: Running, run: Run, seconds: int = 1) -> None:
    """It should have ended so many seconds ago."""
    past = sa.update(runs).where(runs.c.id == run.id).values(expires_at=int(clock.now()) - seconds)
    drive(server, lambda connection, _: connection.execute(past))


def expire(server: Running) -> None:
    """The chore."""
    server.begin(server.app.durable._assisting._runs.expire()).result(timeout=60)


def jobs_of(server: Running, run: Run) -> int:
    return drive(server, lambda connection, queue: queue.left(connection, run.id, run_states.KIND))


def told(server: Running, run: Run) -> list[tuple[int, str]]:
    """Its events: their numbers and names."""

    async def read(connection: AsyncConnection, _: Queue) -> list[tuple[int, str]]:
        mine = sa.select(runs.c.seq).where(runs.c.id == run.id).scalar_subquery()
        query = sa.select(events.c.number, events.c.event).where(events.c.run_seq == mine).order_by(events.c.number)
        return [(row.number, row.event) for row in await connection.execute(query)]

    return drive(server, read)
