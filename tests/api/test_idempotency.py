"""`Idempotency-Key`: the same request twice is done once; what failed may be tried again."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport import clock
from tests import clocks
from tests.api import raw
from tests.fake_upstream import Visit, answer_well, until, whole
from tests.server import KEY
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("idempotency"), lane=request.param) as made:
        yield made


def ask(relay: Relay, key: str, *, model: str, content: str = "hello", stream: bool = False, **more: str) -> raw.Answer:
    body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
    return raw.ask(relay.homeport, body=body, headers={"idempotency-key": key, **more})


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_twice_is_asked_once_and_answered_the_same(relay: Relay, stream: bool) -> None:
    model = f"twice-{stream}"
    first = ask(relay, model, model=model, stream=stream)
    again = ask(relay, model, model=model, stream=stream)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-homeport-original-request-id"] == first.headers["x-request-id"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(relay.fake.received_for(model)) == 1
    assert len(relay.rows(model)) == 1


def test_the_sdk_reads_what_is_given_again(relay: Relay) -> None:
    with relay.client() as client:
        answers = [
            client.chat.completions.create(
                model="sdk", messages=HELLO, extra_headers={"Idempotency-Key": "sdk-1"}
            ).model_dump()
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        chunks = [
            [
                chunk.model_dump()
                for chunk in client.chat.completions.create(
                    model="sdk-stream", messages=HELLO, stream=True, extra_headers={"Idempotency-Key": "sdk-2"}
                )
            ]
            for _ in range(2)
        ]
        assert chunks[0] == chunks[1]
        assert chunks[0]


def test_another_body_is_an_error(relay: Relay) -> None:
    assert ask(relay, "other", model="other").status == 200
    refused = ask(relay, "other", model="other", content="something else")
    assert (refused.status, refused.error["code"]) == (400, "idempotency_key_reused")
    assert len(relay.fake.received_for("other")) == 1


def test_an_answer_that_failed_is_not_kept(relay: Relay) -> None:
    relay.fake.by_model["failed"] = lambda visit: visit.send(whole(b'{"error": {"message": "No."}}', 400))
    assert ask(relay, "failed", model="failed").status == 400
    relay.fake.by_model["failed"] = answer_well
    assert ask(relay, "failed", model="failed").status == 200


def test_a_stream_that_breaks_is_not_kept(relay: Relay) -> None:
    relay.fake.by_model["broken"] = faults.cut_after(faults.begun)
    assert b'"error"' in ask(relay, "broken", model="broken", stream=True).body
    relay.fake.by_model["broken"] = answer_well
    again = ask(relay, "broken", model="broken", stream=True)
    assert raw.events(again.body)[-1] == "[DONE]"


def test_while_the_first_runs_the_second_is_told_to_wait(relay: Relay) -> None:
    asked, go = threading.Event(), threading.Event()

    def late(visit: Visit) -> None:
        asked.set()
        assert go.wait(60)
        answer_well(visit)

    relay.fake.by_model["busy"] = late
    answers: list[raw.Answer] = []
    first = threading.Thread(target=lambda: answers.append(ask(relay, "busy", model="busy")))
    first.start()
    assert asked.wait(60)
    second = ask(relay, "busy", model="busy")
    assert (second.status, second.error["code"]) == (409, "idempotency_key_in_use")
    assert second.headers["retry-after"] == "1"
    go.set()
    first.join(20)
    assert answers[0].status == 200
    assert ask(relay, "busy", model="busy").body == answers[0].body
    assert len(relay.fake.received_for("busy")) == 1


def test_who_leaves_may_ask_again(relay: Relay) -> None:
    relay.fake.by_model["left"] = faults.silence
    with raw.connect(relay.homeport) as connection:
        body = {"model": "left", "messages": HELLO}
        connection.sendall(raw.request_bytes(body, extra="Idempotency-Key: left\r\n"))
        assert until(lambda: bool(relay.fake.received_for("left")))
    assert relay.fake.received_for("left")[0].left.wait(60)
    relay.fake.by_model["left"] = answer_well
    assert until(lambda: ask(relay, "left", model="left").status == 200)


def test_the_key_of_another_caller_and_another_path_is_another_key(relay: Relay) -> None:
    assert ask(relay, "shared", model="shared").status == 200
    body = {"model": "shared", "prompt": "hello"}
    other = raw.ask(relay.homeport, "POST", "/v1/completions", body, {"idempotency-key": "shared"})
    assert other.status == 200
    assert len(relay.fake.received_for("shared")) == 2


@pytest.mark.parametrize("key", ["x" * 256, "a\tb"])
def test_a_key_that_is_none(relay: Relay, key: str) -> None:
    refused = ask(relay, key, model="no-key")
    assert (refused.status, refused.error["code"]) == (400, "invalid_idempotency_key")


def test_after_a_day_it_is_forgotten(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(relay, "old", model="old")
    clocks.own(monkeypatch, "control.idempotency", now=lambda: clock.now() + 86_401)
    again = ask(relay, "old", model="old", content="something else")
    assert (first.status, again.status) == (200, 200)
    assert "idempotent-replayed" not in again.headers


class TestTheAdminApi:
    @staticmethod
    def post(relay: Relay, path: str, body: Any, key: str) -> raw.Answer:
        return raw.ask(relay.homeport, "POST", f"/v1/organization{path}", body, {"idempotency-key": key})

    def test_what_is_created_is_created_once(self, relay: Relay) -> None:
        first = self.post(relay, "/projects", {"name": "Once"}, "project-1")
        again = self.post(relay, "/projects", {"name": "Once"}, "project-1")
        assert (first.status, again.status) == (200, 200)
        assert again.json == first.json
        assert again.headers["idempotent-replayed"] == "true"
        with openai.OpenAI(base_url=relay.homeport.base_url, api_key=KEY, admin_api_key=KEY) as client:
            names = [project.name for project in client.admin.organization.projects.list()]
        assert names.count("Once") == 1
        assert self.post(relay, "/projects", {"name": "Twice"}, "project-1").error["code"] == ("idempotency_key_reused")

    def test_a_secret_is_shown_once(self, relay: Relay, tmp_path: Path) -> None:
        first = self.post(relay, "/admin_api_keys", {"name": "ops"}, "secret-1")
        again = self.post(relay, "/admin_api_keys", {"name": "ops"}, "secret-1")
        assert first.status == 200
        assert (again.status, again.error["code"]) == (409, "idempotency_answer_not_kept")
        secret = first.json["value"].encode()
        files = [file for file in relay.homeport.data.rglob("*") if file.is_file()]
        assert files
        assert not any(secret in file.read_bytes() for file in files)

    def test_what_was_refused_is_asked_again(self, relay: Relay) -> None:
        assert self.post(relay, "/projects", {"name": 5}, "refused-1").status == 400
        assert self.post(relay, "/projects", {"name": 5}, "refused-1").status == 400
