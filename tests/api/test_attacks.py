"""Clients that mean harm: slow, large, ambiguous, many. Each is refused or let go, and the next client is answered."""

import gzip
import json
import random
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from tests.api.raw import CHAT, HELLO, ask, connect, read_all, request_bytes
from tests.api.test_lifecycle import serving
from tests.fake_upstream import STREAM_HEAD, USAGE, FakeUpstream, Visit, chunked, event, fake_upstream, until, whole
from tests.server import KEY, Running, running

BODY = json.dumps(HELLO).encode()
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AZURE = "/openai/deployments/echo/chat/completions?api-version=2024-10-21"
MODELS = {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.05}}


@pytest.fixture(scope="module", params=["lane", "asgi"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"models": MODELS, "server": {"max_body_mb": 1}}
    with running(tmp_path_factory.mktemp("server"), settings, lane=request.param == "lane") as made:
        yield made


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module", params=["lane", "asgi"])
def impatient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream
) -> Iterator[Running]:
    """It gives an idle client one second, and takes one client at once."""
    settings = {
        "upstreams": {"far": {"base_url": fake.base_url}},
        "server": {"keep_alive_seconds": 1, "max_connections": 1},
    }
    with running(tmp_path_factory.mktemp("impatient"), settings, lane=request.param == "lane") as made:
        yield made


def head(*lines: bytes, start: bytes = b"POST /v1/chat/completions HTTP/1.1", host: bytes = b"Host: test\r\n") -> bytes:
    """Without its last line break. lines: each with its own."""
    return start + b"\r\n" + host + b"Authorization: Bearer %b\r\n" % KEY.encode() + b"".join(lines)


