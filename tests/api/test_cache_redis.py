"""Replicas that share one Redis share the answers that are kept; without it each goes on by itself."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.api import raw
from tests.fake_upstream import FakeUpstream, fake_upstream, until
from tests.server import KEY, Running, running
from tests.store.servers import RedisServer, redis_server
from tests.upstreams.homeports import UPSTREAM_KEY

SECRET = "the words of somebody"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as made:
        yield made


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


def settings(server: RedisServer, fake: FakeUpstream, **cache: Any) -> dict[str, Any]:
    return {
        "redis_url": server.url,
        "limits": {"without_redis": "share"},
        "upstreams": {"far": {"base_url": fake.base_url, "api_key": UPSTREAM_KEY}},
        "cache": {"enabled": True, **cache},
    }


@pytest.fixture(scope="module")
def two(server: RedisServer, fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    """On one folder, so that both have the same project."""
    folder = tmp_path_factory.mktemp("two")
    table = settings(server, fake, process_seconds=0.001)
    with running(folder, table) as one, running(folder, table) as other:
        yield [one, other]


def ask(homeport: Running, model: str, **fields: Any) -> raw.Answer:
    return raw.ask(homeport, body={"model": model, "messages": [{"role": "user", "content": SECRET}], **fields})


def kept(server: RedisServer) -> list[bytes]:
    """Each with its key."""
    with redis.Redis.from_url(server.url) as client:
        return [key + (client.get(key) or b"") for key in client.scan_iter("*:cache:answers:*")]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_another_replica_has_it(two: list[Running], fake: FakeUpstream, server: RedisServer, stream: bool) -> None:
    model = f"shared-{stream}"
    before = len(kept(server))
    first = ask(two[0], model, stream=stream)
    assert until(lambda: len(kept(server)) > before)
    again = ask(two[1], model, stream=stream)
    assert [one.headers["x-homeport-cache"] for one in (first, again)] == ["miss", "hit"]
    assert again.body == first.body
    assert again.headers["x-homeport-original-request-id"] == first.headers["x-request-id"]
    assert len(fake.received_for(model)) == 1
    stored = b"".join(kept(server))
    for secret in (KEY, UPSTREAM_KEY, SECRET):
        assert secret.encode() not in stored


def test_clearing_clears_what_is_shared(two: list[Running], server: RedisServer) -> None:
    ask(two[0], "cleared")
    assert until(lambda: bool(kept(server)))
    assert raw.ask(two[1], "DELETE", "/v1/homeport/cache").status == 200
    assert kept(server) == []
    assert ask(two[1], "cleared").headers["x-homeport-cache"] == "miss"


def test_while_redis_is_away_each_goes_on_alone(fake: FakeUpstream, tmp_path: Path) -> None:
    with redis_server() as own, running(tmp_path, settings(own, fake)) as homeport:
        ask(homeport, "before")
        own.freeze()
        try:
            began = time.monotonic()
            given = [ask(homeport, "away", stream=stream) for stream in (False, True) for _ in range(2)]
            assert [(one.status, one.headers["x-homeport-cache"]) for one in given] == [(200, "miss"), (200, "hit")] * 2
            assert time.monotonic() - began < 3
            assert ask(homeport, "before").headers["x-homeport-cache"] == "hit"
            assert raw.ask(homeport, "DELETE", "/v1/homeport/cache").status == 503
        finally:
            own.thaw()
