"""`/healthz` and `/readyz`: who asks is told what requests would meet, by the policies that they are served by."""

import http.client
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from homeport.backends.held import Held
from tests.api import raw
from tests.api.test_lifecycle import KEY as PRESET
from tests.api.test_lifecycle import chat, serving
from tests.fake_upstream import until
from tests.server import Running, running
from tests.store.servers import PostgresServer, RedisServer, postgres_server, redis_server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def readyz(server: Running) -> tuple[int, Any]:
    answer = raw.ask(server, "GET", "/readyz")
    return answer.status, answer.json


def test_ready_and_alive(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert readyz(server) == (200, {"status": "ok", "models": {"echo": "ready"}})
        assert raw.ask(server, "GET", "/healthz").json == {"status": "ok"}


def test_a_model_that_loads_holds_back_and_one_that_was_never_pulled_does_not(tmp_path: Path) -> None:
    with running(tmp_path, {"models": {"echo": {"engine": "echo"}, "smollm2-135m-instruct": {}}}) as server:
        assert readyz(server)[0] == 200
        held = server.app.held["echo"]
        assert isinstance(held, Held)
        held.state = "loading"
        status, told = readyz(server)
        assert (status, told["status"]) == (503, "unavailable")
        assert told["not_ready"] == {"models": "Not ready: echo (loading)."}
        assert told["models"] == {"echo": "loading", "smollm2-135m-instruct": "missing"}
        assert raw.ask(server).status == 503


def test_without_redis_it_is_not_ready_while_requests_are_refused(redis: RedisServer, tmp_path: Path) -> None:
    with running(tmp_path, {"redis_url": redis.url}) as server:
        assert (readyz(server)[0], raw.ask(server).status) == (200, 200)
        redis.kill()
        assert until(lambda: readyz(server)[0] == 503)  # though nobody has asked for anything
        assert readyz(server)[1]["not_ready"] == {"redis": "Redis is away: limits cannot be checked."}
        assert raw.ask(server).status == 503
        assert raw.ask(server, "GET", "/healthz").status == 200
        redis.start()
        assert until(lambda: readyz(server)[0] == 200)
        assert raw.ask(server).status == 200


def test_without_redis_it_is_ready_where_replicas_go_on_with_their_shares(redis: RedisServer, tmp_path: Path) -> None:
    with running(tmp_path, {"redis_url": redis.url, "limits": {"without_redis": "share"}}) as server:
        redis.kill()
        assert until(lambda: server.app.books.shared.away)
        assert (readyz(server)[0], raw.ask(server).status) == (200, 200)


def test_without_the_database_it_is_ready_as_known_keys_go_on(postgres: PostgresServer, tmp_path: Path) -> None:
    with running(tmp_path, {"database_url": postgres.url}) as server:
        postgres.kill()
        admin = raw.ask(server, "GET", "/v1/organization/projects")
        assert admin.status == 503
        assert (readyz(server)[0], raw.ask(server).status) == (200, 200)
        postgres.start()  # else the end waits for the rows to be written


def test_without_the_database_for_too_long_it_is_not_ready(postgres: PostgresServer, tmp_path: Path) -> None:
    settings = {"database_url": postgres.url, "server": {"keys_max_age_seconds": 1.5}}
    with running(tmp_path, settings) as server:
        assert readyz(server)[0] == 200
        postgres.kill()
        assert until(lambda: readyz(server)[0] == 503)
        assert "keys cannot be checked" in readyz(server)[1]["not_ready"]["database"]
        assert raw.ask(server).error["code"] == "database_unavailable"
        postgres.start()
        assert until(lambda: readyz(server)[0] == 200)


def test_it_is_not_ready_once_nothing_can_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.store.journal.STEP", 3)
    monkeypatch.setattr("homeport.store.journal.MOST", 3)
    with running(tmp_path) as server, locked(tmp_path / "usage.db"):
        assert [raw.ask(server).status for _ in range(3)] == [200, 200, 200]
        status, told = readyz(server)
        assert status == 503
        assert told["not_ready"] == {"ledger": "Requests cannot be recorded: the journal is full of rows that wait."}
        assert raw.ask(server).error["code"] == "ledger_unavailable"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can write it."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.close()


def test_after_sigterm_it_says_so_at_once_and_goes_on_for_the_time_of_the_notice(tmp_path: Path) -> None:
    environment = {"HOMEPORT_API_KEY": PRESET, "HOMEPORT_SERVER_NOTICE_SECONDS": "60"}
    with (
        serving(tmp_path, environment=environment) as (url, _, process),
        closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)) as kept,
    ):

        def ask() -> tuple[int, Any]:
            kept.request("GET", "/readyz")
            answer = kept.getresponse()
            return answer.status, json.loads(answer.read())

        assert ask()[0] == 200
        socket = kept.sock
        process.send_signal(signal.SIGTERM)
        assert until(lambda: ask()[0] == 503)
        assert "ending" in ask()[1]["not_ready"]["server"]
        assert kept.sock is socket
        assert chat(url, PRESET) == 200  # on a connection that is new
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_the_notice_ends_by_itself(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HOMEPORT_SERVER_NOTICE_SECONDS": "0.2"}) as (_, _, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_from_the_terminal_nobody_waits_for_the_notice(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HOMEPORT_SERVER_NOTICE_SECONDS": "60"}) as (_, _, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