def exchanged(server: Running, raw: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(raw)
        return whole_answer(connection)


def whole_answer(connection: socket.socket) -> bytes:
    """One answer with a content-length, or everything up to the end."""
    got = b""
    while True:
        before, found, body = got.partition(b"\r\n\r\n")
        if found and b"content-length: " in before:
            length = int(before.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) >= length:
                return got
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return got
        if not part:
            return got
        got += part


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def error(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def is_well(server: Running) -> bool:
    return bool(ask(server).json["choices"][0]["message"]["content"] == "hello there")


# Ambiguous framing: what two servers could read in two ways


LENGTH = b"Content-Length: %d\r\n" % len(BODY)
SMUGGLING = {
    "length and chunked": head(LENGTH, CHUNKED) + b"\r\n" + CHUNKS,
    "chunked and length": head(CHUNKED, b"Content-Length: 5\r\n") + b"\r\n" + CHUNKS,
    "two lengths": head(LENGTH, b"Content-Length: 3\r\n") + b"\r\n" + BODY,
    "one length twice": head(LENGTH, LENGTH) + b"\r\n" + BODY,
    "a list of lengths": head(LENGTH.replace(b"\r", b", 5\r")) + b"\r\n" + BODY,
    "a signed length": head(LENGTH.replace(b": ", b": +")) + b"\r\n" + BODY,
    "a negative length": head(b"Content-Length: -1\r\n") + b"\r\n" + BODY,
    "a length in hex": head(b"Content-Length: 0x10\r\n") + b"\r\n" + BODY,
    "a length beyond numbers": head(b"Content-Length: 99999999999999999999999\r\n") + b"\r\n" + BODY,
    "a blank before the colon": head(b"Content-Length : 5\r\n") + b"\r\n" + BODY,
    "chunked twice": head(CHUNKED, CHUNKED) + b"\r\n" + CHUNKS,
    "chunked and identity": head(CHUNKED, b"Transfer-Encoding: identity\r\n") + b"\r\n" + CHUNKS,
    "nearly chunked": head(b"Transfer-Encoding: xchunked\r\n") + b"\r\n" + CHUNKS,
    "chunked with a control character": head(b"Transfer-Encoding: \x0bchunked\r\n") + b"\r\n" + CHUNKS,
    "compressed chunks": head(b"Transfer-Encoding: gzip, chunked\r\n") + b"\r\n" + CHUNKS,
    "identity": head(b"Transfer-Encoding: identity\r\n") + b"\r\n" + CHUNKS,
    "a folded header": head(LENGTH, b"X-A: b\r\n c\r\n") + b"\r\n" + BODY,
    "folded chunked": head(b"Transfer-Encoding:\r\n chunked\r\n") + b"\r\n" + CHUNKS,
    "a bare LF": head(b"X-A: b\nTransfer-Encoding: chunked\r\n") + b"\r\n" + CHUNKS,
    "LF alone": (head(LENGTH) + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "a bare CR": head(LENGTH, b"X-A: b\rX-B: c\r\n") + b"\r\n" + BODY,
    "NUL in a value": head(LENGTH, b"X-A: b\x00c\r\n") + b"\r\n" + BODY,
    "NUL in a name": head(LENGTH, b"X-\x00A: b\r\n") + b"\r\n" + BODY,
    "a control character": head(LENGTH, b"X-A: b\x01c\r\n") + b"\r\n" + BODY,
    "no name": head(LENGTH, b": b\r\n") + b"\r\n" + BODY,
    "no colon": head(LENGTH, b"foo\r\n") + b"\r\n" + BODY,
    "a blank in a name": head(LENGTH, b"X A: b\r\n") + b"\r\n" + BODY,
    "a chunk beyond numbers": head(CHUNKED) + b"\r\nfffffffffffffffff\r\n" + BODY,
    "a chunk in 0x": head(CHUNKED) + b"\r\n0x" + CHUNKS,
    "a chunk and LF": head(CHUNKED) + b"\r\n" + CHUNKS.replace(b"\r\n", b"\n", 1),
    "a chunk that ends with LF": head(CHUNKED) + b"\r\n%x\r\n%b\n0\r\n\r\n" % (len(BODY), BODY),
    "NUL in a chunk's extension": head(CHUNKED) + b"\r\n" + CHUNKS.replace(b"\r\n", b";\x00\r\n", 1),
    "a length in a trailer": head(CHUNKED) + b"\r\n" + CHUNKS[:-2] + b"Content-Length: 5\r\n\r\n",
    "no host": head(LENGTH, host=b"") + b"\r\n" + BODY,
    "two hosts": head(LENGTH, b"Host: other\r\n") + b"\r\n" + BODY,
    "no host at all": head(LENGTH, host=b"Host: test/x@y\r\n") + b"\r\n" + BODY,
    "a blank in the path": head(LENGTH, start=b"POST /v1/chat /completions HTTP/1.1") + b"\r\n" + BODY,
    "NUL in the path": head(LENGTH, start=b"POST /v1/chat\x00/completions HTTP/1.1") + b"\r\n" + BODY,
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/1.2": head(LENGTH, start=b"POST /v1/chat/completions HTTP/1.2") + b"\r\n" + BODY,
    "HTTP/2.0": head(LENGTH, start=b"POST /v1/chat/completions HTTP/2.0") + b"\r\n" + BODY,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": head(start=b"CONNECT test:443 HTTP/1.1") + b"\r\n",
    "no method": head(LENGTH, start=b"FOO /v1/chat/completions HTTP/1.1") + b"\r\n" + BODY,
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_can_be_read_in_two_ways_is_400_and_the_end(server: Running, raw: bytes) -> None:
    """One answer, whatever follows: nothing after it is taken for a request."""
    answer = exchanged(server, raw + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
    assert status(answer) == 400
    assert error(answer)["type"] == "invalid_request_error"
    assert b"\r\nconnection: close\r\n" in answer
    assert b'"status":"ok"' not in answer
    assert b"hello there" not in answer


def test_what_is_only_unusual_is_answered(server: Running) -> None:
    for raw in (
        b"\r\n\r\n" + head(LENGTH) + b"\r\n" + BODY,
        head(b"Transfer-Encoding:\tChunked\r\n") + b"\r\n" + CHUNKS,
        head(CHUNKED) + b"\r\n" + CHUNKS.replace(b"\r\n", b";a=b\r\n", 1),
        head(LENGTH, b"X-A: \xff\r\n") + b"\r\n" + BODY,
        head(LENGTH, host=b"Host: \r\n") + b"\r\n" + BODY,
        head(LENGTH, host=b"Host: [::1]:8000\r\n") + b"\r\n" + BODY,
        head(LENGTH, host=b"", start=b"POST /v1/chat/completions HTTP/1.0") + b"\r\n" + BODY,
        head(LENGTH, start=b"POST http://else.where/v1/chat/completions HTTP/1.1") + b"\r\n" + BODY,
    ):
        assert status(exchanged(server, raw)) == 200, raw


def test_a_key_in_a_trailer_is_none(server: Running) -> None:
    raw = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\n" + CHUNKED
    trailer = b"Authorization: Bearer %b\r\nX-Team: a\r\n\r\n" % KEY.encode()
    answer = exchanged(server, raw + b"\r\n" + CHUNKS[:-2] + trailer)
    assert status(answer) == 401
    assert b"x-team" not in answer
    others = b"Connection: upgrade\r\nUpgrade: h2c\r\nHost: /\r\nExpect: 100-continue\r\n\r\n"
    assert status(exchanged(server, head(CHUNKED) + b"\r\n" + CHUNKS[:-2] + others)) == 200


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offered_upgrade_is_ignored_and_its_body_is_no_request(server: Running, offer: str) -> None:
    """As Java's own client sends it. The body comes later, and looks like a request to a parser that lost its place."""
    inner = b"GET /v1/models HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %b\r\n\r\n" % KEY.encode()
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "inner"}]}).encode()
    extra = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAAB\r\n" % offer.encode()
    for sent in (body, inner):
        with connect(server) as connection:
            connection.sendall(head(b"Content-Length: %d\r\n" % len(sent), extra) + b"\r\n")
            time.sleep(0.05)
            connection.sendall(sent)
            answer = read_all(connection)
        assert status(answer) == (200 if sent == body else 400)
        assert (b'"content":"inner"' in answer) == (sent == body)
        assert answer.count(b"x-request-id") == 1
        assert b"connection: close\r\n" in answer
    request = head(b"Content-Length: 0\r\n", extra, start=b"GET /healthz HTTP/1.1") + b"\r\n"
    answers = exchanged(server, request * 500)
    assert answers.count(b"HTTP/1.1 200") <= 1


def test_nonsense_after_a_request_does_not_stand_in_its_answer(server: Running) -> None:
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "one two three four"}]}
    with connect(server) as connection:
        connection.sendall(request_bytes(body) + b"\x00nonsense\r\n\r\n")
        answer = read_all(connection)
    assert b"data: [DONE]\n\n\r\n0\r\n\r\n" in answer
    assert answer.endswith(b"0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_before_nonsense_get_no_strangers_answer(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(request_bytes() * 3 + head(LENGTH, CHUNKED) + b"\r\n" + CHUNKS)
        answers = read_all(connection)
    assert answers.startswith(b"HTTP/1.1 200")
    assert answers.count(b"HTTP/1.1 200") <= 3
    assert b"HTTP/1.1 400" not in answers.partition(b"hello there")[0]


def test_random_damage(server: Running) -> None:
    """A thousand requests with a few bytes changed, dropped or put in: never a 500, never the end of the server."""
    dice = random.Random(7)
    good = head(LENGTH, b"X-Team: a\r\nContent-Type: application/json\r\n") + b"\r\n" + BODY
    for _ in range(1000):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(raw))
            what = bytes([dice.choice(b'\x00\r\n :;,/%\xff\x0bA0"{}\t')])
            raw[place : place + dice.randint(0, 2)] = what * dice.randint(0, 3)
        with connect(server) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = whole_answer(connection)
        assert status(answer) not in (500, 502, 503), (bytes(raw), answer)
    assert is_well(server)


