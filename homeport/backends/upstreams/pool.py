"""The connections to one origin: kept, counted, and handed to whoever waits in line."""

import asyncio
import socket
import ssl
from collections import deque

from homeport.backends.lines import places_for_lines
from homeport.backends.upstreams.connection import Connection
from homeport.backends.upstreams.errors import AllBusy, ConnectFailed

#: A kept connection that nobody used for this long is closed.
KEEP_SECONDS = 60.0


class Pool:
    """A place is an open connection or one being opened; there are `most`.

    Whoever finds none waits in line, and is handed a connection, or a place (None) to open one in. So nobody who comes
    later is served earlier; but lines of batches wait behind everybody, and leave some places free (lines.py).
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        address: str | None,
        unix: str | None = None,
        tls: ssl.SSLContext | None,
        most: int,
        connect_seconds: float,
        line: int,
        line_seconds: float,
    ) -> None:
        """address: what is dialled in the place of the host, whose name is looked up without it. unix: the path of a
        socket, in the place of both and the port. line: how many may wait in it, and how long."""
        self._host = host
        self._address = address or host
        self._port = port
        self._unix = unix
        self._tls = tls
        self._most = most
        self._seconds = connect_seconds
        self._longest_line = line
        self._line_seconds = line_seconds
        self._open: set[Connection] = set()
        self._opening = 0
        self._idle: deque[Connection] = deque()
        self._line: deque[asyncio.Future[Connection | None]] = deque()
        self._batches: set[Connection] = set()
        self._batches_opening = 0
        self._batches_waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> Connection:
        """An open connection, for give_back when it has done its work. Raises ConnectFailed, AllBusy."""
        return self.kept() or await self._opened_or_handed()

    async def take_for_batch(self) -> Connection:
        """The same for the line of a batch, however long that takes. Raises ConnectFailed, AllBusy."""
        await self._turn_of_batches()
        self._batches_opening += 1
        try:
            connection = await self.take()
            self._batches.add(connection)
            return connection
        finally:
            self._batches_opening -= 1
            self._let_batch_in()

    def give_back(self, connection: Connection) -> None:
        """Keep it if the answer is whole, else cut it."""
        if self._batches:
            self._batches.discard(connection)
        if not connection.reusable:
            connection.abort()
            connection.error = None  # its traceback leads back to the connection
            self._let_batch_in()
            return
        connection.rest(KEEP_SECONDS)
        turn = self._next_in_line()
        if turn is not None:
            turn.set_result(connection)
        else:
            self._idle.append(connection)
            self._let_batch_in()

    def close_idle(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def close(self) -> None:
        """The busy ones as well."""
        for connection in list(self._open):
            connection.abort()

    def kept(self) -> Connection | None:
        """An open connection that nobody uses."""
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return None

    @property
    def load(self) -> int:
        """Connections that are busy or being opened, and those who wait for one."""
        return len(self._open) + self._opening - len(self._idle) + len(self._line)

    @property
    def waiting(self) -> int:
        """Of those, the ones in line; lines of batches are not."""
        return len(self._line)

    async def _opened_or_handed(self) -> Connection:
        in_line = False
        try:
            async with asyncio.timeout(self._seconds) as patience:
                while len(self._open) + self._opening >= self._most:
                    if len(self._line) >= self._longest_line:
                        raise AllBusy(f"all {self._most} connections are busy and {len(self._line)} requests wait")
                    in_line = True
                    patience.reschedule(asyncio.get_running_loop().time() + self._line_seconds)
                    handed = await self._turn()
                    in_line = False
                    patience.reschedule(asyncio.get_running_loop().time() + self._seconds)
                    if handed is None:
                        return await self._dial()
                    if handed.alive:
                        return handed
                self._opening += 1
                return await self._dial()
        except TimeoutError:
            if in_line:
                raise AllBusy(f"all {self._most} connections were busy for {self._line_seconds:g} s") from None
            raise ConnectFailed(f"no connection within {self._seconds:g} s") from None
        except OSError as error:
            raise ConnectFailed(_reason(error)) from None

    async def _turn(self) -> Connection | None:
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on(turn.result())
            elif turn in self._line:
                self._line.remove(turn)
                self._let_batch_in()
            raise

    def _pass_on(self, handed: Connection | None) -> None:
        if handed is None:
            self._free_place()
        else:
            self.give_back(handed)

    async def _turn_of_batches(self) -> None:
        """Until there is room for one more of their lines. Who is let in looks again: somebody else may have come."""
        came = True
        while not self._has_room_for_batch():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if came:
                self._batches_waiting.append(turn)
            else:
                self._batches_waiting.appendleft(turn)
            came = False
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._batches_waiting:
                    self._batches_waiting.remove(turn)
                else:
                    self._let_batch_in()
                raise

    def _let_batch_in(self) -> None:
        """The next of their lines, where there is room; which lets the one behind it in."""
        if self._batches_waiting and self._has_room_for_batch():
            self._batches_waiting.popleft().set_result(None)

    def _has_room_for_batch(self) -> bool:
        load = self.load
        if self._line or load >= self._most:
            return False
        theirs = len(self._batches) + self._batches_opening
        return theirs < places_for_lines(self._most, alone=load <= theirs)

    async def _dial(self) -> Connection:
        """Open a connection in a place that is counted in `_opening`."""
        loop = asyncio.get_running_loop()
        try:
            if self._unix is not None:
                _, connection = await loop.create_unix_connection(lambda: Connection(loop, self._lost), self._unix)
            else:
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._lost),
                    self._address,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
            if not connection.alive:
                raise ConnectFailed("it closes the connection at once")
        except BaseException:
            self._free_place()
            raise
        self._opening -= 1
        self._open.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._opening += 1
            self._free_place()
        if not connection.busy and connection in self._idle:
            self._idle.remove(connection)

    def _free_place(self) -> None:
        """A place of `_opening` goes to the next in line, or is nobody's."""
        turn = self._next_in_line()
        if turn is not None:
            turn.set_result(None)
        else:
            self._opening -= 1
            self._let_batch_in()

    def _next_in_line(self) -> "asyncio.Future[Connection | None] | None":
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                return turn
        return None


def _reason(error: OSError) -> str:
    """Why there is no connection, in words that give away no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, FileNotFoundError):
        return "its socket is not there"
    return "refused" if isinstance(error, ConnectionRefusedError) else "the network does not reach it"
