"""A worker in a process of its own, which tests may kill: `python -m tests.jobs.toy URL NAME GATE [LEASE SECONDS]`.

Each job is STEPS steps, and each of them is a row of `steps`, which would take the same one twice. Behind its first
step it waits until there is a file GATE.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.jobs.worker import Task, Worker
from homeport.store.database import Database
from homeport.store.queue import Job, Queue

STEPS = 4
LEASE_SECONDS = 2.0

steps = sa.Table(
    "steps",
    sa.MetaData(),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)


class Steps:
    """Handler."""

    lane = "toys"
    kind = "toy"
    at_once = 4

    def __init__(self, queue: Queue, name: str, gate: Path) -> None:
        self._queue = queue
        self._name = name
        self._gate = gate

    async def run(self, task: Task) -> None:
        job = task.job
        for step in range((job.checkpoint or {"done": 0})["done"], STEPS):
            await asyncio.sleep(random.random() * 0.05)
            while step and not self._gate.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            async with self._queue.database.write() as connection:
                await connection.execute(steps.insert().values(subject=job.subject, step=step, by=self._name))
                if step + 1 == STEPS:
                    await self._queue.finish(connection, job)
                elif task.stopping.is_set():
                    await self._queue.later(connection, job, run_in=0, checkpoint={"done": step + 1})
                    return
                else:
                    await self._queue.hold(connection, job, checkpoint={"done": step + 1})

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        await connection.execute(steps.insert().values(subject=job.subject, step=-1, by=error))
        await self._queue.finish(connection, job)


async def work(
    url: str, name: str, gate: Path, begun: Callable[[Worker], None], *, lease_seconds: float = LEASE_SECONDS
) -> None:
    database = Database(url)
    queue = Queue(database, lease_seconds=lease_seconds)
    worker = Worker(queue, [Steps(queue, name, gate)], name=name, poll_seconds=0.1)
    begun(worker)
    try:
        await worker.run()
    finally:
        await database.close()


def drain_on_sigterm(worker: Worker) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)


if __name__ == "__main__":
    url, name, gate, *lease = sys.argv[1:]
    lease_seconds = float(lease[0]) if lease else LEASE_SECONDS
    asyncio.run(work(url, name, Path(gate), drain_on_sigterm, lease_seconds=lease_seconds))
