"""`GET /v1/homeport/status`: what works, what does not, and who is shown how much of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import owners, raw
from tests.fake_upstream import FakeUpstream, dead_port, fake_upstream, until, whole
from tests.server import KEY, Running, running

PATH = "/v1/homeport/status"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module")
def server(fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`far` takes `there`; `nobody` is not there, and is left alone after two failures."""
    settings: dict[str, Any] = {
        "models": {
            "echo": {"engine": "echo"},
            "narrow": {"engine": "echo", "parallel": 1, "queue": 9, "delay": 0.001, "aliases": ["gpt-4o"]},
            "other": {"engine": "echo"},
            "unpulled": {},
        },
        "upstreams": {
            "far": {"base_url": fake.base_url, "models": ["there"], "connections": 3, "queue": 7},
            "nobody": {
                "base_url": f"http://127.0.0.1:{dead_port()}/v1",
                "models": ["gone"],
                "retries": 0,
                "failures": 2,
            },
        },
        "aliases": {"either": ["gone", "echo"]},
    }
    with running(tmp_path_factory.mktemp("status"), settings) as made:
        yield made


def status(server: Running, key: str = KEY) -> dict[str, Any]:
    answer = raw.ask(server, "GET", PATH, key=key)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    assert found["object"] == "homeport.status"
    return found


def named(those: list[dict[str, Any]], name: str, by: str = "name") -> dict[str, Any]:
    return next(one for one in those if one[by] == name)


def ask(server: Running, model: str, key: str = KEY, **more: Any) -> int:
    return raw.ask(server, body={**raw.HELLO, "model": model, **more}, key=key).status


def test_what_is_counted_is_told_by_model_and_by_upstream(server: Running) -> None:
    before = status(server)
    assert [ask(server, model) for model in ("gpt-4o", "narrow", "there", "there")] == [200] * 4
    after = status(server)
    models, upstreams = after["models"], after["upstreams"]
    grown = named(models, "narrow", "id")["recent"], named(before["models"], "narrow", "id")["recent"]
    assert grown[0]["requests"] - grown[1]["requests"] == 2, "an alias counts for the model behind it"
    assert named(upstreams, "far")["recent"]["requests"] == 2
    assert named(upstreams, "far")["recent"]["error_rate"] == 0
    assert named(upstreams, "far")["recent"]["seconds_p50"] > 0
    assert after["server"]["recent"]["requests"] >= 4
    assert 0 < after["seconds"]
    assert ask(server, "narrow", stream=True) == 200
    assert named(status(server)["models"], "narrow", "id")["recent"]["first_token_seconds_p50"] > 0


def test_models_and_names(server: Running) -> None:
    shown = status(server)
    narrow = named(shown["models"], "narrow", "id")
    assert (narrow["state"], narrow["engines"], narrow["most_waiting"]) == ("ready", ["echo"], 9)
    assert "chat" in narrow["capabilities"]
    assert (narrow["weights_bytes"], narrow["memory_bytes"]) == (None, None)
    assert narrow["places"] >= 1
    unpulled = named(shown["models"], "unpulled", "id")
    assert unpulled["state"] == "missing"
    assert "homeport pull unpulled" in unpulled["reason"]
    assert not [one for one in shown["problems"] if one["name"] == "unpulled"], "nobody has asked for it"
    assert named(shown["names"], "gpt-4o", "id")["answers"] == [{"backend": "local", "model": "narrow"}]
    assert named(shown["names"], "either", "id")["answers"] == [
        {"backend": "nobody", "model": "gone"},
        {"backend": "local", "model": "echo"},
    ]


def test_the_server_and_what_it_stands_on(server: Running) -> None:
    shown = status(server)
    assert shown["server"]["ready"] is True
    (process,) = shown["server"]["processes"]
    assert process["memory_bytes"] > 10**6
    assert {one["name"]: one["up"] for one in shown["stores"]} == {"database": True, "ledger": True}
    assert {"batch", "ingestion", "runs"} <= {one["lane"] for one in shown["lanes"]}
    assert 0 < shown["disk"]["free_bytes"] <= shown["disk"]["total_bytes"]
    assert shown["ledger"]["journal_max_slots"] > 0
    assert {"homeport", "python", "starlette"} <= set(shown["versions"])


