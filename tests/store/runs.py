"""Rows of runs, as they stand once somebody has begun them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import ids
from homeport.store.tables import projects, runs, threads

PROJECT = "proj_1"


async def make_run(connection: AsyncConnection, **values: Any) -> int:
    """The number of a run of a new thread."""
    if await connection.scalar(sa.select(projects.c.id).where(projects.c.id == PROJECT)) is None:
        await connection.execute(projects.insert().values(id=PROJECT, name="P", created_at=0))
    thread = threads.insert().values(id=ids.thread(), project_id=PROJECT, created_at=0)
    thread_seq = await connection.scalar(thread.returning(threads.c.seq))
    given = {
        "id": ids.run(),
        "project_id": PROJECT,
        "key_id": "key_1",
        "thread_seq": thread_seq,
        "assistant_id": "asst_1",
        "status": "in_progress",
        "model": "echo",
        "instructions": "",
        "tools": [],
        "parallel_tool_calls": True,
        "created_at": 0,
        "expires_at": 600,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "events": 0,
    }
    made = await connection.execute(runs.insert().values(given | values).returning(runs.c.seq))
    return int(made.scalar_one())
