"""Changes: whole or not at all, one at a time, in the log in their order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from homeport.control.changes import Actor, Changes
from homeport.control.invites import Invites
from homeport.control.projects import Projects
from homeport.control.rate_limits import RateLimits
from homeport.errors import InvalidRequest
from homeport.store.database import Database
from homeport.store.tables import audit_logs, invites, projects, rate_limits, revision
from homeport.wire.admin.invites import InviteRequest
from homeport.wire.admin.projects import ProjectCreateRequest
from homeport.wire.admin.rate_limits import ProjectRateLimitUpdateRequest
from tests.api.admin.served import Tiers
from tests.control.databases import prepare

ACTOR = Actor(key_id="key_1")


def run(database: Database, test: Callable[[Changes], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await test(await prepare(database))
        finally:
            await database.close()

    asyncio.run(whole())


async def all_of(database: Database, query: "sa.Select[Any]") -> list[Any]:
    async with database.read() as connection:
        return [*(await connection.execute(query)).all()]


async def many(changes: Changes) -> None:
    made = await asyncio.gather(
        *(Projects(changes, ()).create(ACTOR, ProjectCreateRequest(name=f"n{number}")) for number in range(20))
    )
    assert len({project.id for project in made}) == 20
    ((value,),) = await all_of(changes.database, sa.select(revision.c.value))
    assert value == 20
    rows = await all_of(changes.database, sa.select(projects.c.id).order_by(projects.c.seq))
    logged = await all_of(changes.database, sa.select(audit_logs.c.resource_id).order_by(audit_logs.c.seq))
    assert rows == logged


async def failures(changes: Changes) -> None:
    woken = []

    async def on_change() -> None:
        woken.append(1)

    watched = Changes(changes.database, on_change)
    with pytest.raises(RuntimeError):
        await _make(watched, log=True, fail=True)
    with pytest.raises(AssertionError):  # nobody changes anything without saying so
        await _make(watched, log=False, fail=False)
    assert woken == []
    for table in (projects, audit_logs):
        assert await all_of(changes.database, sa.select(table)) == []
    assert await all_of(changes.database, sa.select(revision.c.value)) == [(0,)]
    async with watched.change(ACTOR) as change:
        change.log("organization.updated", "org")
        assert woken == []
    assert woken == [1]


async def _make(changes: Changes, *, log: bool, fail: bool) -> None:
    async with changes.change(ACTOR) as change:
        await change.connection.execute(projects.insert().values(id="proj_1", name="x", created_at=1))
        if log:
            change.log("project.created", "proj_1")
        if fail:
            raise RuntimeError


async def rivals(changes: Changes) -> None:
    """What one change looks at cannot be changed by another before it is made."""
    asked = InviteRequest(email="a@example.com", role="owner")
    answers = await asyncio.gather(*(Invites(changes).create(ACTOR, asked) for _ in range(6)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(error, InvalidRequest) for error in refused)
    assert len(await all_of(changes.database, sa.select(invites))) == 1
    project = await Projects(changes, ()).create(ACTOR, ProjectCreateRequest(name="x"))
    limits = RateLimits(changes, Tiers())
    limit = ProjectRateLimitUpdateRequest(max_requests_per_1_minute=5)
    await asyncio.gather(*(limits.modify(ACTOR, project.id, "rl-gpt-4", limit) for _ in range(6)))
    assert len(await all_of(changes.database, sa.select(rate_limits))) == 1


def test_many_at_once_are_logged_in_their_order(database: Database) -> None:
    run(database, many)


def test_a_change_that_fails_leaves_nothing(database: Database) -> None:
    run(database, failures)


def test_rivals_wait_for_each_other(database: Database) -> None:
    run(database, rivals)
