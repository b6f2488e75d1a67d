"""The least that a gateway in Python can be: it parses both sides with httptools on uvloop, knows a key by its hash,
and passes on what comes. No limits, no ledger, no prices, no checks, no retries. How much of a request is Python
itself, and how much is what Homeport does, is told by the two side by side.

python bench/bare.py PORT UPSTREAM_PORT KEY
"""

import asyncio
import hashlib
import sys
from collections import deque
from typing import Any

import httptools
import uvloop

_HOST = "127.0.0.1"


class Upstream(asyncio.Protocol):
    """A connection, for one request after the other."""

    def __init__(self, free: "deque[Upstream]") -> None:
        self._free = free
        self._client: Client
        self._chunked = False

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport

    def send(self, client: "Client", request: bytes) -> None:
        self._client, self._chunked = client, False
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._lines: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._chunked |= name.lower() == b"transfer-encoding"
        self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._client.transport.write(b"HTTP/1.1 %d \r\n%b\r\n" % (status, b"".join(self._lines)))

    def on_body(self, body: bytes) -> None:
        self._client.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def on_message_complete(self) -> None:
        if self._chunked:
            self._client.transport.write(b"0\r\n\r\n")
        self._free.append(self)


class Client(asyncio.Protocol):
    def __init__(self, port: int, known: frozenset[bytes], free: deque[Upstream]) -> None:
        self._port = port
        self._known = known
        self._free = free
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        key = self._headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if hashlib.sha256(key).digest() not in self._known:
            self.transport.write(b"HTTP/1.1 401 \r\ncontent-length: 0\r\n\r\n")
            return
        body = b"".join(self._body)
        head = (self._parser.get_method(), self._url, len(body))
        line = (
            b"%b %b HTTP/1.1\r\nhost: upstream\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % head
        )
        if self._free:
            self._free.pop().send(self, line + body)
        else:
            opening = asyncio.ensure_future(self._open(line + body))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self._free), _HOST, self._port)
        upstream.send(self, request)


async def main(port: int, upstream_port: int, key: str) -> None:
    known, free = frozenset([hashlib.sha256(key.encode()).digest()]), deque[Upstream]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(upstream_port, known, free), _HOST, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
