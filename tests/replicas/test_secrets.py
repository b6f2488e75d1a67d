"""Secrets are planted wherever one can be, and looked for wherever something is kept or told."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from redis import Redis

from homeport.store import tables, usage_tables
from tests.api.raw import Answer
from tests.fake_upstream import Behaviour, Visit, chunked, dead_port, event, plain_answer, whole
from tests.replicas.house import PATIENCE, UPSTREAM_KEY, Gate, House, Project, housed, read
from tests.replicas.http import chat, sent
from tests.replicas.processes import KEY
from tests.store.servers import PostgresServer, RedisServer, postgres_server, redis_server
from tests.upstreams.faults import begun, cut_after, hang_up, raw, status, stream

#: What no key is, by what it is.
PLANTED = {
    "prompt": "planted-in-the-prompt-4f1c",
    "header": "planted-in-a-header-9a3e",
    "answer": "planted-in-the-answer-77b0",
    "wrong key": "sk-planted-and-wrong-key-51d2",
    "database's password": "planted-database-password-c8e6",
    "redis's password": "planted-redis-password-20bb",
    "mail's password": "planted-mail-password-e61a",
}
MODEL = "secretive"
DEBUG = f"""
[upstreams.gone]
base_url = "http://127.0.0.1:{dead_port()}/v1"
models = ["gone"]
[server]
log_level = "debug"
[alerts]
smtp_url = "smtp://somebody:{PLANTED["mail's password"]}@127.0.0.1:{dead_port()}"
sender = "homeport@example.com"
"""


@contextmanager
def alone(folder: Path) -> Iterator[House]:
    with housed(folder, settings=DEBUG) as house:
        yield house


@contextmanager
def shared(folder: Path) -> Iterator[House]:
    """Both stores ask for a password, or take one; both are killed at the end, so that it is told what cannot be
    reached."""
    with postgres_server() as postgres, redis_server() as redis:
        with Redis.from_url(redis.url) as client:
            client.config_set("requirepass", PLANTED["redis's password"])
        database = postgres.create("secrets").replace("homeport@", f"homeport:{PLANTED['database-s password']}@")
        redis_url = redis.url.replace("//", f"//:{PLANTED['redis-s password']}@")
        with housed(folder, replicas=2, database_url=database, redis_url=redis_url, settings=DEBUG) as house:
            yield house
            take_away(house, postgres, redis)
