"""A queue on SQLite and on PostgreSQL, and a way to make time pass in it."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.queue import Job, Queue
from homeport.store.tables import jobs
from tests.store import empty

T = TypeVar("T")


@dataclass
class Bench:
    """A queue on a loop of its own."""

    runner: asyncio.Runner
    database: Database
    queue: Queue

    def run(self, work: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await work

        return self.runner.run(wrapped())

    def enqueue(self, subject: str = "s", *, kind: str = "toy", lane: str = "toys", **more: Any) -> str:
        async def enqueue() -> str:
            async with self.database.write() as connection:
                return await self.queue.enqueue(connection, lane, kind, subject, **more)

        return self.run(enqueue())

    def claim(self, limit: int = 100, *, kind: str = "toy", owner: str = "me") -> list[Job]:
        return self.run(self.queue.claim({kind: limit}, owner))

    def claim_one(self) -> Job:
        (job,) = self.claim(1)
        return job

    def do(self, method: str, *arguments: Any, **more: Any) -> Any:
        """A method of the queue in a transaction of its own."""

        async def do() -> Any:
            async with self.database.write() as connection:
                return await getattr(self.queue, method)(connection, *arguments, **more)

        return self.run(do())

    def pass_time(self, seconds: float) -> None:
        """For everything that waits for a time."""
        self.execute(sa.update(jobs).values(run_at=jobs.c.run_at - seconds))

    def execute(self, statement: Any) -> None:
        async def execute() -> None:
            async with self.database.write() as connection:
                await connection.execute(statement)

        self.run(execute())

    def rows(self) -> list[Any]:
        async def rows() -> list[Any]:
            async with self.database.read() as connection:
                return [*(await connection.execute(sa.select(jobs).order_by(jobs.c.seq))).all()]

        return self.run(rows())


@contextmanager
def opened(url: str) -> Iterator[Bench]:
    """With its tables, and empty."""
    with asyncio.Runner() as runner:
        file = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite") and not file.exists():
            empty.copy(file.parent)
        database = Database(url)
        made = Bench(runner, database, Queue(database))
        made.run(migrate(database, "state"))
        made.execute(sa.delete(jobs))
        yield made
        made.run(database.close())
