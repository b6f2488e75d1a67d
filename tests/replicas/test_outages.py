"""What others need is gone for a while: requests are answered all the same, or refused at once, and nothing is lost."""

import asyncio
import importlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from homeport.store.redis import HEARTBEAT_SECONDS
from tests.api.raw import Answer
from tests.fake_upstream import until
from tests.replicas.house import PICO_PER_CENT, House, Project, housed, spent
from tests.replicas.http import at_once, chat
from tests.replicas.test_budgets import ASKED, DOLLAR, WORST
from tests.store.servers import PostgresServer, RedisServer

LIMIT, CLIENTS = 100, 130


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def refused_at_once(house: House, project: Project) -> None:
    """Nobody waits for Redis to come back: nobody brings it back before they are answered."""
    answers = at_once(house.ports, project.key, chat("away"), 20)
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (503, "limits_unavailable")
        assert answer.headers["retry-after"] == "1"


def served_again(house: House, project: Project) -> None:
    for one in house.replicas:
        served = lambda one=one: at_once([one.port], project.key, chat("away"), 1)[0].status == 200  # noqa: E731
        assert until(served)


def test_without_redis_requests_are_refused_at_once_and_counted_again_afterwards(
    fragile: RedisServer, tmp_path: Path
) -> None:
    with housed(tmp_path, redis_url=fragile.url) as house:
        project = house.new_project()
        house.rate_limit(project, "counted", max_requests_per_1_day=LIMIT)
        served_again(house, project)
        fragile.freeze()
        refused_at_once(house, project)
        fragile.thaw()
        served_again(house, project)
        fragile.kill()
        refused_at_once(house, project)
        refused_at_once(house, project)
        fragile.start()
        served_again(house, project)
        answers = at_once(house.ports, project.key, chat("counted"), CLIENTS)
        assert statuses(answers) == {200: LIMIT, 429: CLIENTS - LIMIT}


def test_without_redis_replicas_go_on_with_their_shares(
    fragile: RedisServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = '[limits]\nwithout_redis = "share"'
    url = postgres.create("shares")
    with housed(tmp_path, replicas=2, database_url=url, redis_url=fragile.url, settings=settings) as house:
        project, rich = house.new_project(), house.new_project()
        house.rate_limit(project, "counted", max_requests_per_1_day=LIMIT)
        house.spend_limit(rich, cents=DOLLAR)
        (first,) = at_once([house.first.port], rich.key, ASKED, 1)
        assert first.status == 200
        time.sleep(HEARTBEAT_SECONDS + 0.5)  # by then both know that they are two
        fragile.kill()
        answers = at_once(house.ports, project.key, chat("counted"), CLIENTS)
        assert statuses(answers) == {200: LIMIT, 429: CLIENTS - LIMIT}
        assert sum(answer.headers["x-ratelimit-limit-requests"] == str(LIMIT // 2) for answer in answers) == CLIENTS
        answers = at_once(house.ports, rich.key, ASKED, 50)
        assert set(statuses(answers)) == {200, 429}
        fragile.start()
        for one in house.replicas:
            assert until(lambda one=one: "Redis is back" in one.log.read_text())  # type: ignore[misc]
        answers = at_once(house.ports, project.key, chat("counted"), CLIENTS)
        assert statuses(answers) == {200: LIMIT, 429: CLIENTS - LIMIT}
        assert 429 in statuses(at_once(house.ports, rich.key, ASKED, 50))
        assert spent(rows_that_stay(house, rich)) <= DOLLAR * PICO_PER_CENT


def rows_that_stay(house: House, project: Project) -> list[Any]:
    """As many as the upstream was asked for."""
    asked = len(house.fake.received_for("priced"))
    return house.rows(project, asked)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """The table of usage can be read, and not written."""
    asyncpg: Any = importlib.import_module("asyncpg")
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))
        runner.run(connection.execute("BEGIN; LOCK TABLE usage IN EXCLUSIVE MODE"))
        try:
            yield
        finally:
            runner.run(connection.close())


def test_a_budget_holds_when_redis_loses_its_memory_before_the_ledger_is_written(
    fragile: RedisServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """What the one replica has spent, neither Redis nor the database knows: it says so itself."""
    url = postgres.create("memory_lost")
    with housed(tmp_path, replicas=2, database_url=url, redis_url=fragile.url) as house:
        project = house.new_project()
        house.spend_limit(project, cents=DOLLAR)
        asker, spender = house.ports
        with locked(url):
            assert statuses(at_once([spender], project.key, ASKED, 6)) == {200: 6}
            fragile.kill()
            fragile.start()
            more = 0
            while (status := at_once([asker], project.key, ASKED, 1)[0].status) != 429:
                more += status == 200
            assert house.rows(project) == []
        rows = house.rows(project, 6 + more)
        assert len(rows) == 6 + more
        assert spent(rows) <= DOLLAR * PICO_PER_CENT < spent(rows) + WORST


def test_without_postgresql_known_keys_work_and_no_row_is_lost(mortal: PostgresServer, tmp_path: Path) -> None:
    with housed(tmp_path, database_url=mortal.create("mortal")) as house:
        project = house.new_project()
        answers = at_once(house.ports, project.key, chat("recorded"), 20)
        mortal.kill()
        answers += at_once(house.ports, project.key, chat("recorded", stream=True), 20)
        refused = house.first.ask("GET", "/v1/organization/projects")
        assert (refused.status, refused.error["type"]) == (503, "server_error")
        assert house.first.ask("GET", "/v1/models", key="sk-nobody-knows-this").status == 401
        assert until(lambda: "usage rows cannot be written" in house.first.log.read_text())
        mortal.start()
        assert len(house.rows(project, 40)) == 40
        house.wait_until_seen(project)
        mortal.kill()
        answers += at_once(house.ports, project.key, chat("recorded"), 20)
        house.first.kill()
        mortal.start()
        house.first.start()
        assert statuses(answers) == {200: 60}
        rows = house.rows(project, 60)
        assert {row["outcome"] for row in rows} == {"completed"}
        assert Counter(row["request_id"] for row in rows) == Counter(one.headers["x-request-id"] for one in answers)
