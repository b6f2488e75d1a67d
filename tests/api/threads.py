"""Threads with what was said and called in them, written straight into a server's database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from homeport import ids
from homeport.control.bootstrap import DEFAULT_PROJECT
from homeport.store.tables import items, projects, run_steps, runs, threads
from tests.server import Running

#: The id of the project that a server begins with.
PROJECT = sa.select(projects.c.id).where(projects.c.name == DEFAULT_PROJECT).scalar_subquery()
#: A moment.
BEGAN = 1_700_000_000


class Thread(NamedTuple):
    """messages: their ids, in their order."""

    id: str
    created_at: int
    messages: list[str]


class Said(NamedTuple):
    """run: which of the runs has said it."""

    role: str
    content: list[Any]
    run: int | None


def said(role: str, text: str, *more: Any, annotations: Sequence[Any] = (), run: int | None = None) -> Said:
    return Said(role, [{"type": "text", "text": {"value": text, "annotations": [*annotations]}}, *more], run)


def write(server: Running, *statements: Any) -> None:
    """In one transaction."""

    async def run() -> None:
        async with server.app.books.database.write() as connection:
            for statement in statements:
                await connection.execute(statement)

    server.begin(run()).result()


def thread_of(
    server: Running, messages: Sequence[Said], *, runs: Sequence[Sequence[Any]] = (), metadata: Any = None
) -> Thread:
    """One second lies between two messages. runs: the steps of each: calls, or which message it made."""
    thread_id = ids.thread()
    row = {"id": thread_id, "project_id": PROJECT, "created_at": BEGAN, "metadata": metadata}
    seq = sa.select(threads.c.seq).where(threads.c.id == thread_id).scalar_subquery()
    run_ids = [ids.run() for _ in runs]
    message_ids = [ids.message() for _ in messages]
    write(
        server,
        sa.insert(threads).values(**row),
        *[_run(run_id, seq, BEGAN + (1 if at == 0 else len(messages) * 10)) for at, run_id in enumerate(run_ids)],
        *[_message(message_ids[at], seq, one, BEGAN + 1 + at, run_ids) for at, one in enumerate(messages)],
        *[_step(run_ids[at], step, message_ids) for at, steps in enumerate(runs) for step in steps],
    )
    return Thread(thread_id, BEGAN, message_ids)


def _message(message_id: str, thread_seq: Any, one: Said, moment: int, run_ids: Sequence[str]) -> Any:
    return sa.insert(items).values(
        id=message_id,
        project_id=PROJECT,
        thread_seq=thread_seq,
        output=False,
        created_at=moment,
        type="message",
        role=one.role,
        status="completed",
        content=one.content,
        run_id=None if one.run is None else run_ids[one.run],
    )


def _run(run_id: str, thread_seq: Any, moment: int) -> Any:
    """One that has ended."""
    return sa.insert(runs).values(
        id=run_id,
        project_id=PROJECT,
        key_id="key_x",
        thread_seq=thread_seq,
        assistant_id="asst_x",
        status="completed",
        model="echo",
        instructions="",
        tools=[],
        parallel_tool_calls=True,
        created_at=moment,
        expires_at=moment + 600,
        events=0,
        prompt_tokens=0,
        completion_tokens=0,
    )


def _step(run_id: str, step: Any, message_ids: Sequence[str]) -> Any:
    said = isinstance(step, int)
    pending = not said and any(call["output"] is None for call in step)
    return sa.insert(run_steps).values(
        id=ids.run_step(),
        run_seq=sa.select(runs.c.seq).where(runs.c.id == run_id).scalar_subquery(),
        type="message_creation" if said else "tool_calls",
        status="in_progress" if pending else "completed",
        message_id=message_ids[step] if said else None,
        calls=None if said else step,
        created_at=BEGAN + 1,
    )
