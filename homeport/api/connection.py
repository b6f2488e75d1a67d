"""A client's connection: what it may send and in which time, and how it is refused.

uvicorn's httptools class waits for a head, a body or a reader without end, and believes some requests that two servers
read in two ways. Its subclass here does not. What is taken, and what not: docs/hostile-clients.md.
"""

import asyncio
import re
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http import httptools_impl as uvicorn_http
from uvicorn.protocols.http.flow_control import FlowControl

from homeport import ids
from homeport.api import headers as http_headers
from homeport.api import rendering
from homeport.api.exchange import Exchange, Route
from homeport.errors import HomeportError, InvalidRequest, RequestTimedOut, TooManyHeaders, Unavailable

#: Bytes of a request line and headers; more is an attack or a mistake.
LARGEST_HEAD = 128 * 1024
MOST_HEADERS = 100
#: Bytes a second of a body, over all of it: whoever sends less is not slow but holds a connection.
SLOWEST = 1024
#: Bytes that chunks of one byte take on the wire, and some: what is beyond them is extensions and trailers.
_CHUNK_OF_ONE = 8
#: After a refusal the client may still be sending. A connection that is closed then is reset, and the answer is lost.
LINGER_SECONDS = 2.0
#: Connections over the limit that are let linger. The others are only closed.
MOST_LINGERING = 100
_NEVER = float("inf")
CLOSE = b"connection: close\r\n"
_HOST = re.compile(rb"[^\s/\\@?#]*")
#: Headers that say how the request is to be read.
_WATCHED = frozenset([b"host", b"content-length", b"transfer-encoding", b"upgrade", b"expect"])


class _Flow(FlowControl):
    """uvicorn's, whose event has a queue of 0.7 kB, which a connection whose client reads never needs."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = self.write_paused = False
        self._writable: asyncio.Event | None = None

    async def drain(self) -> None:
        if self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()


class _Pipeline(list[Any]):
    """For uvicorn's deque, which takes as much, and is empty nearly always."""

    def appendleft(self, one: Any) -> None:
        self.insert(0, one)


