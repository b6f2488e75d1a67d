"""Clients that leave, or read slowly: the upstream stops working for them."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import raw
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, event, until
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

HELLO: Any = [{"role": "user", "content": "hello"}]
PIECE = event({"choices": [{"index": 0, "delta": {"content": "x" * 8000}, "finish_reason": None}]})
#: Bytes: far more than all buffers on the way, far less than what comes when nobody holds it back.
FAR_TOO_MUCH = 48 * 2**20


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("leaving"), lane=request.param) as made:
        yield made


def visit_of(relay: Relay, model: str) -> Visit:
    assert until(lambda: bool(relay.fake.received_for(model)))
    return relay.fake.received_for(model)[0]


def check_left(relay: Relay, model: str, *, began: bool = True) -> None:
    """began: something was produced, and is counted."""
    assert visit_of(relay, model).left.wait(60)
    (row,) = relay.rows(model)
    assert (row["outcome"], row["status"], row["estimated"]) == ("left", 499, began)
    assert (row["completion_tokens"] > 0) is (row["prompt_tokens"] > 0) is began


def test_leaving_before_an_answer(relay: Relay) -> None:
    relay.fake.by_model["before"] = faults.silence
    with raw.connect(relay.homeport) as connection:
        connection.sendall(raw.request_bytes({"model": "before", "messages": HELLO}))
        visit_of(relay, "before")
    check_left(relay, "before", began=False)


def test_leaving_a_stream(relay: Relay) -> None:
    relay.fake.by_model["during"] = faults.quiet_after(faults.begun)
    with relay.client() as client:
        stream = client.chat.completions.create(model="during", messages=HELLO, stream=True)
        next(stream)
        stream.close()
        check_left(relay, "during")


def test_what_cannot_be_counted_is_estimated(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And holds up no record behind it."""

    def broken(model: str, request: object) -> int:
        raise ValueError("nobody reads this prompt")

    monkeypatch.setattr("homeport.gateway.counting.count_request", broken)
    relay.fake.by_model["uncountable"] = faults.quiet_after(faults.begun)
    with relay.client() as client:
        stream = client.chat.completions.create(model="uncountable", messages=HELLO, stream=True)
        next(stream)
        stream.close()
        check_left(relay, "uncountable")
        client.chat.completions.create(model="behind", messages=HELLO)
        relay.rows("behind")
    assert "its tokens cannot be counted: ValueError" in caplog.text
    assert "nobody reads" not in caplog.text


def test_leaving_an_async_stream(relay: Relay) -> None:
    async def leave() -> None:
        async with relay.async_client() as client:
            stream = await client.chat.completions.create(model="async", messages=HELLO, stream=True)
            await anext(aiter(stream))
            await stream.close()

    relay.fake.by_model["async"] = faults.quiet_after(faults.begun)
    asyncio.run(leave())
    check_left(relay, "async")


def test_leaving_a_stream_that_pours(relay: Relay) -> None:
    relay.fake.by_model["pouring"] = faults.endless(STREAM_HEAD, chunked(PIECE))
    with raw.connect(relay.homeport) as connection:
        connection.sendall(raw.request_bytes({"model": "pouring", "messages": HELLO, "stream": True}))
        assert connection.recv(65536)
    check_left(relay, "pouring")


def test_a_slow_reader_stops_the_upstream(relay: Relay) -> None:
    relay.fake.by_model["endless"] = faults.endless(STREAM_HEAD, chunked(PIECE))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", relay.homeport.port))
        connection.sendall(raw.request_bytes({"model": "endless", "messages": HELLO, "stream": True}))
        visit = visit_of(relay, "endless")
        assert until(lambda: stands_still(visit))
        assert 0 < visit.sent < FAR_TOO_MUCH
        before = visit.sent
        taken = 0
        while taken < 2 * before:
            taken += len(connection.recv(2**20))
        assert visit.sent > before
    check_left(relay, "endless")


def stands_still(visit: Visit) -> bool:
    before = visit.sent
    time.sleep(0.3)
    return visit.sent == before > 0


def test_a_slow_reader_is_not_taken_for_a_slow_upstream(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> None:
    with relaying(tmp_path_factory.mktemp("patient"), idle_seconds=0.3) as quick, socket.socket() as connection:
        quick.fake.by_model["endless"] = faults.endless(STREAM_HEAD, chunked(PIECE))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", quick.homeport.port))
        connection.sendall(raw.request_bytes({"model": "endless", "messages": HELLO, "stream": True}))
        visit = visit_of(quick, "endless")
        assert until(lambda: stands_still(visit))
        time.sleep(1)
        assert not visit.left.is_set()
