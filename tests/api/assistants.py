"""Assistants, threads and messages by hand, for what the SDK would not send; and what of them the SDK warns of."""

from typing import Any

import pytest
import sqlalchemy as sa
from openai.types.beta import Thread

from homeport import clock, ids
from homeport.control import threads
from homeport.control.owners import Owner
from homeport.store import tables
from tests.api import raw
from tests.server import KEY, Running

V2: dict[str, str | None] = {"OpenAI-Beta": "assistants=v2"}
#: Every call of the SDK for them says that OpenAI has given them up.
DEPRECATED = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def ask(server: Running, method: str, path: str, body: Any = None, *, key: str = KEY) -> raw.Answer:
    return raw.ask(server, method, f"/v1/{path}", {} if body is None else body, V2, key=key)


def refused(server: Running, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    answer = ask(server, "POST", path, body)
    assert answer.status == status, answer.body
    return answer.error


def stores(thread: Thread) -> list[str]:
    resources = thread.tool_resources
    return (resources.file_search.vector_store_ids or []) if resources and resources.file_search else []


def code_files(thread: Thread) -> list[str]:
    resources = thread.tool_resources
    return (resources.code_interpreter.file_ids or []) if resources and resources.code_interpreter else []


def hold(server: Running, thread_id: str, status: str = "requires_action") -> tuple[str, int]:
    """A run that has the thread, made as one is made, but nobody works on it: its id, and the messages before it."""

    async def begin() -> tuple[str, int]:
        owner = Owner(await _project(server, thread_id), "key_test")
        async with server.app.books.database.write() as connection:
            thread = await threads.find(connection, owner, thread_id, lock=True)
            row = {
                "id": ids.run(),
                "project_id": owner.project,
                "key_id": owner.key_id,
                "thread_seq": thread["seq"],
                "assistant_id": "asst_none",
                "status": status,
                "model": "echo",
                "instructions": "",
                "tools": [],
                "parallel_tool_calls": True,
                "created_at": int(clock.now()),
                "expires_at": int(clock.now()) + 600,
                "prompt_tokens": 0,
                "completion_tokens": 0,
                "events": 0,
            }
            await connection.execute(sa.insert(tables.runs).values(row))
            count = sa.select(sa.func.count()).where(tables.items.c.thread_seq == thread["seq"])
            return row["id"], int(await connection.scalar(count) or 0)

    return server.begin(begin()).result(60)


async def _project(server: Running, thread_id: str) -> str:
    async with server.app.books.database.read() as connection:
        query = sa.select(tables.threads.c.project_id).where(tables.threads.c.id == thread_id)
        project: str = (await connection.execute(query)).scalar_one()
    return project


def let_go(server: Running, run_id: str, status: str = "completed") -> None:
    async def end() -> None:
        async with server.app.books.database.write() as connection:
            await connection.execute(sa.update(tables.runs).where(tables.runs.c.id == run_id).values(status=status))

    server.begin(end()).result(60)
