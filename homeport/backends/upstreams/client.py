"""Our pooled HTTP/1.1 client: one origin, kept connections, deadlines, caps. The only one in the house.

Measured (docs/performance.md): a general-purpose client costs 80 to 3,400 us of CPU a request here, this one about 10.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from homeport.backends.capabilities import Header
from homeport.backends.upstreams.connection import ConnectFailed, Connection, Cut

#: A kept connection that nobody used for this long is closed.
KEEP_SECONDS = 60.0
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. connect: until a connection is there; first_byte: from the request to the answer's first byte; idle:
    between two pieces of the answer; total: for all of it."""

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 60.0
    total: float = 900.0


class Response:
    """An answer whose head is here. Read it to its end, or close it: closing early ends the upstream's work, too."""

    __slots__ = ("_client", "_connection", "headers", "status")

    def __init__(self, client: "Client", connection: Connection) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers

    def header(self, name: bytes) -> bytes:
        """b"" when it is not there."""
        return next((value for key, value in self.headers if key == name), b"")

    async def chunk(self) -> bytes:
        """The next piece of the body, b"" at the end. Raises TransferError."""
        if self._connection is None:
            return b""
        chunk = await self._connection.chunk()
        if not chunk:
            self.close()
        return chunk

    async def read(self, most: int) -> bytes:
        """The whole body, up to `most` bytes. Raises TransferError."""
        if self._connection is None:
            return b""
        body = await self._connection.whole(most)
        self.close()
        return body

    def close(self) -> None:
        """Give the connection back if the answer is whole, else cut it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client._give_back(connection)


class Client:
    """base_url: scheme, host, port and a path that every request's path is put behind."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Sequence[Header] = (),
        ca_file: str | None = None,
        connections: int = 256,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Raises ValueError for an address or a header that cannot be used."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no http or https address")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("an address has no credentials, query or fragment: set api_key")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path.rstrip("/").encode()
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._deadlines = deadlines or Deadlines()
        self._most = connections
        self._open: set[Connection] = set()
        self._opening = 0
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._static = self._head_of([(b"host", parts.netloc.encode()), (b"accept-encoding", b"identity"), *headers])

    async def request(self, method: str, path: str, headers: Sequence[Header] = (), body: bytes = b"") -> Response:
        """Send, and wait for the head of the answer. Raises TransferError.

        A kept connection may have been closed by the upstream in the meantime; when it dies before a byte of the
        answer, the request is sent once more over another.
        """
        message = b"%b %b%b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
            method.encode(),
            self._path,
            path.encode(),
            self._static,
            self._head_of(headers),
            len(body),
            body,
        )
        limits = self._deadlines
        while True:
            kept = self._kept()
            connection = kept or await self._connect()
            try:
                connection.send(message, first_byte=limits.first_byte, idle=limits.idle, total=limits.total)
                await connection.head()
            except Cut as error:
                self._give_back(connection)
                if kept is None or error.heard:
                    raise
            except BaseException:
                self._give_back(connection)
                raise
            else:
                return Response(self, connection)

    async def close(self) -> None:
        """Close every connection, the busy ones as well."""
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    def _head_of(self, headers: Sequence[Header]) -> bytes:
        for name, value in headers:
            if _UNSAFE.search(name) or _UNSAFE.search(value):
                raise ValueError(f"the header {name.decode('latin-1')!r} has control characters")
        return b"".join([b"%b: %b\r\n" % header for header in headers])

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return None

    async def _connect(self) -> Connection:
        deadline = self._deadlines.connect
        try:
            async with asyncio.timeout(deadline):
                while len(self._open) + self._opening >= self._most:
                    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    try:
                        await turn
                    except asyncio.CancelledError:
                        self._leave_queue(turn)
                        raise
                    if (kept := self._kept()) is not None:
                        return kept
                return await self._dial()
        except TimeoutError:
            raise ConnectFailed(f"no connection within {deadline:g} s", sent=False) from None
        except OSError as error:
            reason = "its certificate is not trusted" if isinstance(error, ssl.SSLCertVerificationError) else "refused"
            raise ConnectFailed(reason, sent=False) from None

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(loop, self._lost),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            self._next_in_queue()
            raise
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        if connection.reusable:
            connection.rest(KEEP_SECONDS)
            self._idle.append(connection)
            self._next_in_queue()
        else:
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not connection.busy:
            try:
                self._idle.remove(connection)
            except ValueError:
                pass
        self._next_in_queue()

    def _next_in_queue(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _leave_queue(self, turn: "asyncio.Future[None]") -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self._next_in_queue()
