"""kill -9 at random in the middle of batches: each line is in the output once, none is lost, and the database is whole."""

import asyncio
import importlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from tests.batches import OVER, chat, content, counts, create, custom_ids, wait_for
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed
from tests.replicas.processes import KEY, Replica
from tests.store.servers import PostgresServer, RedisServer

LINES, BAD = 2_000, range(0, 2_000, 400)
KILLS = 6
PATIENCE = 60.0
#: A worker that was killed is missed soon, and lines take their time.
SETTINGS = """
[models.slow]
engine = "echo"
delay = {delay}
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
"""


def lines() -> list[dict[str, Any]]:
    """Some of them are answered with an error."""
    return [chat(number, model="slow", text="hi", **({"n": "x"} if number in BAD else {})) for number in range(LINES)]


@contextmanager
def client_of(replica: Replica) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def settings(folder: Path, delay: float) -> str:
    """delay: seconds that a line takes, of which 32 run at once in a process."""
    return SETTINGS.format(delay=delay) + f'[files]\nfolder = "{folder}"'


def kill_at_random(replicas: Sequence[Replica], batch: str, chance: random.Random) -> int:
    """Again and again until the batch has ended; how often. Somebody goes on each time."""
    kills, asker = 0, replicas[0]
    while kills < KILLS:
        time.sleep(chance.uniform(0.3, 1.2))
        if asker.process is not None and status(asker, batch).status in OVER:
            break
        victim = chance.choice(replicas)
        victim.kill()
        kills += 1
        victim.start()
    return kills


def status(replica: Replica, batch: str) -> Batch:
    with client_of(replica) as client:
        return client.batches.retrieve(batch)


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
    assert {one["response"]["body"]["choices"][0]["message"]["content"] for one in output} == {"hi"}
    assert batch.usage is not None
    assert batch.usage.total_tokens == sum(one["response"]["body"]["usage"]["total_tokens"] for one in output)


@pytest.mark.timeout(180)
def test_on_sqlite(tmp_path: Path) -> None:
    with housed(tmp_path, settings=settings(tmp_path / "blobs", delay=0.05)) as house:
        with client_of(house.first) as client:
            batch = create(client, lines()).id
        assert kill_at_random(house.replicas, batch, random.Random(5)) >= KILLS // 2
        check_files(house.first, batch)
        house.first.stop()
        check_sqlite(house.first.data / "state.db")
        house.first.start()


def check_sqlite(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT count(*) FROM jobs WHERE lane = 'batch'").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM batch_lines").fetchone() == (0,)


@pytest.mark.timeout(180)
def test_on_postgresql(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    """Two servers and a worker on the same database."""
    where = stores(postgres, redis)
    with housed(tmp_path, replicas=2, settings=settings(tmp_path / "blobs", delay=0.3), **where) as house:
        with client_of(house.first) as client:
            batch = create(client, lines()).id
        assert kill_at_random(house.replicas, batch, random.Random(7)) >= KILLS // 2
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