class Connection(uvicorn_http.HttpToolsProtocol):
    """uvicorn's protocol with limits. Its cycles have `size`, the bytes of the body so far."""

    # Beside the dictionary that uvicorn's attributes are in: with these in it, it would be too large to share its keys
    # with those of other connections, and take 1.2 kB more.
    __slots__ = (
        "_body_began",
        "_deadline",
        "_head_bytes",
        "_host",
        "_hosts",
        "_ignored_upgrade",
        "_in_head",
        "_refused",
        "_stuck",
        "_watchdog",
        "_wire_bytes",
        "active",
        "length",
        "offers_upgrade",
    )

    exchange: Exchange
    largest_body: int
    most_connections: int
    behind_tls_proxy: bool
    cycle: Any  # the newest
    #: The default headers that the lines were made of, and the lines by status; of all connections together.
    _dated: ClassVar[list[Any]] = [None, {}]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pipeline = _Pipeline()  # type: ignore[assignment]
        self.url = b""
        self.active: Any = None  # the cycle whose turn it is
        self._refused = False
        self._in_head = True
        self._head_bytes = 0
        self._body_began = 0.0
        self._wire_bytes = 0  # of a body that goes on, with what frames it
        self._deadline = _NEVER  # for what the client has to send
        self._stuck = _NEVER  # when what is written has waited too long
        self._watchdog: asyncio.TimerHandle | None = None
        self._host: bytes | None = None
        self._hosts = 0
        self.length = 0
        self.offers_upgrade = False
        self._ignored_upgrade = False

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        if self.behind_tls_proxy:
            self.scheme = "https"  # in the addresses that answers tell
        self._expect_bytes()
        over = len(self.connections) - self.most_connections
        if over > 0:
            self.refuse(Unavailable("Too many connections. Try again in a moment."))
            if over > MOST_LINGERING:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        active = self.active
        if active is not None and active is not self.cycle and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
        self.cycle = self.active = None  # who is gone shall not wait for the collector of cycles

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        elif not self._body_goes_on(len(data)):
            return
        rest = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse_misread(error)
            return
        if rest is not None:
            self._ignore_upgrade(rest)
        elif self._head_bytes > LARGEST_HEAD:
            self.refuse(_endless())

    def _body_goes_on(self, size: int) -> bool:
        """Whether it may: its next piece within the time that an idle client has, and all of it not too slowly."""
        now = self.loop.time()
        if not self._body_began:
            self._body_began = now
        came = self.cycle.size
        self._deadline = self.timeout_keep_alive + min(now, self._body_began + came / SLOWEST)
        self._wire_bytes += size
        if self._wire_bytes - size > LARGEST_HEAD + _CHUNK_OF_ONE * came:
            self.refuse(InvalidRequest("The request's body is nearly all chunk extensions and trailers."))
            return False
        return True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """To switch protocols is an offer that may be ignored (RFC 9110, 7.8), and Java's own client makes it with each
        request. The parser takes what follows for the other protocol, body and all: a new one reads the head again.

        The answer is the connection's last: one offer costs to read twice, a hundred would cost a hundred times that.
        """
        if self._ignored_upgrade or not self.offers_upgrade:
            self.send_400_response("Invalid HTTP request received.")
            return
        self._ignored_upgrade = True
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [header for header in self.headers if header[0] not in (b"upgrade", b"connection")]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._head_bytes = 0
        self.data_received(line + http_headers.lines(kept) + CLOSE + b"\r\n" + rest)

    # One timer a connection, moved by changing a number: uvicorn's own makes and cancels one for every request. It also
    # ends what uvicorn waits for without end: a head that trickles, a body that stops, an answer that nobody reads.

    def _expect_bytes(self) -> None:
        """The next head has to begin, and then to be whole, within the time that an idle client has."""
        self._deadline = self.loop.time() + self.timeout_keep_alive
        if self._watchdog is None:
            self._watchdog = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        patience = now + self.timeout_keep_alive
        if self._stuck <= now:
            self.transport.abort()
            return
        if self.flow.read_paused:
            self._deadline = max(self._deadline, patience)  # it is we who are slow, with a file for the disk
        if self.transport.is_closing():
            self._stuck = min(self._stuck, patience)
        elif self._deadline <= now and (self._refused or self._is_waiting()):
            self._give_up()
        self._watchdog = self.loop.call_at(min(max(min(self._deadline, self._stuck), now + 1), patience), self._look)

    def _give_up(self) -> None:
        """On what the client has to send."""
        if self._refused or not (self._head_bytes if self._in_head else not self.cycle.response_started):
            self.transport.close()
        else:
            self.refuse(RequestTimedOut("The request did not come in time: its head or its body stopped or trickled."))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.time() + self.timeout_keep_alive

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck = _NEVER

    def _is_waiting(self) -> bool:
        """For the client: nothing is being answered."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)

    def on_message_complete(self) -> None:
        if self.offers_upgrade:  # the parser's end of it, not ours
            return
        self._deadline = _NEVER
        self._in_head = True
        if self._body_began:
            self._body_began = 0.0
            self._wire_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._refused = True
            return
        if self._refused:
            self.transport.close()
            return
        self.flow.resume_reading()
        self._expect_bytes()  # or the rest of what waited, which could not come meanwhile
        self._body_began = 0.0
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def status_line(self, status: int) -> bytes:
        """With uvicorn's default header, the date, which it makes anew every second."""
        defaults = self.server_state.default_headers
        if self._dated[0] is not defaults:
            self._dated[:] = defaults, {}
        lines: dict[int, bytes] = self._dated[1]
        line = lines.get(status)
        if line is None:
            line = lines[status] = uvicorn_http.STATUS_LINE[status] + http_headers.lines(defaults)
        return line

    def send_400_response(self, msg: str) -> None:
        self.refuse(InvalidRequest(f"{msg} Speak HTTP/1.1 to this port."))

    def _refuse_misread(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if isinstance(cause, HomeportError):
            self.refuse(cause)
        elif cause is None or isinstance(cause, httptools.HttpParserError):
            self.send_400_response("Invalid HTTP request received.")
        else:
            self.refuse(rendering.unexpected(cause, ids.request_id()))

    def refuse(self, error: HomeportError) -> None:
        """Nothing that follows on this connection can be trusted any more.

        An answer that is under way is brought to its end, and this one is not given: it would stand in the middle.
        """
        if self._refused:
            return
        self._refused = True
        self.pipeline.clear()
        cycle = self.active
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                self._deadline = _NEVER
                return
            if hasattr(cycle, "scope"):
                cycle.scope["homeport.told"] = True  # here, and not as one whose client has left
            cycle.disconnected = cycle.response_complete = True  # its body will never be whole
            cycle.message_event.set()
        body = rendering.openai_object(error)
        head = self.status_line(error.status) + self.exchange.refusal(error, self.asked()) + CLOSE
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        self.linger()

    def asked(self) -> Route | None:
        """What the request is for, as far as that is known."""
        return None

    def linger(self) -> None:
        """Close soon; what comes until then is thrown away."""
        self._refused = True
        self._deadline = self.loop.time() + LINGER_SECONDS
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = self.loop.call_at(self._deadline, self._look)

    # httptools

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = self.offers_upgrade = False
        self._hosts = self.length = 0
        self._expect_bytes()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name in _WATCHED:
            self._watch(name, value)

    def _watch(self, name: bytes, value: bytes) -> None:
        """What could be read in two ways is not read at all. Raises InvalidRequest."""
        if not self._in_head:
            return  # a trailer
        if name == b"host":
            self._hosts += 1
            if value != self._host:
                if not _HOST.fullmatch(value):
                    raise InvalidRequest("The `Host` header is not a host.")
                self._host = value
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise InvalidRequest("Unsupported transfer encoding. Send the body as it is, or `chunked`.")
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        else:
            self.offers_upgrade = True

    def check_head(self) -> None:
        """The head is whole. Raises InvalidRequest, TooManyHeaders."""
        if len(self.headers) > MOST_HEADERS:
            raise TooManyHeaders(f"The request has more than {MOST_HEADERS} headers.")
        if self._head_bytes > LARGEST_HEAD and self._size_of_head() > LARGEST_HEAD:
            raise _endless()
        self._head_bytes = 0
        self._in_head = False
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise InvalidRequest("The request needs one `Host` header.")

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)


def _endless() -> TooManyHeaders:
    return TooManyHeaders("The request's headers are too large.")
