"""kill -9 at random in the middle of batches: each line is in a file once, none is lost, and the database is whole."""

import asyncio
import importlib
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import openai
import pytest
from openai.types import Batch

from tests.batches import OVER, chat, content, counts, create, custom_ids, wait_for
from tests.fake_upstream import TEXT, until
from tests.replicas import nursery
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed
from tests.replicas.nursery import Process
from tests.replicas.processes import KEY, ROOT, Replica
from tests.replicas.turnstile import Turnstile
from tests.store.servers import PostgresServer, RedisServer

#: What tests/replicas/poisoned.py does not survive.
POISON = "poison"
LINES, BAD = 2000, range(0, 2000, 500)
KILLS = 4
PATIENCE = 90.0
#: A worker that was killed is missed soon.
SETTINGS = """
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
"""


def lines() -> list[dict[str, Any]]:
    """Some of them are answered with an error, the others by an upstream."""
    return [chat(number, model="far", text="hi", **({"n": "x"} if number in BAD else {})) for number in range(LINES)]


@contextmanager
def client_of(replica: Replica) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def settings(folder: Path) -> str:
    return SETTINGS + f'[files]\nfolder = "{folder}"'


def held_up(house: House) -> Turnstile:
    """The lines, each as soon as it is let."""
    turnstile = Turnstile()
    house.fake.by_model["far"] = turnstile
    return turnstile


class Killable(Protocol):
    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass
class Worker:
    """A `homeport worker` beside a server, with the server's settings."""

    folder: Path
    process: Process | None = None

    def start(self) -> None:
        """And wait until it works."""
        said = self.folder / "worker.stdout"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
        with said.open("wb") as out, (self.folder / "worker.stderr").open("ab") as error:
            self.process = nursery.begin(
                "homeport",
                ["worker", "--lanes", "batch", "--data", str(self.folder / "worker")],
                cwd=self.folder,
                environment={**inherited, "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=error,
            )
        assert until(lambda: b"works on batch" in said.read_bytes(), PATIENCE)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def kill_at_random(
    victims: Sequence[Killable], asker: Replica, batch: str, turnstile: Turnstile, chance: random.Random
) -> None:
    """Each time a little after it has come further. asker: is there, whoever is killed."""
    for _ in range(KILLS):
        before = counts(status(asker, batch))[1]
        turnstile.let(chance.randrange(10, 80))
        assert until(lambda before=before: counts(status(asker, batch))[1] > before, PATIENCE), status(asker, batch)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.3))
        victim = chance.choice(victims)
        victim.kill()
        victim.start()
    assert status(asker, batch).status == "in_progress"
    turnstile.open()


def status(replica: Replica, batch: str) -> Batch:
    """Raises OSError: nobody is there. (A client of the SDK for each look takes longer than what it looks at.)"""
    answer = replica.ask("GET", f"/v1/batches/{batch}")
    assert answer.status == 200, answer.body
    return Batch.model_validate(answer.json)


def check_files(replica: Replica, batch_id: str) -> None:
    with client_of(replica) as client:
        batch = wait_for(client, batch_id, lambda one: one.status in OVER, PATIENCE)
        assert (batch.status, counts(batch)) == ("completed", (LINES, LINES - len(BAD), len(BAD)))
        output, wrong = content(client, batch.output_file_id), content(client, batch.error_file_id)
        assert {one.filename for one in client.files.list(purpose="batch_output")} == {
            f"{batch_id}_output.jsonl",
            f"{batch_id}_error.jsonl",
        }
    found = Counter(custom_ids([*output, *wrong]))
    assert found == Counter(f"request-{number}" for number in range(LINES))
    assert custom_ids(wrong) == [f"request-{number}" for number in BAD]
    assert len({one["id"] for one in (*output, *wrong)}) == LINES
    assert {one["response"]["body"]["choices"][0]["message"]["content"] for one in output} == {TEXT}
    assert batch.usage is not None
    assert batch.usage.total_tokens == sum(one["response"]["body"]["usage"]["total_tokens"] for one in output)


