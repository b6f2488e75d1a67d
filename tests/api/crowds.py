"""Many at once, of one server on SQLite, and of two on PostgreSQL: who comes first is decided by the database."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport.store.database import Database
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer

_numbers = count()


@contextmanager
def replicas(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, settings: dict[str, Any]
) -> Iterator[Sequence[Running]]:
    """As the fixture's parameter says: one, or two that have one database."""
    if request.param == "sqlite":
        with running(folders.mktemp("races"), settings) as one:
            yield [one]
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    shared = {**settings, "database_url": postgres.create(f"run_races_{next(_numbers)}")}
    with running(folders.mktemp("races"), shared) as one, running(folders.mktemp("races"), shared) as two:
        yield [one, two]
    assert asyncio.run(_deadlocks(shared["database_url"])) == 0


async def _deadlocks(url: str) -> int:
    """Circles of those who waited for each other, as PostgreSQL has counted them. Whoever met one has not always said
    so: what a worker does not write is done again."""
    database = Database(url)
    try:
        async with database.read() as connection:
            mine = sa.text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            found: int = await connection.scalar(mine)
            return found
    finally:
        await database.close()


#: What one of many does, as a client of one of the servers.
Act = Callable[[openai.AsyncOpenAI], Awaitable[Any]]


def at_once(servers: Sequence[Running], *acts: Act) -> list[Any]:
    """Their answers, in the order of the acts; what is refused (400) is the message. They are given to the servers in
    turn."""

    async def act() -> list[Any]:
        clients = [openai.AsyncOpenAI(base_url=one.base_url, api_key=KEY, max_retries=0) for one in servers]
        try:
            turns = zip(acts, cycle(clients))
            return await asyncio.gather(*(one(made) for one, made in turns), return_exceptions=True)
        finally:
            for made in clients:
                await made.close()

    answers = asyncio.run(act())
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, openai.BadRequestError):
            raise answer
    return [one.body["message"] if isinstance(one, openai.BadRequestError) else one for one in answers]  # type: ignore[index]


def by_hand(act: Callable[[], object]) -> Act:
    """What a worker does, beside the others."""

    async def threaded(_: openai.AsyncOpenAI) -> object:
        return await asyncio.to_thread(act)

    return threaded


def in_loop(server: Running, work: Callable[[], Coroutine[Any, Any, Any]]) -> Act:
    """As by_hand, in the server's own loop."""

    async def waited(_: openai.AsyncOpenAI) -> Any:
        return await asyncio.wrap_future(server.begin(work()))

    return waited
