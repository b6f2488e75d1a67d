"""Secrets are planted wherever one can be, and looked for wherever something is kept or told."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from redis import Redis

from homeport.store import tables, usage_tables
from tests.api.raw import CHAT, Answer
from tests.fake_upstream import STREAM_HEAD, Behaviour, Visit, chunked, dead_port, event, events, whole
from tests.replicas.house import UPSTREAM_KEY, Gate, House, housed, read
from tests.replicas.http import chat, sent
from tests.replicas.processes import KEY
from tests.store.servers import postgres_server, redis_server
from tests.upstreams.faults import hang_up, raw, reset_after, status, stream

PROMPT = "planted-in-the-prompt-4f1c"
HEADER = "planted-in-a-header-9a3e"
ANSWER = "planted-in-the-answer-77b0"
WRONG_KEY = "sk-planted-and-wrong-51d2-c8e6-20bb"
DATABASE_PASSWORD = "planted-database-password-c8e6"
REDIS_PASSWORD = "planted-redis-password-20bb"
MAIL_PASSWORD = "planted-mail-password-e61a"
PLANTED = (PROMPT, HEADER, ANSWER, WRONG_KEY, DATABASE_PASSWORD, REDIS_PASSWORD, MAIL_PASSWORD, KEY, UPSTREAM_KEY)
SETTINGS = f"""
[upstreams.gone]
base_url = "http://127.0.0.1:{dead_port()}/v1"
models = ["gone"]
[server]
log_level = "debug"
[alerts]
smtp_url = "smtp://somebody:{MAIL_PASSWORD}@127.0.0.1:{dead_port()}"
sender = "homeport@example.com"
"""


@contextmanager
def alone(folder: Path) -> Iterator[tuple[House, str | None]]:
    """And where its Redis is: nowhere."""
    with housed(folder, settings=SETTINGS) as house:
        yield house, None


@contextmanager
def shared(folder: Path) -> Iterator[tuple[House, str | None]]:
    """The stores have passwords, and go away at the end, so that it is told what cannot be reached."""
    with postgres_server() as postgres, redis_server() as redis:
        with Redis.from_url(redis.url) as client:
            client.config_set("requirepass", REDIS_PASSWORD)
        database_url = postgres.create("secrets").replace("homeport@", f"homeport:{DATABASE_PASSWORD}@")
        redis_url = redis.url.replace("//", f"//:{REDIS_PASSWORD}@")
        with housed(folder, replicas=2, database_url=database_url, redis_url=redis_url, settings=SETTINGS) as house:
            yield house, redis_url
            redis.kill()
            postgres.kill()
            for one in house.replicas:
                one.ask("POST", CHAT, chat("echo"))
                one.ask("GET", "/v1/organization/projects")


@pytest.mark.parametrize("housing", [alone, shared])
def test_planted_secrets_are_found_nowhere(housing: Any, tmp_path: Path) -> None:
    with housing(tmp_path) as (house, redis_url):
        keys, answers = keys_and_answers(house)
        files = asyncio.run(killed_in_the_middle(house))
        kept = stored_in_tables(house) + (stored_in_redis(redis_url) if redis_url else [])
        assert house.fake.received_for("secretive")[0].headers["x-planted"] == HEADER
    assert sum(ANSWER in answer.body.decode() for answer in answers if answer.status == 200) >= 4
    told = [answer.body.decode() for answer in answers if answer.status != 200]
    assert len(told) > 30
    logs = [one.log.read_text() for one in house.replicas]
    assert all("DEBUG" in log for log in logs)
    files += stored_in_files(house)
    places = {"told": told, "kept": kept, "logs": logs, "files": files}
    found = [
        (place, secret) for place, texts in places.items() for secret in (*PLANTED, *keys) if secret in "".join(texts)
    ]
    assert found == []


def keys_and_answers(house: House) -> tuple[list[str], list[Answer]]:
    """All that can be asked well and badly."""
    first = house.first
    project = house.new_project()
    path = f"/v1/homeport/projects/{project.id}"
    keys = [
        project.key,
        first.make(f"{path}/api_keys/{project.key_id}/rotate", {"overlap_seconds": 60})["value"],
        first.admin.admin_api_keys.create(name="ops").value,
        first.admin.projects.service_accounts.create(project.id, name="robot").to_dict()["api_key"]["value"],  # type: ignore[index]
    ]
    house.spend_limit(project, cents=1)
    first.make(
        f"/v1/organization/projects/{project.id}/spend_alerts",
        {
            "threshold_amount": 1,
            "currency": "USD",
            "interval": "month",
            "notification_channel": {"type": "email", "recipients": ["a@example.com"]},
        },
    )
    answers = [answer for fault in faults() for answer in provoke(house, fault)]
    answers += [answer for key in (WRONG_KEY, *keys, KEY) for answer in refused(house, key)]
    answers.append(first.ask("GET", "/v1/organization/audit_logs?limit=100"))
    answers[-1] = Answer(0, {}, answers[-1].body)  # looked at as if it were an error
    return keys, answers


def faults() -> list[Behaviour]:
    echo = {"message": f"Incorrect API key provided: {UPSTREAM_KEY}", "type": "invalid_request_error", "code": "x"}
    return [
        answer,
        status(401, echo),
        status(403, echo),
        status(500),
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER.encode()),
        lambda visit: visit.send(whole(json.dumps({"choices": ANSWER}).encode())),
        reset_after(lambda visit: STREAM_HEAD + chunked(secret_events(visit)[0])),
        stream(lambda visit: secret_events(visit)[0], b"data: " + ANSWER.encode() + b"\n\n"),
        stream(lambda visit: secret_events(visit)[0], event({"error": {"message": "It is over."}})),
        hang_up,
    ]


def answer(visit: Visit) -> None:
    """In an answer that is as it should be."""
    if visit.stream:
        visit.send(STREAM_HEAD + b"".join(map(chunked, secret_events(visit))) + b"0\r\n\r\n")
    else:
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        visit.send(whole(json.dumps({"model": "m", "choices": [choice]}).encode()))


def secret_events(visit: Visit) -> list[bytes]:
    return [one.replace("Grü".encode(), ANSWER.encode()) for one in events(visit)]


def provoke(house: House, fault: Behaviour) -> list[Answer]:
    house.fake.by_model["secretive"] = fault
    return [
        replica.ask("POST", CHAT, {**chat(model, stream=streamed), **said}, headers={"X-Planted": HEADER})
        for replica in house.replicas
        for model in ("secretive", "gone")
        for streamed in (False, True)
    ]


said = {"messages": [{"role": "user", "content": PROMPT}], "user": PROMPT}


def refused(house: House, key: str) -> list[Answer]:
    """The key where none belongs, and what may not be asked with it."""
    ask = house.first.ask
    secret = {"X-Planted": HEADER}
    wrong = {"model": "echo", "messages": PROMPT}
    return [
        ask("POST", CHAT, {**chat("priced"), **said}, key=key, headers=secret),
        ask("POST", CHAT, wrong, key=key, headers=secret),
        ask("POST", CHAT, [PROMPT], key=key, headers=secret),
        ask("POST", CHAT, {**chat("echo"), "messages": [{"role": "user", "content": {"text": PROMPT}}]}, key=key),
        ask("GET", f"/v1/models?api-key={key}", key="none", headers={"api-key": key}),
        ask("POST", "/v1/organization/projects", {"name": 1, "secret": key}, key=key),
        ask("GET", f"/v1/organization/users?after={key}", key=f"{key}{key}"),
        ask("POST", "/v1/organization/admin_api_keys", {"name": None}, key=key, headers=secret),
    ]


async def killed_in_the_middle(house: House) -> list[str]:
    """And started again. What was in the files meanwhile."""
    gate = Gate()
    house.fake.by_model["secretive"] = gate.behave
    async with sent([house.first.port], KEY, {**chat("secretive", stream=True), **said}, 3) as streams:
        for one in streams:
            await one.head()
        house.first.kill()
        gate.open()
        files = stored_in_files(house)
        assert any("secretive" in file for file in files), "the journal has what was asked of whom"
        await asyncio.to_thread(house.first.start)
    return files


def stored_in_files(house: House) -> list[str]:
    paths = [path for one in house.replicas for path in one.data.rglob("*") if path.is_file()]
    return [path.read_bytes().decode("latin-1") for path in paths]


def stored_in_tables(house: House) -> list[str]:
    state_url = house.database_url or f"sqlite:///{house.first.data / 'state.db'}"
    return [
        str(read(url, sa.select(table)))
        for url, metadata in ((state_url, tables.metadata), (house.usage_url, usage_tables.metadata))
        for table in metadata.sorted_tables
    ]


def stored_in_redis(url: str) -> list[str]:
    with Redis.from_url(url) as client:
        return [f"{key!r} {client.dump(key)!r}" for key in client.keys("*")]
