"""One HTTP/1.1 connection to an upstream, on asyncio's transport and llhttp's parser.

This is the hot path of a relay: no task, one future a wait, and one timer that is moved by changing a number.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools

from homeport.backends.capabilities import Header
from homeport.backends.upstreams.errors import Broken, Cut, TimedOut, TooLarge, TransferError

#: Bytes of status line and headers, or of anything else that is not body.
LARGEST_HEAD = 64 * 1024
#: Bodies shorter than this are put behind the head and written in one piece; longer ones are not copied.
LARGEST_COPIED = 32 * 1024
#: A consumer that lags further behind stops the upstream from sending.
HIGH_WATER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. connect: until a connection is there; first_byte: from the request to the answer's first byte; idle:
    between two pieces of the answer; total: for all of it."""

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 60.0
    total: float = 900.0


class Pieces(Protocol):
    """A body that is too large to be held in memory. It may be sent more than once."""

    @property
    def length(self) -> int:
        """In bytes."""
        ...

    def read(self) -> AsyncGenerator[bytes, None]:
        """From its beginning."""
        ...


class Connection(asyncio.Protocol):
    """Carries one request after another. The pool owns it while it is idle, a Response while it is busy.

    top: what came until the answer's head was whole. The parser has no callback for headers, of which an upstream sends
    two dozen: they are read (headers_of) by whoever wants one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[["Connection"], None]) -> None:
        """lost: called once when the connection is gone, busy or idle."""
        self._loop = loop
        self._lost = lost
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._raised: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = float("inf")
        self._deadline = float("inf")
        self._latest = float("inf")
        self._patience = 0.0
        self._reading_paused = False
        self._writing_paused = False
        self.busy = False
        self.alive = False
        self.requests = 0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.top = b""
        self.done = False
        self.error: TransferError | None = None
        self._head_done = False
        self._beside_body = 0
        self._body: list[bytes] = []
        self._size = 0
        self._most = 0
        self._heard = False
        self._keep_alive = False
        self._all_sent = True

    # For the client

    def send(self, head: bytes, body: bytes, deadlines: Deadlines) -> None:
        """Write a whole request."""
        transport = self._begin(deadlines)
        if len(body) < LARGEST_COPIED:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def send_pieces(self, head: bytes, body: Pieces, deadlines: Deadlines) -> None:
        """As `send`, as fast as the upstream reads: until all is written, or it has answered before that, or failed,
        which head() tells. The first byte of the answer is waited for from the last piece on."""
        transport = self._begin(deadlines)
        self._all_sent = False
        transport.write(head)
        async with aclosing(body.read()) as pieces:
            async for piece in pieces:
                while self._writing_paused and not self._answers:
                    self._waiter = self._loop.create_future()
                    await self._waiter
                if self._answers:
                    return
                transport.write(piece)
                self._deadline = min(self._latest, self._loop.time() + deadlines.first_byte)
        self._all_sent = True

    def _begin(self, deadlines: Deadlines) -> asyncio.Transport:
        """Another request."""
        assert self._transport is not None
        self._reset()
        self.busy = True
        self.requests += 1
        now = self._loop.time()
        self._patience = deadlines.idle
        self._latest = now + deadlines.total
        self._watch(now + min(deadlines.first_byte, deadlines.total), now)
        return self._transport

    @property
    def _answers(self) -> bool:
        """Or has failed: nothing more is to be sent."""
        return self._head_done or self.error is not None

    async def head(self) -> None:
        """Wait until status and headers are here. Raises TransferError."""
        while not self._head_done:
            if self.error is not None:
                raise self.error
            self._waiter = self._loop.create_future()
            await self._waiter

    async def chunk(self) -> bytes:
        """What has come of the body since the last time; b"" at its end. Raises TransferError."""
        while not self._body and not self.done:
            if self.error is not None:  # only once all that came before it has been taken
                raise self.error
            self._waiter = self._loop.create_future()
            await self._waiter
        if not self._body:
            return b""
        chunk = self._taken()
        if self._reading_paused:
            self._read_on()
        return chunk

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Give what comes of the body to `sink`, in the callback in which it comes: nobody has to wake up for it.

        False: that was all. True: `sink` has returned False and wants nothing for now; nothing is read until somebody
        asks again. Raises TransferError, and what `sink` raises.
        """
        if self._body and not sink(self._taken()):
            return True
        self._read_on()
        self._sink = sink
        try:
            while not self.done and self._is_pouring():
                if self.error is not None:
                    raise self.error
                self._waiter = self._loop.create_future()
                await self._waiter
            if self._raised is not None:
                raise self._raised
            return not self._is_pouring()
        finally:
            self._sink = self._raised = None  # they lead here

    def _is_pouring(self) -> bool:
        """The sink takes more."""
        return self._sink is not None

    def _taken(self) -> bytes:
        """What has come of the body since the last time."""
        body = self._body
        chunk = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self._size = 0
        return chunk

    def _stop_pouring(self) -> None:
        """The sink takes no more; what it raised is for whoever pours."""
        self._sink = None
        if not self.done and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    async def whole(self, most: int) -> bytes:
        """The whole body. Raises TooLarge when it is more than `most` bytes."""
        self._most = most
        self._check_size()
        self._read_on()
        while not self.done:
            if self.error is not None:
                raise self.error
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def hurry(self, seconds: float) -> None:
        """The answer must end within so many seconds."""
        self._read_on()
        now = self._loop.time()
        self._latest = min(self._latest, now + seconds)
        self._patience = seconds
        self._watch(self._latest, now)

    def rest(self, seconds: float) -> None:
        """Be idle, for so long at most."""
        self.busy = False
        self._body = []
        self._latest = float("inf")
        self._patience = seconds
        now = self._loop.time()
        self._watch(now + seconds, now)

    def abort(self) -> None:
        """Close at once, without a word: the upstream sees its client leave."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def reusable(self) -> bool:
        """The answer is whole, nothing of either side is still under way, and the upstream said that it stays."""
        whole = self.alive and self.done and self._keep_alive and self._all_sent and not self._reading_paused
        return whole and self._transport is not None and not self._transport.get_write_buffer_size()

    def _read_on(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._transport is not None:
                self._deadline = min(self._loop.time() + self._patience, self._latest)
                self._transport.resume_reading()

    # Deadlines: `_deadline` moves with every byte, the timer looks at it when it fires. The timer never waits longer
    # than `_patience`, which is what a deadline is moved by, so it cannot fire late.

    def _watch(self, deadline: float, now: float) -> None:
        self._deadline = deadline
        look_at = now + self._patience
        if deadline < look_at:
            look_at = deadline
        if self._look_at > look_at + 0.05:
            if self._timer is not None:
                self._timer.cancel()
            self._look_at = look_at
            self._timer = self._loop.call_at(look_at, self._look)

    def _look(self) -> None:
        self._timer = None
        self._look_at = float("inf")
        now = self._loop.time()
        if self.busy and self.done:
            self._deadline = now + self._patience  # the answer is whole: it is the consumer who is slow
        elif self._reading_paused and self._deadline <= now < self._latest:
            self._deadline = min(now + self._patience, self._latest)  # it is the consumer who is slow
        if now < self._deadline:
            self._watch(self._deadline, now)
        elif self.busy:
            what = "the first byte" if not self._heard else "the rest of the answer"
            self._fail(TimedOut(f"{what} did not come in time", heard=self._heard))
        else:
            self.abort()

    def _fail(self, error: TransferError) -> None:
        if self.error is None and not self.done:
            self.error = error
            self._wake()
        self.abort()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none, and has all of its methods
        self.alive = True

    def connection_lost(self, exc: Exception | None) -> None:
        closed_by_us, self.alive = not self.alive, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.busy and not self.done and self.error is None:
            if self._head_done and exc is None and not closed_by_us and _until_close(headers_of(self.top)):
                self.done = True  # such a body ends where the connection ends
            else:
                self.error = Cut("the connection ended before the answer did", heard=self._heard)
            self._wake()
        self._transport = None
        self._parser = None  # it knows this connection
        self._lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if not self._all_sent:
            self._wake()

    def data_received(self, data: bytes) -> None:
        if not self.busy or self.done:
            self.abort()  # nobody asked
            return
        self._heard = True
        self._beside_body += len(data)
        if not self._head_done:
            self.top += data
        deadline = self._loop.time() + self._patience
        self._deadline = min(self._latest, deadline)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Broken("the upstream wants to speak another protocol", heard=True))
        except httptools.HttpParserError:
            self._fail(Broken("the upstream does not speak HTTP/1.1", heard=True))
        body = self._body
        if self._sink is not None and body:
            try:
                if not self._sink(body[0] if len(body) == 1 else b"".join(body)):
                    self._stop_pouring()
            except BaseException as error:
                self._raised = error
                self._stop_pouring()
            body.clear()
        if self._beside_body > LARGEST_HEAD and not self.done:
            self._fail(TooLarge("the upstream's headers are too large", heard=True))

    # httptools

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("an answer that nobody asked for")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        self.status = status
        self._head_done = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._beside_body = 0
        self._body.append(body)
        if self._sink is not None:
            return  # it gets all of what is being read at once
        self._size += len(body)
        if self._most:
            self._check_size()
        elif self._size > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        if not self._most and self._waiter is not None:
            self._wake()

    def on_message_complete(self) -> None:
        if not self._head_done or self.error is not None:
            return  # an interim answer, 1xx; or one that was given up
        self._keep_alive = self._parser.should_keep_alive()
        self.done = True
        self._wake()

    def _check_size(self) -> None:
        if self._size > self._most:
            self._fail(TooLarge("the upstream's answer is too large", heard=True))


def headers_of(top: bytes) -> list[Header]:
    """Of the first answer that is not interim (1xx), in what the parser has found well-formed. Names in lower case."""
    head, _, rest = top.replace(b"\r\n", b"\n").partition(b"\n\n")
    while head.split(b" ", 2)[1][:1] == b"1":
        head, _, rest = rest.partition(b"\n\n")
    headers: list[Header] = []
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        if line[:1] in (b" ", b"\t") and headers:  # a value that goes on
            headers[-1] = (headers[-1][0], headers[-1][1] + b" " + line.strip())
        else:
            headers.append((name.strip().lower(), value.strip()))
    return headers


def _until_close(headers: list[Header]) -> bool:
    """The body ends where the connection does."""
    return not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
