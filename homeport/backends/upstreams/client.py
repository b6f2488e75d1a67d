"""Our pooled HTTP/1.1 client: one origin, kept connections, deadlines, caps. The only one in the house.

Measured (docs/performance.md): a general-purpose client costs 80 to 3,400 us of CPU a request here, this one about 10.
"""

import asyncio
import copy
import re
import ssl
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from homeport.backends.capabilities import Header
from homeport.backends.upstreams.connection import Connection, Deadlines, Pieces, headers_of
from homeport.backends.upstreams.errors import Cut, TransferError
from homeport.backends.upstreams.pool import Pool

#: What may still come of an answer that said that it is over.
SETTLE_SECONDS = 0.5
#: Paths whose beginnings are remembered.
MOST_STARTS = 1000
_UNSAFE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_PATH = re.compile(r"[!-~]*")
#: A socket of this machine in place of host and port, as requests-unixsocket and HTTPie write it.
_UNIX = "http+unix"
#: Bytes that Linux takes of a socket's path.
_LONGEST_SOCKET = 107


class Response(msgspec.Struct, eq=False):
    """An answer whose head is here. Read it to its end, or close it: closing early ends the upstream's work, too."""

    _pool: Pool
    _connection: Connection | None
    status: int
    _top: bytes
    _headers: list[Header] | None = None

    @property
    def headers(self) -> list[Header]:
        """Names in lower case."""
        if self._headers is None:
            self._headers, self._top = headers_of(self._top), b""
        return self._headers

    def forget_head(self) -> None:
        """Nobody asks for headers any more: a stream is long."""
        self._headers, self._top = [], b""

    def mentions(self, part: bytes) -> bool:
        """Whether there may be such a header. Costs nothing to speak of, before `headers` is read."""
        return part in self._top

    def header(self, name: bytes) -> bytes:
        """b"" when it is not there."""
        return next((value for key, value in self.headers if key == name), b"")

    def chunk(self) -> Coroutine[Any, Any, bytes]:
        """The next piece of the body, b"" at the end. Raises TransferError."""
        return self._connection.chunk() if self._connection is not None else _nothing()

    def pour(self, sink: Callable[[bytes], bool]) -> Coroutine[Any, Any, bool]:
        """As Connection.pour."""
        return self._connection.pour(sink) if self._connection is not None else _over()

    async def read(self, most: int) -> bytes:
        """The whole body, up to `most` bytes. Raises TransferError."""
        if self._connection is None:
            return b""
        try:
            return await self._connection.whole(most)
        finally:
            self.close()

    async def settle(self) -> None:
        """Nothing more is wanted of the body: wait a moment for its end, so that the connection can be kept."""
        if self._connection is not None:
            self._connection.hurry(SETTLE_SECONDS)
            try:
                while await self.chunk():
                    pass
            except TransferError:
                pass
            self.close()

    def close(self) -> None:
        """Give the connection back if the answer is whole, else cut it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)


class Client:
    """base_url: scheme, host, port and a path that every request's path is put behind. In place of host and port a
    socket's path: `http+unix://%2Frun%2Fvllm.sock/v1`."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Sequence[Header] = (),
        ca_file: str | None = None,
        trusting: ssl.SSLContext | None = None,
        address: str | None = None,
        connections: int = 256,
        line: int = 1024,
        line_seconds: float = 10.0,
        deadlines: Deadlines | None = None,
    ) -> None:
        """ca_file: authorities in the place of the system's; trusting: the same, read by `trust` for many clients.
        address: an IP address that is dialled whatever the host's name means; Host and the name that TLS checks stay
        the URL's. line: requests that may wait for a connection, and how long.

        Raises ValueError for an address or a header that cannot be used.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https", _UNIX) or not parts.hostname or not _PATH.fullmatch(base_url):
            raise ValueError(f"{base_url!r} is no http or https address")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("an address has no credentials, query or fragment: set api_key")
        tls = parts.scheme == "https"
        self._path = parts.path.rstrip("/").encode()
        self._deadlines = deadlines or Deadlines()
        unix = _socket(parts) if parts.scheme == _UNIX else None
        self._pool = Pool(
            parts.hostname,
            parts.port or (443 if tls else 80) if unix is None else 0,
            address=address,
            unix=unix,
            tls=(trusting or trust(ca_file)) if tls else None,
            most=connections,
            connect_seconds=self._deadlines.connect,
            line=line,
            line_seconds=line_seconds,
        )
        self.base_url = base_url
        self._starts: dict[tuple[str, str], bytes] = {}
        host = parts.netloc if unix is None else "localhost"
        self._common = _lines([(b"host", host.encode()), (b"accept-encoding", b"identity")])
        self._static = self._common + _lines(headers)

    def sibling(self, headers: Sequence[Header]) -> "Client":
        """The same connections, for requests with other headers. Raises ValueError as the first."""
        other = copy.copy(self)
        other._starts, other._static = {}, self._common + _lines(headers)
        return other

    @property
    def load(self) -> int:
        """Requests under way, and in line."""
        return self._pool.load

    @property
    def pool(self) -> Pool:
        """Its siblings have the same one."""
        return self._pool

    async def request(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Pieces = b"",
        *,
        lines: bytes = b"",
        batch: bool = False,
        once: bool = False,
    ) -> Response:
        """Send, and wait for the head of the answer. lines: more headers, as they stand on the wire, in which none but
        us has a say. batch: a line of a batch, which waits for a connection behind everybody else, and not in vain.
        Raises TransferError, ValueError for an unsafe header.

        A kept connection may have been closed by the upstream in the meantime; when it dies before a byte of the
        answer, the request is sent once more over a new one. once: never, as it must not be done twice.
        """
        start = self._starts.get((method, path)) or self._start(method, path)
        more = _lines(headers) if headers else b""
        length = len(body) if isinstance(body, bytes) else body.length
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (start, lines, more, length)
        pool = self._pool
        connection = await pool.take_for_batch() if batch else pool.kept() or await pool.take()
        try:
            if isinstance(body, bytes):
                connection.send(head, body, self._deadlines)
            else:
                await connection.send_pieces(head, body, self._deadlines)
            await connection.head()
        except BaseException as error:
            pool.give_back(connection)
            if once or not isinstance(error, Cut) or error.heard or connection.requests < 2:
                raise
        else:
            return Response(pool, connection, connection.status, connection.top)
        pool.close_idle()  # they are as old
        connection = await pool.take_for_batch() if batch else await pool.take()
        try:
            if isinstance(body, bytes):
                connection.send(head, body, self._deadlines)
            else:
                await connection.send_pieces(head, body, self._deadlines)
            await connection.head()
        except BaseException:
            pool.give_back(connection)
            raise
        return Response(pool, connection, connection.status, connection.top)

    async def close(self) -> None:
        """Close every connection, the busy ones as well."""
        self._pool.close()
        await asyncio.sleep(0)

    def _start(self, method: str, path: str) -> bytes:
        """The request line and the headers that every request has; remembered, as there are few paths."""
        start = b"%b %b%b HTTP/1.1\r\n%b" % (method.encode(), self._path, path.encode(), self._static)
        if len(self._starts) < MOST_STARTS:
            self._starts[method, path] = start
        return start


async def _nothing() -> bytes:
    return b""


async def _over() -> bool:
    return False


def _lines(headers: Sequence[Header]) -> bytes:
    """Raises ValueError for a header that would be more than one line."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if _UNSAFE.search(lines) or lines.count(b"\n") != len(headers):
        raise ValueError("a header has control characters")
    return lines


def _socket(parts: SplitResult) -> str:
    """Raises ValueError."""
    path = unquote(parts.netloc)
    if not path.startswith("/") or "\0" in path:
        raise ValueError("write the whole path of a socket, with %2F for /: http+unix://%2Frun%2Fvllm.sock/v1")
    if len(path.encode()) > _LONGEST_SOCKET:
        raise ValueError(f"a socket's path has {_LONGEST_SOCKET} bytes at most")
    return path


def trust(ca_file: str | None) -> ssl.SSLContext:
    """In the authorities of a file, or the system's. Takes some 40 ms. Raises ValueError if the file cannot be used."""
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(Path(ca_file).expanduser()))
    except OSError as error:
        raise ValueError(f"ca_file {ca_file!r} cannot be used: {error.strerror or error}") from None
