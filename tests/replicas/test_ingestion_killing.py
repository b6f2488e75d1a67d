"""kill -9 at random while files are brought into a vector store: all of them come to their end, each chunk is in once,
and of what a killed process had in hand one block of each file is made again."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from homeport.jobs import ingestion
from tests.fake_upstream import until
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed
from tests.replicas.processes import Replica
from tests.replicas.test_batches_killing import client_of
from tests.replicas.turnstile import Turnstile
from tests.store.servers import PostgresServer, RedisServer
from tests.stores import chunks, prose, text, upload

FILES, WORDS = 12, 6_000
KILLS = 3
PATIENCE = 90.0
#: That the model takes each time.
SECONDS = 0.05
SMALL: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
SETTINGS = """
[vector_stores]
embedding_model = "far-embeddings"
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
[files]
folder = "{folder}"
"""


def contents() -> list[str]:
    """No chunk is like another."""
    return [prose(WORDS, seed=f"File {number}:") for number in range(FILES)]


def begin(house: House) -> tuple[str, list[str], Turnstile]:
    """The store, the files that are on their way into it, and what holds them up."""
    turnstile = Turnstile(SECONDS)
    house.fake.by_model["far-embeddings"] = turnstile
    with client_of(house.first) as client:
        store = client.vector_stores.create().id
        files = [upload(client, content, f"{number}.txt") for number, content in enumerate(contents())]
        client.vector_stores.file_batches.create(store, file_ids=files, chunking_strategy=SMALL)
    return store, files, turnstile


def kill_at_random(victims: Sequence[Replica], house: House, turnstile: Turnstile, chance: random.Random) -> None:
    """Each time a little after the model was asked again."""
    for _ in range(KILLS):
        before = len(house.fake.received)
        turnstile.let(6)
        assert until(lambda before=before: len(house.fake.received) > before + 4, PATIENCE)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.3))
        victim = chance.choice(victims)
        victim.kill()
        victim.start()
    turnstile.open()


def is_done(house: House, store: str) -> bool:
    answer = house.first.ask("GET", f"/v1/vector_stores/{store}")
    return answer.status == 200 and bool(answer.json["status"] == "completed")


def check(house: House, database_url: str, store: str, files: Sequence[str]) -> None:
    with client_of(house.first) as client:
        assert until(lambda: is_done(house, store), PATIENCE)
        counts = client.vector_stores.retrieve(store).file_counts
        assert (counts.completed, counts.total) == (FILES, FILES)
        for file, content in zip(files, contents(), strict=True):
            assert text(client, store, file) == content
        usage_bytes = {one.id: one.usage_bytes for one in client.vector_stores.files.list(store)}
    asked = Counter(one for visit in house.fake.received_for("far-embeddings") for one in visit.json["input"])
    again: Counter[tuple[str, int]] = Counter()
    expected = 0
    for file in files:
        found = chunks(database_url, file)
        assert [one["number"] for one in found] == list(range(len(found)))
        assert usage_bytes[file] == sum(len(one["text"].encode()) + len(one["vectors"]) for one in found)
        expected += len(found)
        for one in found:
            block = (file, one["number"] // ingestion.BLOCK)
            again[block] = max(again[block], asked.pop(one["text"]) - 1)
    assert expected > FILES * ingestion.BLOCK  # several blocks each
    assert not asked  # nothing else was asked for
    assert 0 < sum(again.values()) <= KILLS * ingestion.FILES


def test_on_sqlite(tmp_path: Path) -> None:
    with housed(tmp_path, settings=SETTINGS.format(folder=tmp_path / "blobs")) as house:
        store, files, turnstile = begin(house)
        kill_at_random(house.replicas, house, turnstile, random.Random(3))
        assert not is_done(house, store)
        database = house.first.data / "state.db"
        check(house, f"sqlite:///{database}", store, files)
        house.first.stop()
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("SELECT count(*) FROM jobs WHERE lane = 'ingestion'").fetchone() == (0,)
        house.first.start()


def test_on_postgresql(postgres: PostgresServer, redis: RedisServer, tmp_path: Path) -> None:
    """Two servers on the same database."""
    settings = SETTINGS.format(folder=tmp_path / "blobs")
    with housed(tmp_path, replicas=2, settings=settings, **stores(postgres, redis)) as house:
        store, files, turnstile = begin(house)
        kill_at_random(house.replicas, house, turnstile, random.Random(4))
        assert not is_done(house, store)
        assert house.database_url is not None
        check(house, house.database_url, store, files)


def test_the_database_is_away_in_the_middle(mortal: PostgresServer, tmp_path: Path) -> None:
    url = mortal.create("ingestion")
    settings = SETTINGS.format(folder=tmp_path / "blobs")
    with housed(tmp_path, settings=settings, database_url=url) as house:
        store, files, turnstile = begin(house)
        turnstile.open()
        assert until(lambda: len(house.fake.received) > 10, PATIENCE)
        mortal.kill()
        time.sleep(0.5)
        mortal.start()
        assert until(lambda: house.first.ask("GET", f"/v1/vector_stores/{store}").status == 200, PATIENCE)
        check(house, url, store, files)