def test_on_sqlite(tmp_path: Path) -> None:
    with housed(tmp_path, settings=settings(tmp_path / "blobs")) as house:
        turnstile = held_up(house)
        with client_of(house.first) as client:
            batch = create(client, lines()).id
        kill_at_random(house.replicas, house.first, batch, turnstile, random.Random(5))
        check_files(house.first, batch)
        house.first.stop()
        check_sqlite(house.first.data / "state.db")
        house.first.start()


def test_a_line_that_takes_the_server_down_is_told_so_and_the_others_are_answered(tmp_path: Path) -> None:
    made = [chat(number, model="echo", text=POISON if number == 57 else "hi") for number in range(100)]
    folder = settings(tmp_path / "blobs")
    with housed(tmp_path, settings=folder, program="tests.replicas.poisoned") as house:
        with client_of(house.first) as client:
            batch_id = create(client, made).id
        lives = 1
        while (batch := last_seen(house.first, batch_id)) is None or batch.status not in OVER:
            assert house.first.process is not None
            if house.first.process.poll() is None:
                time.sleep(0.05)
                continue
            lives += 1
            assert lives < 20
            house.first.launch()
            with suppress(AssertionError):  # it may be gone before it is seen to be ready
                house.first.wait()
        assert (batch.status, counts(batch)) == ("completed", (100, 99, 1))
        with client_of(house.first) as client:
            (wrong,) = content(client, batch.error_file_id)
            assert len(content(client, batch.output_file_id)) == 99
    assert (wrong["custom_id"], wrong["response"], wrong["error"]["code"]) == ("request-57", None, "server_error")


def last_seen(replica: Replica, batch_id: str) -> Batch | None:
    with suppress(OSError):
        return status(replica, batch_id)
    return None


def check_sqlite(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT count(*) FROM jobs WHERE lane = 'batch'").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM batch_lines").fetchone() == (0,)


def test_on_postgresql(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    """Two servers and a worker on the same database."""
    where = stores(postgres, redis)
    with housed(tmp_path, replicas=2, settings=settings(tmp_path / "blobs"), **where) as house:
        turnstile = held_up(house)
        worker = Worker(house.first.folder)
        worker.start()
        try:
            with client_of(house.first) as client:
                batch = create(client, lines()).id
            kill_at_random([*house.replicas, worker], house.first, batch, turnstile, random.Random(7))
            check_files(house.first, batch)
        finally:
            worker.kill()
        asyncio.run(check_postgresql(house))


@pytest.mark.parametrize("seconds", [0.5, 4.0], ids=["shorter than a lease", "longer"])
def test_the_database_is_away_in_the_middle(mortal: PostgresServer, tmp_path: Path, seconds: float) -> None:
    url = mortal.create("batches")
    with housed(tmp_path, settings=settings(tmp_path / "blobs"), database_url=url) as house:
        turnstile = held_up(house)
        with client_of(house.first) as client:
            batch = create(client, lines()).id
            turnstile.let(100)
            wait_for(client, batch, lambda one: counts(one)[1] > 50, PATIENCE)
        turnstile.open()
        mortal.kill()
        time.sleep(seconds)
        mortal.start()

        assert until(lambda: house.first.ask("GET", f"/v1/batches/{batch}").status == 200, PATIENCE)
        check_files(house.first, batch)
        asyncio.run(check_postgresql(house))


async def check_postgresql(house: House) -> None:
    """Its own check of tables and indexes."""
    assert house.database_url is not None
    connection = await importlib.import_module("asyncpg").connect(house.database_url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        for table in ("batches", "batch_lines", "jobs", "files", "blobs"):
            assert await connection.fetch("SELECT * FROM verify_heapam($1::text::regclass)", table) == []
            await connection.fetch(
                "SELECT bt_index_parent_check(indexrelid::regclass, true) FROM pg_index "
                "WHERE indrelid = $1::text::regclass",
                table,
            )
        assert await connection.fetchval("SELECT count(*) FROM jobs WHERE lane = 'batch'") == 0
        assert await connection.fetchval("SELECT count(*) FROM batch_lines") == 0
    finally:
        await connection.close()
