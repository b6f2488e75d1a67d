"""The database is gone for a while: keys hold for a bounded time, records wait on disk, and budgets stay budgets."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import openai
import pytest
import sqlalchemy as sa

from homeport.store.usage_tables import costs, hours
from tests.api.raw import CHAT, Answer
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, events, until
from tests.replicas.house import PICO_PER_CENT, House, Project, Row, housed, read, spent
from tests.replicas.http import ask, at_once, chat
from tests.replicas.test_budgets import ASKED, DOLLAR, WORST
from tests.replicas.test_outages import locked
from tests.store.servers import PostgresServer, RedisServer

PATIENCE = 90.0
AZURE = "/openai/deployments/away/chat/completions?api-version=2024-10-21"
CRAMPED = "tests.replicas.cramped"
#: More than memory has room for, and less than the disk (cramped.py).
MANY = 60


def served(house: House, key: str, count: int, model: str = "away") -> list[Answer]:
    """One after the other, all of them."""
    answers = [ask(house.first.port, "POST", CHAT, chat(model), key=key) for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return answers


def on_disk(house: House) -> int:
    """Bytes."""
    return sum(path.stat().st_size for path in (house.first.data / "spill").rglob("*") if path.is_file())


def spilled(house: House) -> bytes:
    return b"".join(path.read_bytes() for path in (house.first.data / "spill").rglob("*") if path.is_file())


def check_ledger(house: House, project: Project, answers: list[Answer]) -> list[Row]:
    """It has each of the requests once, and the sums by the hour have what they come to."""
    rows = house.rows(project, len(answers))
    assert Counter(row["request_id"] for row in rows) == Counter(one.headers["x-request-id"] for one in answers)
    (counted,) = read(
        house.usage_url,
        sa.select(
            sa.func.sum(hours.c.requests), sa.func.sum(hours.c.output_tokens), sa.func.sum(hours.c.cost_pico)
        ).where(hours.c.project_id == project.id),
    )
    assert [*counted.values()] == [len(rows), sum(row["output_tokens"] for row in rows), spent(rows)]
    (money,) = read(house.usage_url, sa.select(sa.func.sum(costs.c.cost_pico)).where(costs.c.project_id == project.id))
    assert (next(iter(money.values())) or 0) == spent(rows)
    return rows


def test_keys_hold_for_a_while_then_nothing_is_served_until_the_database_is_back(
    mortal: PostgresServer, tmp_path: Path
) -> None:
    settings = "[server]\nkeys_max_age_seconds = 2"
    with housed(tmp_path, database_url=mortal.create("ages"), settings=settings) as house:
        project, port = house.new_project(), house.first.port
        served(house, project.key, 3)
        mortal.kill()
        statuses = []
        while (answer := ask(port, "POST", CHAT, chat("away"), key=project.key)).status == 200:
            statuses.append(answer.status)
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
        assert (answer.error["type"], answer.error["param"]) == ("server_error", None)
        assert answer.headers["retry-after"] == "1"
        azure = ask(port, "POST", AZURE, chat("away"), key="none", headers={"api-key": project.key})
        assert (azure.status, azure.error["code"]) == (503, "database_unavailable")
        assert azure.headers["retry-after"] == "1"
        for client in sdks(port, project.key):
            with pytest.raises(openai.InternalServerError) as raised:
                client.chat.completions.create(model="away", messages=[{"role": "user", "content": "hello"}])
            assert (raised.value.status_code, raised.value.code) == (503, "database_unavailable")
            client.close()
        for path in ("/v1/models", "/v1/organization/projects"):
            refused = house.first.ask("GET", path)
            assert (refused.status, refused.error["code"]) == (503, "database_unavailable")
        assert ask(port, "POST", CHAT, chat("away"), key="sk-nobody-knows-this").status == 503
        assert house.first.ask("GET", "/healthz").status == 200
        mortal.start()
        assert until(lambda: house.first.knows(project.key), PATIENCE)
        check_count = 3 + len(statuses) + 1
        served(house, project.key, 1)
        assert len(house.rows(project, check_count)) == check_count


def sdks(port: int, key: str) -> list[openai.OpenAI]:
    return [
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0),
        openai.AzureOpenAI(
            azure_endpoint=f"http://127.0.0.1:{port}", api_version="2024-10-21", api_key=key, max_retries=0
        ),
    ]


def test_a_database_that_hangs_ages_the_keys_as_one_that_is_gone(mortal: PostgresServer, tmp_path: Path) -> None:
    settings = "[server]\nkeys_max_age_seconds = 2"
    with housed(tmp_path, database_url=mortal.create("hangs"), settings=settings) as house:
        project, port = house.new_project(), house.first.port
        with mortal.frozen():
            refused = lambda: ask(port, "POST", CHAT, chat("away"), key=project.key).status == 503  # noqa: E731
            assert until(refused)
        assert until(lambda: house.first.knows(project.key), PATIENCE)


def test_records_wait_on_disk_and_then_the_ledger_has_each_once(mortal: PostgresServer, tmp_path: Path) -> None:
    with housed(tmp_path, database_url=mortal.create("waits"), program=CRAMPED) as house:
        project = house.new_project()
        answers = served(house, project.key, 5, "priced")
        mortal.kill()
        answers += served(house, project.key, MANY, "priced")
        assert until(lambda: on_disk(house) > 0, PATIENCE)
        mortal.start()
        answers += served(house, project.key, 5, "priced")
        rows = check_ledger(house, project, answers)
        # In the order of their milliseconds, which their ids begin with.
        assert [row["request_id"][:16] for row in rows] == [one.headers["x-request-id"][:16] for one in answers]
        assert until(lambda: on_disk(house) == 0, PATIENCE)


def test_through_kills_and_restarts_while_it_is_away_and_while_it_comes_back(
    mortal: PostgresServer, tmp_path: Path
) -> None:
    with housed(tmp_path, database_url=mortal.create("kills"), program=CRAMPED) as house:
        project, first = house.new_project(), house.first
        answers: list[Answer] = []
        for life in range(2):
            served(house, project.key, 1)
            mortal.kill()
            answers += served(house, project.key, MANY, "priced")
            assert until(lambda: on_disk(house) > 0, PATIENCE)
            if life % 2:  # while it is away
                first.kill()
                first.launch()
                assert first.process is not None
                assert first.process.wait(PATIENCE) != 0, "nothing starts without its database"
                mortal.start()
            else:  # while it takes what has waited
                written = len(answers) - MANY
                mortal.start()
                assert until(lambda: len(priced(house, project)) > written, PATIENCE)  # noqa: B023
                first.kill()
            first.start()
            assert len(priced(house, project)) == len(answers), "a start waits until it has all"
            assert on_disk(house) == 0
        rows = priced(house, project)
        assert Counter(row["request_id"] for row in rows) == Counter(one.headers["x-request-id"] for one in answers)
        assert {row["outcome"] for row in rows} == {"completed"}
        found = read(
            house.usage_url,
            sa.select(sa.func.sum(hours.c.requests), sa.func.sum(hours.c.cost_pico)).where(
                hours.c.project_id == project.id, hours.c.cost_pico > 0
            ),
        )
        assert [*found[0].values()] == [len(rows), spent(rows)]


def priced(house: House, project: Project) -> list[Row]:
    return [row for row in house.rows(project) if row["model"] == "priced"]


def uncounted(visit: Visit) -> None:
    """A stream whose tokens we have to count ourselves: until that is done its journal knows an estimate."""
    told = [one for one in events(visit) if b'"choices":[]' not in one]
    visit.send(STREAM_HEAD + b"".join(map(chunked, told)) + b"0\r\n\r\n")


def test_killed_after_rows_are_on_disk_and_before_the_journal_is_free_of_them(
    mortal: PostgresServer, tmp_path: Path
) -> None:
    """The next start finds each twice. What is on disk is what was used; the journal may have an estimate."""
    url = mortal.create("twice")
    with housed(tmp_path, database_url=url, program=CRAMPED, HOMEPORT_TEST_SLOTS_STAY="1") as house:
        project = house.new_project()
        house.fake.by_model["priced-left"] = uncounted
        mortal.kill()
        answers = served(house, project.key, 20, "priced")
        assert until(lambda: on_disk(house) > 0, PATIENCE)
        streamed = at_once(house.ports, project.key, chat("priced-left", stream=True, max_tokens=1000), 10)
        answers += [*streamed, *served(house, project.key, 20, "priced")]
        for one in streamed:
            wanted = one.headers["x-request-id"].encode()
            assert until(lambda wanted=wanted: wanted in spilled(house), PATIENCE)  # type: ignore[misc]
        house.first.kill()
        mortal.start()
        house.first.start()
        rows = check_ledger(house, project, answers)
        assert {row["outcome"] for row in rows} == {"completed"}
        assert max(row["output_tokens"] for row in rows) < 100


def test_a_budget_holds_when_redis_loses_its_memory_while_records_wait_on_disk(
    fragile: RedisServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """What is on the disk of the one replica, neither Redis nor the database knows: it says so itself."""
    url = postgres.create("lost_on_disk")
    with housed(tmp_path, replicas=2, database_url=url, redis_url=fragile.url, program=CRAMPED) as house:
        project = house.new_project()
        house.spend_limit(project, cents=5 * DOLLAR)
        asker, spender = house.ports
        with locked(url):
            answers = [answer for _ in range(6) for answer in at_once([spender], project.key, ASKED, 5)]
            assert {answer.status for answer in answers} == {200}
            spilled = house.replicas[1].data / "spill"
            assert until(lambda: len([*spilled.rglob("0*")]) > 0, PATIENCE)
            fragile.kill()
            fragile.start()
            more = 0
            while (status := at_once([asker], project.key, ASKED, 1)[0].status) != 429:
                more += status == 200
            assert house.rows(project) == []
        rows = house.rows(project, 30 + more)
        assert len(rows) == 30 + more
        assert spent(rows) <= 5 * DOLLAR * PICO_PER_CENT < spent(rows) + WORST


def test_a_stop_keeps_what_waits_for_the_next_start(mortal: PostgresServer, tmp_path: Path) -> None:
    with housed(tmp_path, database_url=mortal.create("stops"), program=CRAMPED) as house:
        project = house.new_project()
        served(house, project.key, 1, "priced")
        mortal.kill()
        answers = served(house, project.key, MANY, "priced")
        assert until(lambda: on_disk(house) > 0, PATIENCE)
        house.first.stop()
        mortal.start()
        house.first.start()
        assert len(house.rows(project)) == 1 + len(answers)
        served(house, project.key, 1, "priced")
        assert len(house.rows(project, MANY + 2)) == MANY + 2


def test_when_disk_and_journal_are_full_requests_are_refused_and_no_record_is_lost(
    mortal: PostgresServer, tmp_path: Path
) -> None:
    with housed(tmp_path, database_url=mortal.create("full"), program=CRAMPED) as house:
        project, port = house.new_project(), house.first.port
        mortal.kill()
        answers: list[Answer] = []

        def is_full() -> bool:
            """For good: what waits may still be on its way from memory to the disk."""
            while (answer := ask(port, "POST", CHAT, chat("priced"), key=project.key)).status == 200:
                answers.append(answer)
            return "no more rows of usage can wait on disk" in house.first.log.read_text()

        assert until(is_full, PATIENCE)
        assert len(answers) > 128, "the journal alone has room for so many"
        refused = ask(port, "POST", CHAT, chat("priced"), key=project.key)
        assert (refused.status, refused.error["code"]) == (503, "ledger_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert on_disk(house) <= 40_000
        mortal.start()
        assert until(lambda: len(served_or_not(house, project, answers)) > 0, PATIENCE)
        check_ledger(house, project, answers)


def served_or_not(house: House, project: Project, answers: list[Answer]) -> list[Answer]:
    answer = ask(house.first.port, "POST", CHAT, chat("priced"), key=project.key)
    if answer.status != 200:
        return []
    answers.append(answer)
    return [answer]


def test_budgets_hold_while_records_wait_on_disk_and_after_a_kill(mortal: PostgresServer, tmp_path: Path) -> None:
    """A budget that is counted here goes on; one that has yet to be counted cannot be checked."""
    with housed(tmp_path, database_url=mortal.create("budgets"), program=CRAMPED) as house:
        project, unknown, first = house.new_project(), house.new_project(), house.first
        house.spend_limit(unknown, cents=DOLLAR)
        house.spend_limit(project, cents=DOLLAR * 5, interval="total")
        (known,) = at_once(house.ports, project.key, ASKED, 1)
        assert known.status == 200
        house.rows(project, 1)
        mortal.kill()
        assert at_once(house.ports, unknown.key, ASKED, 1)[0].status == 503
        count = 1 + spend(house, project, 30)
        assert until(lambda: on_disk(house) > 0, PATIENCE)
        mortal.start()
        first.kill()
        first.start()
        count += spend(house, project, 100)
        rows = house.rows(project, count)
        assert len(rows) == count
        assert spent(rows) <= 5 * DOLLAR * PICO_PER_CENT < spent(rows) + WORST
        assert at_once(house.ports, unknown.key, ASKED, 1)[0].status == 200


def spend(house: House, project: Project, most: int) -> int:
    """One after the other until one is refused; how many were served."""
    for number in range(most):
        (answer,) = at_once(house.ports, project.key, ASKED, 1)
        if answer.status != 200:
            assert answer.error["code"] == "insufficient_quota"
            return number
    return most


def test_on_sqlite_a_file_that_is_locked_for_long_loses_nothing(tmp_path: Path) -> None:
    with housed(tmp_path, program=CRAMPED) as house:
        project = house.new_project()
        answers = served(house, project.key, 5, "priced")
        house.rows(project, 5)
        with closing(sqlite3.connect(house.first.data / "usage.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers += served(house, project.key, MANY, "priced")
            assert until(lambda: on_disk(house) > 0, PATIENCE)
            house.first.kill()
        house.first.start()
        assert len(house.rows(project)) == len(answers)
        answers += served(house, project.key, 5, "priced")
        check_ledger(house, project, answers)
