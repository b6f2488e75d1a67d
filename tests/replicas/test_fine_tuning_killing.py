"""kill -9 while a model is trained: the job goes on from what its trainer has written, here or on another machine, and
ends with the adapter of a job that nobody has disturbed. Every step is told once, and the ledger has it once."""

import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import openai
import pytest
import sqlalchemy as sa

from homeport.jobs import trainer
from homeport.store.tables import fine_tuned_models, fine_tuning_events
from homeport.store.tables import jobs as queue_table
from homeport.store.usage_tables import usage
from tests.fake_upstream import until
from tests.jobs.tuned import Reins, adapter_after
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed, read
from tests.replicas.processes import Replica
from tests.replicas.test_batches_killing import client_of
from tests.store.servers import PostgresServer, RedisServer
from tests.training.text import tiny

PATIENCE = 90.0
EPOCHS, STEPS = 4, 4
LINES = [
    json.dumps({"messages": [{"role": role, "content": str(number)} for role in ("user", "assistant")]})
    for number in range(STEPS)
]
TOKENS = sum(map(len, LINES))
SETTINGS = """
[models.tiny]
path = "{folder}/tiny.gguf"
engine = "llama_cpp"
threads = 1
context_length = 128
aliases = ["gpt-4o-mini"]
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
[files]
folder = "{folder}/blobs"
"""


@pytest.fixture
def reins(tmp_path: Path) -> Reins:
    return Reins(tmp_path / "reins")


def settings(folder: Path) -> str:
    tiny.write(folder / "tiny.gguf")
    return SETTINGS.format(folder=folder)


def begin(client: openai.OpenAI) -> str:
    file = client.files.create(file=("t.jsonl", "\n".join(LINES).encode()), purpose="fine-tune").id
    made = client.fine_tuning.jobs.create(
        model="gpt-4o-mini",
        training_file=file,
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS, "batch_size": 1}}},
    )
    return made.id


def status(client: openai.OpenAI, job_id: str) -> str:
    return str(client.fine_tuning.jobs.retrieve(job_id).status)


def told(house: House, database_url: str, job_id: str) -> list[int]:
    """The steps, in the order in which they were told."""
    table = fine_tuning_events.c
    query = sa.select(table.data).where(table.job_id == job_id, table.type == "metrics").order_by(table.seq)
    return [row["data"]["step"] for row in read(database_url, query)]


def trains(replica: Replica, job_id: str) -> bool:
    """In a folder of its own."""
    return not trainer.is_free(replica.data / "fine_tuning" / job_id)


def kill_at_random(
    house: House, database_url: str, job_id: str, reins: Reins, chance: random.Random, steps: Sequence[int]
) -> None:
    """Whoever trains, each time once it has told of so many steps; and it may have come one or two further."""
    for step in steps:
        reins.stop_after(step)
        assert until(lambda step=step: max(told(house, database_url, job_id), default=0) >= step, PATIENCE)  # type: ignore[misc]
        reins.stop_after(step + chance.randrange(3))
        (victim,) = [one for one in house.replicas if trains(one, job_id)]
        victim.kill()
        victim.start()


def check(house: House, database_url: str, job_id: str, folder: Path) -> None:
    with client_of(house.first) as client:
        assert until(lambda: status(client, job_id) not in ("queued", "running"), PATIENCE)
        job = client.fine_tuning.jobs.retrieve(job_id)
        assert job.status == "succeeded", job.error
        assert job.trained_tokens == EPOCHS * TOKENS
        results = client.files.content(job.result_files[0]).text.splitlines()
    steps = [*range(1, EPOCHS * STEPS + 1)]
    assert told(house, database_url, job_id) == steps
    assert [int(line.partition(",")[0]) for line in results[1:]] == steps
    made = read(database_url, sa.select(fine_tuned_models).where(fine_tuned_models.c.job_id == job_id))
    assert sorted(one["step"] or 0 for one in made) == [0, 8, 12, 16]
    for one in made:
        digest = one["digest"]
        adapter = (folder / "blobs" / digest[:2] / digest[2:4] / digest).read_bytes()
        assert adapter == adapter_after(one["step"] or EPOCHS * STEPS)
    query = sa.select(usage).where(usage.c.request_id == job_id)
    assert until(lambda: len(read(house.usage_url, query)) == 1, PATIENCE)
    assert read(house.usage_url, query)[0]["input_tokens"] == EPOCHS * TOKENS
    of_it = sa.select(queue_table).where(queue_table.c.subject == job_id)
    assert until(lambda: not read(database_url, of_it), PATIENCE)


def test_on_sqlite(tmp_path: Path, reins: Reins) -> None:
    with housed(
        tmp_path, settings=settings(tmp_path), program="tests.replicas.tuning", HOMEPORT_TEST_REINS=str(reins.folder)
    ) as house:
        database = house.first.data / "state.db"
        url = f"sqlite:///{database}"
        reins.stop_after(0)
        with client_of(house.first) as client:
            job_id = begin(client)
        kill_at_random(house, url, job_id, reins, random.Random(5), [2, 7])
        reins.let_go()
        check(house, url, job_id, tmp_path)
        assert not (house.first.data / "fine_tuning" / job_id).exists()
        house.first.stop()
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        house.first.start()


def test_on_postgresql(postgres: PostgresServer, redis: RedisServer, tmp_path: Path, reins: Reins) -> None:
    """Two machines: when one is killed, the other goes on from the last checkpoint, with a folder of its own."""
    with housed(
        tmp_path,
        replicas=2,
        settings=settings(tmp_path),
        program="tests.replicas.tuning",
        HOMEPORT_TEST_REINS=str(reins.folder),
        **stores(postgres, redis),
    ) as house:
        assert house.database_url is not None
        reins.stop_after(0)
        with client_of(house.first) as client:
            job_id = begin(client)
        kill_at_random(house, house.database_url, job_id, reins, random.Random(6), [3, 9])
        reins.let_go()
        check(house, house.database_url, job_id, tmp_path)


def test_killed_while_it_comes_to_a_pause(tmp_path: Path, reins: Reins) -> None:
    """Whoever finds the job so pauses it with what the trainer has left."""
    with housed(
        tmp_path, settings=settings(tmp_path), program="tests.replicas.tuning", HOMEPORT_TEST_REINS=str(reins.folder)
    ) as house:
        url = f"sqlite:///{house.first.data / 'state.db'}"
        reins.stop_after(3)
        reins.deafen()
        with client_of(house.first) as client:
            job_id = begin(client)
            assert until(lambda: 3 in told(house, url, job_id), PATIENCE)
            client.fine_tuning.jobs.pause(job_id)
            assert status(client, job_id) == "pausing"
        house.first.kill()
        house.first.start()
        with client_of(house.first) as client:
            assert until(lambda: status(client, job_id) == "paused", PATIENCE)
            reins.let_go()
            client.fine_tuning.jobs.resume(job_id)
        check(house, url, job_id, tmp_path)