def test_an_upstream_that_fails_is_told_with_what_it_failed_with(server: Running, fake: FakeUpstream) -> None:
    assert named(status(server)["upstreams"], "nobody")["state"] == "unknown"
    assert [ask(server, "either"), ask(server, "gone"), ask(server, "gone")] == [200, 503, 503]
    shown = status(server)
    nobody = named(shown["upstreams"], "nobody")
    assert nobody["state"] == "down"
    assert nobody["doors"][0]["families"][0]["state"] in ("open", "half_open")
    assert nobody["recent"]["failed_tries"] >= 2
    assert shown["status"] == "degraded"
    assert named(shown["problems"], "nobody")["what"] == "upstream"
    incidents = [one for one in shown["incidents"] if one["backend"] == "nobody"]
    assert {one["model"] for one in incidents} == {"either", "gone"}
    assert any("cannot be reached" in one["message"] for one in incidents)
    assert incidents == sorted(incidents, key=lambda one: -one["last_at"])
    assert named(shown["upstreams"], "far")["state"] in ("up", "unknown")


def test_what_an_upstream_says_is_not_repeated(server: Running, fake: FakeUpstream) -> None:
    """There may be a prompt in it."""
    body = json.dumps({"error": {"message": "the user said xyzzy", "type": "t", "code": None}}).encode()
    fake.by_model["there"] = lambda visit: visit.send(whole(body, 418 + 100))
    try:
        refused = raw.ask(server, body={**raw.HELLO, "model": "there"})
    finally:
        del fake.by_model["there"]
    assert "xyzzy" in refused.error["message"]
    shown = status(server)
    assert [one["message"] for one in shown["incidents"] if one["backend"] == "far"] == [
        "It answered with status 503."  # as the client is told, whatever number the upstream made up
    ]
    assert "xyzzy" not in json.dumps(shown)


def test_a_projects_key_sees_what_it_may_use_and_nothing_of_others(server: Running) -> None:
    project = owners.new_project(server, "watches")
    key = owners.new_key(server, project, models=["echo", "gpt-4o", "there"])
    assert ask(server, "echo", key) == 200
    assert ask(server, "gone") == 503
    shown = status(server, key)
    assert {one["id"] for one in shown["models"]} == {"echo"}
    assert {one["id"] for one in shown["names"]} == {"echo", "gpt-4o", "there"}
    for hidden in ("lanes", "ledger", "disk", "incidents"):
        assert shown[hidden] is None
    assert shown["server"]["processes"] == []
    assert shown["server"]["in_flight"] is None
    figures = [shown["server"]["recent"], *(one["recent"] for one in (*shown["models"], *shown["upstreams"]))]
    assert {(one["requests"], one["errors"], one["failed_tries"]) for one in figures} == {(None, None, None)}
    assert named(shown["models"], "echo", "id")["recent"]["error_rate"] == 0
    said = json.dumps(shown)
    assert "127.0.0.1" not in said
    assert str(server.data) not in said
    assert '"other"' not in said
    assert named(shown["problems"], "nobody")["what"] == "upstream"
    assert shown["versions"]["homeport"]


def test_no_key_no_status_and_an_admin_key_sees_everything(server: Running) -> None:
    assert raw.ask(server, "GET", PATH, headers={"Authorization": None}).status == 401
    assert raw.ask(server, "GET", PATH, key="sk-nobody").status == 401
    admin = raw.ask(server, "POST", "/v1/organization/admin_api_keys", {"name": "a"}).json["value"]
    assert until(lambda: raw.ask(server, "GET", PATH, key=admin).status == 200)
    shown = status(server, admin)
    assert shown["disk"] is not None
    assert named(shown["upstreams"], "nobody")["doors"][0]["base_url"].startswith("http://127.0.0.1:")


def test_where_nothing_is_counted_nothing_is_made_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("uncounted"), {"telemetry": {"metrics": "off"}}) as server:
        assert ask(server, "echo") == 200
        shown = status(server)
    assert shown["seconds"] is None
    assert shown["server"]["recent"]["requests"] is None
    assert shown["models"][0]["recent"]["requests"] is None
    assert shown["status"] == "ok"
    assert shown["problems"] == []
