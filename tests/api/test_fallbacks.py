"""Aliases with several names: the next is tried for the fault of a target, and only before the first byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import raw
from tests.fake_upstream import TEXT, dead_port
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

HELLO: Any = [{"role": "user", "content": "hello"}]
QUICK: Any = {"first_byte_seconds": 1.0, "idle_seconds": 1.0, "connect_seconds": 5.0}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    names = faults.all_behaviours()
    aliases = {f"{name}-or": (name, "well") for name in (*names, "refused")}
    dead = {"base_url": f"http://127.0.0.1:{dead_port()}/v1", "models": ["dead", "dead-2"], "retries": 0, "failures": 0}
    more = {"dead-or-local": ("dead", "echo"), "dead-or-dead": ("dead", "dead-2"), "three": ("dead", "silence", "well")}
    settings = {"aliases": {**aliases, **more}, "upstreams": {"dead": dead}}
    with (
        pytest.MonkeyPatch.context() as patch,
        relaying(tmp_path_factory.mktemp("fallbacks"), settings, **QUICK) as made,
    ):
        faults.small_limits(patch)
        made.fake.by_model.update(names)
        yield made


def ask(relay: Relay, model: str, *, stream: bool = False) -> raw.Answer:
    return raw.ask(relay.homeport, body={"model": model, "messages": HELLO, "stream": stream})


@pytest.mark.parametrize("name", [*faults.EARLY, *faults.PLAIN])
def test_the_next_answers_a_plain_request(relay: Relay, name: str) -> None:
    answer = ask(relay, f"{name}-or")
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == TEXT
    (row,) = relay.rows(f"{name}-or")
    assert (row["outcome"], row["status"], row["ran"], row["prompt_tokens"]) == ("completed", 200, "well-2024", 11)


@pytest.mark.parametrize("name", ["silence", "html-500", "json-for-a-stream", "no-events", "no-json", "error-first"])
def test_the_next_answers_a_stream(relay: Relay, name: str) -> None:
    answer = ask(relay, f"{name}-or", stream=True)
    *chunks, done = raw.events(answer.body)
    assert done == "[DONE]"
    assert {chunk["model"] for chunk in chunks} == {"well-2024"}


@pytest.mark.parametrize("name", list(faults.STREAM_LATE))
def test_after_the_first_event_there_is_no_way_back(relay: Relay, name: str) -> None:
    before = len(relay.fake.received_for("well"))
    *_, last = raw.events(ask(relay, f"{name}-or", stream=True).body)
    assert "error" in last
    assert len(relay.fake.received_for("well")) == before


@pytest.mark.parametrize(
    ("code", "tried"), [(400, 0), (404, 0), (413, 0), (422, 0), (408, 1), (429, 1), (500, 1), (503, 1)]
)
def test_the_clients_own_fault_is_not_tried_elsewhere(relay: Relay, code: int, tried: int) -> None:
    relay.fake.by_model["refused"] = faults.status(code)
    before = len(relay.fake.received_for("well"))
    assert ask(relay, "refused-or").status == (200 if tried else code)
    assert len(relay.fake.received_for("well")) - before == tried


def test_a_dead_upstream_falls_back_to_a_local_model(relay: Relay) -> None:
    assert ask(relay, "dead-or-local").json["choices"][0]["message"]["content"] == "hello"
    (row,) = relay.rows("dead-or-local")
    assert (row["backend"], row["ran"]) == ("local", "echo")


def test_when_all_fail_the_last_says_why(relay: Relay) -> None:
    answer = ask(relay, "dead-or-dead")
    assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
    assert "refused" in answer.error["message"]
    assert "127.0.0.1" not in answer.error["message"]


def test_three_are_tried_in_order(relay: Relay) -> None:
    assert ask(relay, "three").json["model"] == "well-2024"
    assert relay.fake.received_for("silence")


def test_a_name_that_cannot_be_found_is_told(tmp_path: Path) -> None:
    with relaying(tmp_path, base_url="http://nowhere.invalid/v1", connect_seconds=20) as relay:
        answer = ask(relay, "m")
    assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
    assert "its name is not known" in answer.error["message"]
