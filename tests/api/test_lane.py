"""The same cases over the fast lane and over plain ASGI: what holds for one holds for the other."""

import sqlite3
import time
from collections.abc import Iterator

import pytest

from homeport.api import exchange
from tests.api.raw import HELLO, ask, connect, events, read_all, request_bytes
from tests.server import Running, running

SLOW = {**HELLO, "model": "slow", "stream": True}


@pytest.fixture(scope="module", params=["lane", "asgi"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.05}}
    settings = {"models": models, "server": {"max_body_mb": 1}}
    with running(tmp_path_factory.mktemp("server"), settings, lane=request.param == "lane") as made:
        yield made


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {
        "models": {"slow": {"engine": "echo", "delay": 0.05}},
        "server": {"keep_alive_seconds": 1},
    }
    with running(tmp_path_factory.mktemp("impatient"), settings) as made:
        yield made


def test_plain_and_stream(server: Running) -> None:
    plain = ask(server)
    assert plain.status == 200
    assert plain.json["choices"][0]["message"]["content"] == "hello there"
    assert int(plain.headers["content-length"]) == len(plain.body)
    stream = ask(server, body={**HELLO, "stream": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert events(stream.body)[-1] == "[DONE]"


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    slow = {**SLOW, "messages": [{"role": "user", "content": "first one"}]}
    with connect(server) as connection:
        connection.sendall(
            request_bytes(slow)
            + request_bytes({**HELLO, "messages": [{"role": "user", "content": "second"}]})
            + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
            + request_bytes(
                {**HELLO, "messages": [{"role": "user", "content": "third"}]}, extra="Connection: close\r\n"
            )
        )
        answers = read_all(connection)
    places = [answers.index(text) for text in (b"first", b"[DONE]", b'"second"', b'{"status":"ok"}', b'"third"')]
    assert places == sorted(places)
    assert answers.count(b"HTTP/1.1 200 OK") == 4


def test_a_body_may_come_in_many_pieces(server: Running) -> None:
    raw = request_bytes(extra="Connection: close\r\n")
    with connect(server) as connection:
        for start in range(0, len(raw), 7):
            connection.sendall(raw[start : start + 7])
        assert b"hello there" in read_all(connection)


def test_a_body_may_be_chunked(server: Running) -> None:
    head, _, body = request_bytes().partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(
            b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"Connection: close"]) + b"\r\n\r\n" + chunks
        )
        assert b"hello there" in read_all(connection)


def test_expect_100_continue_is_answered(server: Running) -> None:
    head, _, body = request_bytes(extra="Expect: 100-continue\r\nConnection: close\r\n").partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b"hello there" in read_all(connection)


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_413(server: Running, chunked: bool) -> None:
    body = b'{"model": "echo", "messages": "' + b"x" * 1_200_000 + b'"}'
    head, _, _ = request_bytes().partition(b"\r\nContent-Length")
    with connect(server) as connection:
        if chunked:
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            raw = head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
        else:
            raw = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        try:
            connection.sendall(raw)
        except OSError:
            pass  # refused before everything was sent
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"x-request-id" in answer
    assert b"larger than 1 MiB" in answer


def test_the_connection_is_kept_after_an_error(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(request_bytes({**HELLO, "model": "nobody"}) + request_bytes(extra="Connection: close\r\n"))
        answers = read_all(connection)
    assert answers.startswith(b"HTTP/1.1 404")
    assert b"hello there" in answers


def test_no_http_at_all_is_400(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")


def test_endless_headers_are_cut(server: Running) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n")
            for number in range(4000):
                connection.sendall(b"x-h-%d: " % number + b"y" * 100 + b"\r\n")
                time.sleep(0.0001)
        except OSError:
            pass
        try:
            answer = connection.recv(65536)
        except OSError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


def test_a_slow_stream_is_kept_alive_by_comments(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exchange.KEEP_ALIVE_SECONDS == 15
    monkeypatch.setattr(exchange, "KEEP_ALIVE_SECONDS", 0.015)
    answer = ask(server, body={**SLOW, "messages": [{"role": "user", "content": "hello there you"}]})
    assert b": keep-alive\n\n" in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")
    content = [event["choices"][0]["delta"].get("content") or "" for event in events(answer.body)[:-1]]
    assert "".join(content) == "hello there you"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", b""),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n", b"HTTP/1.1 408"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_client_that_stops_in_the_middle_is_let_go(impatient: Running, sent: bytes, told: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(sent)
        assert read_all(connection)[:12] == told


def test_an_answer_may_take_longer_than_an_idle_client(impatient: Running) -> None:
    words = " ".join(["word"] * 30)
    answer = ask(impatient, body={"model": "slow", "messages": [{"role": "user", "content": words}]})
    assert answer.json["choices"][0]["message"]["content"] == words


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(server: Running, stream: bool) -> None:
    """The ledger has the entry closed as `left` long before the answer would have been whole (5 seconds)."""
    words = " ".join(["word"] * 100)
    body = {"model": "slow", "stream": stream, "messages": [{"role": "user", "content": words}]}
    before = rows(server)
    with connect(server) as connection:
        connection.sendall(request_bytes(body))
        if stream:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        else:
            time.sleep(0.1)
    deadline = time.monotonic() + 3
    while len(rows(server)) == len(before) and time.monotonic() < deadline:
        time.sleep(0.02)
    outcome, total_ms = rows(server)[-1]
    assert outcome == "left"
    assert total_ms < 2500


def rows(server: Running) -> list[tuple[str, int]]:
    with sqlite3.connect(server.data / "usage.db") as database:
        found = database.execute("SELECT outcome, total_ms FROM usage ORDER BY seq").fetchall()
    database.close()
    return found
