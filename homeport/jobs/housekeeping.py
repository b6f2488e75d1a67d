"""What is to be done now and then, by one process of all: a row of the queue for each chore, which waits for its
interval when it is new (a house that has just been built needs no sweeping), and whenever it was done.

    waiting --- its time has come ---> running --- done, or failed ---> waiting, for its interval

A chore may run again before its time (after a kill): it must do no harm twice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.errors import Unavailable
from homeport.jobs.worker import Task
from homeport.store.queue import Job, Queue

log = logging.getLogger("homeport.jobs")

LANE = "housekeeping"


class Chore:
    """Handler of one kind of jobs, of which there is one."""

    lane = LANE
    at_once = 1

    def __init__(self, queue: Queue, kind: str, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        """seconds: from the end of one time to the beginning of the next."""
        self._queue = queue
        self.kind = kind
        self._seconds = seconds
        self._do = do

    async def run(self, task: Task) -> None:
        try:
            await self._do()
        except Unavailable:
            pass  # said elsewhere; there is a next time
        except Exception:
            log.exception("%s has failed; again in %g s", self.kind, self._seconds)
        async with self._queue.database.write() as connection:
            await self._queue.later(connection, task.job, run_in=self._seconds)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        await self._queue.finish(connection, job)
        await self.begin(connection)

    async def begin(self, connection: AsyncConnection) -> None:
        """There is a row for it, from now on. Whoever does this first does it for all."""
        await self._queue.enqueue(connection, self.lane, self.kind, "", run_in=self._seconds, only=True)


async def begin(queue: Queue, chores: Sequence[Chore]) -> None:
    """Raises Unavailable."""
    async with queue.database.write() as connection:
        for chore in chores:
            await chore.begin(connection)