# Paths: who may ask is decided by the route that answers, never by the text of the URL

PROTECTED = [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/organization/projects"), ("POST", AZURE)]
#: And pictures that were made, whose addresses nobody guesses.
PUBLIC = ("/", "/healthz", "/readyz", "/v1/homeport/images/{name}")


def disguises(path: str) -> list[str]:
    plain = path.removeprefix("/")
    return [
        path,
        "/" + path,
        "//" + path,
        "/." + path,
        "/healthz/.." + path,
        "/healthz/%2e%2e" + path,
        "/healthz/..%2f" + plain,
        path.replace("/", "%2f"),
        "/" + plain.replace("/", "%2F"),
        path.replace("/", "%5c"),
        "/%76" + path.removeprefix("/v") if path.startswith("/v") else path,
        path.replace("/v1", "/v1/."),
        path + "/",
        path + "/.",
        path + "?x=/healthz",
        path + "#/healthz",
        path + ";/healthz",
        path + "%00",
        path + "%2e",
        path.upper(),
        "http://127.0.0.1" + path,
        "http://127.0.0.1/healthz/.." + path,
        "/healthz" + path,
        "/healthz%3f" + path,
        "/healthz%23" + path,
        "/healthz;" + path,
        "/dashboard" + path,
        "/dashboard/.." + path,
        "/dashboard/static/.." + path,
    ]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_no_disguise_of_a_path_goes_around_the_key(server: Running, method: str, path: str) -> None:
    for disguise in disguises(path):
        raw = f"{method} {disguise} HTTP/1.1\r\nHost: test\r\n".encode() + LENGTH + b"\r\n" + BODY
        answer = exchanged(server, raw)
        assert status(answer) in (400, 401, 404, 405), (disguise, answer)
        assert b"hello there" not in answer
        assert b'"object":"list"' not in answer


def test_every_route_but_four_asks_for_a_key(server: Running) -> None:
    checked = 0
    for route in server.routes:
        assert isinstance(route, Route)
        path = "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
        for method in route.methods or ("GET", "POST"):
            if route.path in PUBLIC or method == "HEAD":
                continue
            query = "?api-version=2024-10-21" if path.startswith("/openai/") else ""
            answer = exchanged(server, f"{method} {path}{query} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            expected = 404 if route.path == "/openai/{rest:path}" else 401
            assert status(answer) == expected, (method, path, answer)
            checked += 1
    assert checked > 50


def test_headers_that_a_proxy_would_obey_are_not_given_back(server: Running) -> None:
    orders = ("X-Accel-Redirect", "X-Sendfile", "X-Lighttpd-Send-File", "X-LiteSpeed-Location", "X-Reproxy-URL")
    for path in (CHAT, AZURE):
        answer = ask(server, path=path, headers=dict.fromkeys(orders, "/etc/passwd"))
        assert answer.status == 200
        assert "/etc/passwd" not in answer.headers.values()


# Size


@pytest.mark.parametrize("path", [CHAT, AZURE])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x-unknown"])
def test_compressed_bodies_are_refused_unread(server: Running, path: str, encoding: str) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    answer = ask(server, path=path, body=bomb, headers={"Content-Encoding": encoding})
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_content_encoding"


def test_the_admin_api_takes_no_compressed_body_either(server: Running) -> None:
    path = "/v1/organization/projects"
    answer = ask(server, path=path, body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert answer.status == 415


@pytest.mark.parametrize("path", [CHAT, AZURE, "/v1/organization/projects"])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_413_and_the_answer_arrives(server: Running, path: str, chunked: bool) -> None:
    """Although the client is still sending: the connection is not reset under it."""
    size = 3_000_000
    framing = CHUNKED if chunked else b"Content-Length: %d\r\n" % size
    start = f"POST {path} HTTP/1.1".encode()
    with connect(server) as connection:
        connection.sendall(head(framing, b"Content-Type: application/json\r\n", start=start) + b"\r\n")
        body = b"%x\r\n" % size + b" " * size + b"\r\n0\r\n\r\n" if chunked else b" " * size
        for place in range(0, len(body), 500_000):
            connection.sendall(body[place : place + 500_000])
            time.sleep(0.02)
        answer = whole_answer(connection)
    assert status(answer) == 413
    assert b"larger than 1 MiB" in answer


def test_a_body_that_says_it_is_too_large_need_not_come(server: Running) -> None:
    answer = exchanged(server, head(b"Content-Length: 2000000\r\nExpect: 100-continue\r\n") + b"\r\n")
    assert status(answer) == 413


@pytest.mark.parametrize("path", [CHAT, AZURE])
def test_nobody_without_a_key_fills_the_memory(server: Running, path: str) -> None:
    """What makes a body large is not even waited for."""
    start = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n".encode()
    for key in (b"", b"Authorization: Bearer sk-wrong-0123456789-secret\r\n"):
        answer = exchanged(server, start + key + b"\r\n" + b" " * 200_000)
        assert status(answer) == 401
    with connect(server) as connection:
        connection.sendall(start + b"Authorization: Bearer %b\r\n\r\n" % KEY.encode() + b" " * 200_000)
        time.sleep(0.1)
        connection.sendall(b" " * (700_000 - len(BODY)) + BODY)
        assert b"hello there" in whole_answer(connection)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_large_heads_are_431(server: Running, path: str) -> None:
    start = f"POST {path} HTTP/1.1".encode()
    answer = exchanged(server, head(b"X-A: %b\r\n" % (b"y" * 200_000), start=start) + b"\r\n")
    assert (status(answer), error(answer)["message"]) == (431, "The request's headers are too large.")
    answer = exchanged(server, head(b"X-A: %b" % (b"y" * 600_000), start=start))
    assert status(answer) == 431


def test_many_headers_are_431(server: Running) -> None:
    def many(count: int) -> bytes:
        return head(LENGTH, *(b"A%d: b\r\n" % number for number in range(count - 3))) + b"\r\n" + BODY

    assert status(exchanged(server, many(100))) == 200
    answer = exchanged(server, many(101))
    assert (status(answer), error(answer)["message"]) == (431, "The request has more than 100 headers.")


def test_a_head_in_two_pieces_may_have_a_large_body(server: Running) -> None:
    start = head(b"Content-Length: 900000\r\n")
    with connect(server) as connection:
        connection.sendall(start[:1])
        time.sleep(0.05)
        connection.sendall(start[1:] + b"\r\n" + b" " * (900_000 - len(BODY)) + BODY)
        assert b"hello there" in whole_answer(connection)


@pytest.mark.parametrize("padding", ["extension", "trailers"])
def test_a_body_of_framing_alone_is_cut(server: Running, padding: str) -> None:
    start = head(CHUNKED) + b"\r\n1"
    start += b"\r\n \r\n0\r\n" if padding == "trailers" else b";"
    with connect(server) as connection:
        connection.sendall(start)
        try:
            for number in range(2000):
                connection.sendall(b"x-%d: %b\r\n" % (number, b"y" * 990) if padding == "trailers" else b"a" * 1000)
        except OSError:
            pass  # it is no longer listened to
        answer = whole_answer(connection)
    assert status(answer) in (0, 400)
    assert b"HTTP/1.1 2" not in answer
    assert is_well(server)


# Time


def dribble(connection: socket.socket, data: bytes) -> bytes:
    """A byte now and then, until the server has had enough; its answer."""
    for byte in data:
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 0.1)[0]:
            return whole_answer(connection)
    raise AssertionError("it was waited for to the end")


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/organization/projects"])
@pytest.mark.parametrize("part", ["head", "body", "chunks"])
def test_what_trickles_is_408(impatient: Running, path: bytes, part: str) -> None:
    start = head(start=b"POST %b HTTP/1.1" % path) + b"Content-Type: application/json\r\n"
    with only(impatient) as connection:
        if part == "head":
            answer = dribble(connection, start + b"X-A: " + b"y" * 1000)
        elif part == "body":
            connection.sendall(start + b"Content-Length: 1000\r\n\r\n")
            answer = dribble(connection, b" " * 1000)
        else:
            connection.sendall(start + CHUNKED + b"\r\n")
            answer = dribble(connection, b"1\r\n \r\n" * 1000)
    assert status(answer) == 408
    assert error(answer)["type"] == "invalid_request_error"


def test_a_body_that_comes_steadily_may_take_longer(impatient: Running) -> None:
    with only(impatient) as connection:
        connection.sendall(head(b"Content-Length: %d\r\n" % (60_000 + len(BODY))) + b"\r\n")
        for _ in range(15):
            connection.sendall(b" " * 4000)
            time.sleep(0.1)
        connection.sendall(BODY)
        assert b"hello there" in whole_answer(connection)


def test_line_breaks_do_not_keep_a_connection(impatient: Running) -> None:
    with only(impatient) as connection:
        connection.sendall(head(LENGTH) + b"\r\n" + BODY)
        assert status(whole_answer(connection)) == 200
        try:
            for _ in range(100):
                connection.sendall(b"\r\n")
                if select.select([connection], [], [], 0.1)[0]:
                    break
            else:
                raise AssertionError("it was waited for to the end")
        except OSError:
            pass


def endless(visit: Visit) -> None:
    visit.send(STREAM_HEAD)
    while True:
        visit.send(chunked(event({"choices": [{"index": 0, "delta": {"content": "x" * 10_000}}]})))


def enormous(visit: Visit) -> None:
    answer = {"usage": USAGE, "choices": [{"message": {"content": "x" * 7_000_000}}]}
    visit.send(whole(json.dumps(answer).encode()))


@pytest.mark.parametrize("stream", [False, True])
def test_who_does_not_read_the_answer_is_let_go(impatient: Running, fake: FakeUpstream, stream: bool) -> None:
    """And then there is room for the next client, of which there may be one at once."""
    model = f"unread-{stream}"
    fake.by_model[model] = endless if stream else enormous
    before = len(fake.received)
    with only(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request_bytes({**HELLO, "model": model, "stream": stream}))
        assert until(lambda: len(fake.received) > before)
        while ask(impatient, "GET", "/healthz").status == 503:
            time.sleep(0.1)
        if stream:  # and nothing is generated for it any more
            assert fake.received[-1].left.wait(timeout=60)


@contextmanager
def only(server: Running) -> Iterator[socket.socket]:
    """The one connection that is allowed."""
    assert until(lambda: ask(server, "GET", "/healthz").status == 200)
    time.sleep(0.05)  # until that one has gone
    with connect(server) as connection:
        yield connection


# Number


def test_connections_over_the_limit_get_503(impatient: Running) -> None:
    with only(impatient):
        answer = ask(impatient, "GET", "/healthz")
        assert answer.status == 503
        assert "Too many connections" in answer.error["message"]
        assert answer.headers["connection"] == "close"
    assert until(lambda: ask(impatient, "GET", "/healthz").status == 200)


def test_more_connections_than_a_process_is_allowed_files_by_default(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
    try:
        with serving(tmp_path) as (url, _, _):
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            port = int(url.rpartition(":")[2])
            with ExitStack() as stack:
                for _ in range(500):
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
                    assert status(whole_answer(connection)) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
