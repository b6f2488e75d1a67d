"""Every handler of the house ends the job that it gives up: a worker asks for nothing more."""

import asyncio
from pathlib import Path

import msgspec
import sqlalchemy as sa

from homeport import app
from homeport.jobs.housekeeping import Chore
from homeport.settings import Settings
from homeport.store.queue import QUEUED
from homeport.store.tables import jobs
from tests.server import KEY


def test_what_is_given_up_is_nobodys_job(tmp_path: Path) -> None:
    """Whatever it was about is gone. A chore is back, for its next time."""
    settings = msgspec.convert({"server": {"data": str(tmp_path)}, "models": {"echo": {"engine": "echo"}}}, Settings)

    async def whole() -> None:
        built = app.build(settings)
        try:
            await built.open(KEY)
            queue, worker = built.durable.queue, built.durable._worker
            assert worker is not None
            for kind, handler in worker._handlers.items():
                chore = isinstance(handler, Chore)
                async with queue.database.write() as connection:
                    await queue.enqueue(connection, handler.lane, kind, "" if chore else "0", only=True, priority=-1)
                    await connection.execute(sa.update(jobs).where(jobs.c.kind == kind).values(run_at=0))
                (job,) = await queue.claim({kind: 1}, "a test")
                async with queue.database.write() as connection:
                    await handler.give_up(connection, job, "It failed.")
                async with queue.database.read() as connection:
                    query = sa.select(jobs.c.status, jobs.c.attempt).where(jobs.c.kind == kind)
                    left = [tuple(row) for row in await connection.execute(query)]
                assert left == ([(QUEUED, 0)] if chore else []), kind
        finally:
            await built.close()

    asyncio.run(whole())
