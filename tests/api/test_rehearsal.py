"""Faults that a client asks for, as its SDK meets them."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.server import KEY, Running, running


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("faults"), {"faults": {"allowed": True}}, lane=request.param) as made:
        yield made


def ask(server: Running, fault: str, **fields: Any) -> raw.Answer:
    return raw.ask(server, body={**raw.HELLO, **fields}, headers={"x-homeport-fault": fault})


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code", "retry_after"),
    [
        ("429", 429, "requests", "rate_limit_exceeded", "1"),
        ("429;after=7", 429, "requests", "rate_limit_exceeded", "7"),
        ("500", 500, "server_error", None, None),
        ("503; after=0.5", 503, "server_error", None, "1"),
    ],
)
def test_refusals(server: Running, fault: str, status: int, kind: str, code: str | None, retry_after: str) -> None:
    for stream in (False, True):
        told = ask(server, fault, stream=stream)
        assert (told.status, told.error["type"], told.error["code"]) == (status, kind, code)
        assert told.headers.get("retry-after") == retry_after
        assert told.headers["x-homeport-fault"] == fault[:3]


def test_the_sdk_gets_over_it(server: Running) -> None:
    """One fault, then the answer: what a program's retries are for."""
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=1) as client:
        for fault in ("429;after=0.01;times=1", "500;times=1", "cut;times=1"):
            answer = client.chat.completions.create(**raw.HELLO, extra_headers={"x-homeport-fault": fault})
            assert answer.choices[0].message.content


def test_equal_requests_are_counted_together(server: Running) -> None:
    assert [ask(server, "500;times=2", seed=1).status for _ in range(4)] == [500, 500, 200, 200]
    assert ask(server, "500;times=2", seed=2).status == 500


def test_by_chance(server: Running) -> None:
    assert ask(server, "500;p=0").status == 200
    assert ask(server, "500;p=1").status == 500


def test_a_cut_ends_the_connection(server: Running) -> None:
    with pytest.raises((http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError)):
        ask(server, "cut")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server, "cut;after=2", stream=True)
    sent = caught.value.partial
    assert sent.count(b"data: ") == 2
    assert b"[DONE]" not in sent
    assert b"error" not in sent
    assert ask(server, "slow=0").status == 200


def test_slow(server: Running) -> None:
    told = ask(server, "slow=0.01;gap=0.001", stream=True)
    assert told.body.endswith(b"data: [DONE]\n\n")
    assert told.headers["x-homeport-fault"] == "slow"
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=0.2)
    for fault in ("slow=600", "timeout"):
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(**raw.HELLO, extra_headers={"x-homeport-fault": fault})


@pytest.mark.parametrize(
    "fault", ["418", "slow", "slow=x", "429=3", "cut;after", "500;times=-1", "500;x=1", "slow=inf"]
)
def test_what_cannot_be_rehearsed_is_said(server: Running, fault: str) -> None:
    told = ask(server, fault)
    assert (told.status, told.error["code"]) == (400, "invalid_fault")


def test_nobody_asks_for_faults_where_they_are_not_allowed(tmp_path: Path) -> None:
    with running(tmp_path) as homeport:
        told = ask(homeport, "429")
        assert (told.status, "faults.allowed" in told.error["message"]) == (403, True)
