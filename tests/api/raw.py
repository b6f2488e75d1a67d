"""HTTP by hand, for what no client library would send."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from tests.server import KEY, Running

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


def ask(
    server: Running,
    method: str = "POST",
    path: str = CHAT,
    body: Any = HELLO,
    headers: dict[str, str | None] | None = None,
    *,
    key: str = KEY,
) -> Answer:
    """One request. body: a JSON value, or bytes as they are. A header that is None is left out."""
    sent: dict[str, str | None] = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        **(headers or {}),
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(
            method, path, None if method == "GET" else raw, {k: v for k, v in sent.items() if v is not None}
        )
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def request_bytes(body: Any = HELLO, *, extra: str = "", path: str = CHAT) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Length: {len(raw)}\r\n{extra}\r\n"
    return head.encode() + raw


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def events(body: bytes) -> list[Any]:
    """The decoded events of a stream; `[DONE]` stays text."""
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return ["[DONE]" if line == b"[DONE]" else json.loads(line) for line in lines]
