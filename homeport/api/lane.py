"""The fast lane: the hot POST paths answered straight from uvicorn's HTTP protocol, without the ASGI cycle.

uvicorn takes a protocol class as `http`; ours is its httptools class with one change: a request for a hot path gets a
`LaneCycle`, which collects the body and calls the exchange, where every other request gets uvicorn's own cycle. The two
share uvicorn's queue of pipelined requests, its keep-alive timer and its graceful shutdown, because a LaneCycle has the
attributes that uvicorn's protocol touches on its cycles. That contract is uvicorn's minor version (pyproject pins it)
and tests/api/test_lane.py, which runs the same cases over the lane and over ASGI.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http import httptools_impl as uvicorn_http

from homeport import ids
from homeport.api import headers as http_headers
from homeport.api import rendering
from homeport.api.exchange import UNCHECKED_BODY, Exchange, Inbound, Route
from homeport.backends.capabilities import Header
from homeport.errors import (
    BodyTooLarge,
    HomeportError,
    InvalidRequest,
    RequestTimedOut,
    TooManyHeaders,
    Unavailable,
)

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
_CLOSE = b"connection: close\r\n"
_HOST = re.compile(rb"[^\s/\\@?#]*")
#: Headers that say how the request is to be read.
_WATCHED = frozenset([b"host", b"content-length", b"transfer-encoding", b"upgrade", b"expect"])


class LaneCycle:
    """One request on the lane. Duck-types uvicorn's RequestResponseCycle and is its own `Reply` and `message_event`.

    parts, size: of the body, as it came. checked: the key, for a body that is too large to be kept for anybody.
    """

    more_body = True
    disconnected = False
    response_started = False  # never before the body is whole
    response_complete = False
    running = False
    checked = False
    too_large = False
    paused = False
    size = 0
    task: asyncio.Task[None] | None = None

    def __init__(self, protocol: "LaneProtocol", route: Route, headers: list[Header], *, keep_alive: bool) -> None:
        self.protocol = protocol
        self.route = route
        self.headers = headers
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []

    @property
    def message_event(self) -> "LaneCycle":
        return self

    def set(self) -> None:
        """uvicorn's signal that the request went on: a piece of the body, its end, or the client's leaving."""
        if self.disconnected:
            self.leave()
        elif not self.more_body:
            self.go()

    def leave(self) -> None:
        """The client has gone: the work for it is cancelled."""
        self.disconnected = True
        if self.task is not None:
            self.task.cancel()
            self.task.add_done_callback(self._left)

    def _left(self, task: "asyncio.Task[None]") -> None:
        """A cancelled task keeps its traceback, in which this request is: it must not be kept by the request."""
        self.task = None
        self.protocol.tasks.discard(task)

    def go(self) -> None:
        """Start to answer, once it is this request's turn and its body is whole."""
        if self.running and not self.more_body and self.task is None and not self.response_complete:
            protocol, parts = self.protocol, self.parts
            inbound = Inbound(self.headers, parts[0] if len(parts) == 1 else b"".join(parts))
            self.parts = []
            self.task = task = protocol.loop.create_task(protocol.exchange.answer(self.route, inbound, self))
            protocol.tasks.add(task)

    async def check(self) -> None:
        """Refuse the rest of a large body from whoever has no key."""
        try:
            await self.protocol.exchange.recognize(self.route, self.headers)
        except HomeportError as error:
            if self.more_body and not self.response_complete and not self.disconnected:
                self.protocol.refuse(error)

    def send(self, status: int, head: bytes, body: bytes) -> None:
        if not self.disconnected:
            start = self._start(status, head)
            self.protocol.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (start, len(body), body))
        self._complete()

    def start(self, status: int, head: bytes) -> None:
        if not self.disconnected:
            self.protocol.transport.write(self._start(status, head) + b"transfer-encoding: chunked\r\n\r\n")

    def write(self, data: bytes) -> None:
        if not self.disconnected and data:
            self.protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.paused = self.protocol.flow.write_paused

    def finish(self) -> None:
        if not self.disconnected:
            self.protocol.transport.write(b"0\r\n\r\n")
        self._complete()

    async def drain(self) -> None:
        await self.protocol.flow.drain()
        self.paused = False

    def abort(self) -> None:
        self.keep_alive = False
        self._complete()

    def _start(self, status: int, head: bytes) -> bytes:
        """Status line and headers."""
        start = self.protocol.status_line(status) + head
        return start if self.keep_alive else start + _CLOSE

    def _complete(self) -> None:
        self.response_complete = True
        protocol = self.protocol
        if self.task is not None:
            protocol.tasks.discard(self.task)
            self.task = None
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    @property
    def on_response(self) -> Callable[[], None]:
        return self.protocol.on_response_complete


class LaneProtocol(uvicorn_http.HttpToolsProtocol):
    """uvicorn's protocol with the lane. `lane_protocol` makes the class that uvicorn instantiates."""

    exchange: Exchange
    routes: Mapping[bytes, Route]
    largest_body: int
    most_connections: int
    behind_tls_proxy: bool
    cycle: Any  # a LaneCycle or uvicorn's own
    #: The default headers that the lines were made of, and the lines by status; of all connections together.
    _dated: ClassVar[list[Any]] = [None, {}]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self._active: Any = None  # the cycle whose turn it is
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
        self._length = 0
        self._offers_upgrade = False
        self._ignored_upgrade = False

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
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
        active = self._active
        if active is not None and active is not self.cycle and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
        self.cycle = self._active = None  # who is gone shall not wait for the collector of cycles

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
        if self._ignored_upgrade or not self._offers_upgrade:
            self.send_400_response("Invalid HTTP request received.")
            return
        self._ignored_upgrade = True
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [header for header in self.headers if header[0] not in (b"upgrade", b"connection")]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._head_bytes = 0
        self.data_received(line + http_headers.lines(kept) + _CLOSE + b"\r\n" + rest)

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
        if self._offers_upgrade:  # the parser's end of it, not ours
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
        cycle = self._active
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                self._deadline = _NEVER
                return
            if not isinstance(cycle, LaneCycle):
                cycle.scope["homeport.told"] = True  # here, and not as one whose client has left
            cycle.disconnected = cycle.response_complete = True  # its body will never be whole
            cycle.message_event.set()
        body = rendering.openai_object(error)
        head = self.status_line(error.status) + self.exchange.refusal(error, self.routes.get(self.url)) + _CLOSE
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        self._linger()

    def _linger(self) -> None:
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
        self.expect_100_continue = self._offers_upgrade = False
        self._hosts = self._length = 0
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
            self._length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise InvalidRequest("Unsupported transfer encoding. Send the body as it is, or `chunked`.")
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        else:
            self._offers_upgrade = True

    def on_headers_complete(self) -> None:
        if self._offers_upgrade:
            self._offers_upgrade = self.parser.should_upgrade()
            if self._offers_upgrade:
                return
        if len(self.headers) > MOST_HEADERS:
            raise TooManyHeaders(f"The request has more than {MOST_HEADERS} headers.")
        if self._head_bytes > LARGEST_HEAD and self._size_of_head() > LARGEST_HEAD:
            raise _endless()
        self._head_bytes = 0
        self._in_head = False
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise InvalidRequest("The request needs one `Host` header.")
        route = self.routes.get(self.url)
        if route is None or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            self._to_asgi()
            return
        if self._length > self.largest_body:
            raise BodyTooLarge.over(self.largest_body)
        waiting = self.cycle is not None and not self.cycle.response_complete
        cycle = LaneCycle(self, route, self.headers, keep_alive=self.parser.should_keep_alive())
        self.headers = []  # for trailers, which are nobody's: a key, a length have no business there
        self.cycle = cycle
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]
        else:
            self._start_asgi_task(cycle, self.app)
        if self.expect_100_continue and not waiting:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _to_asgi(self) -> None:
        """Everything that `on_message_begin` would have made for uvicorn's own cycle, made late.

        Raises InvalidRequest: of a version that only looks like ours.
        """
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            raise InvalidRequest("Speak HTTP/1.1 to this port.")
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        super().on_headers_complete()
        self.cycle.size = 0
        self.headers = []

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        cycle.size += len(body)
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
            if cycle.response_complete and cycle.size > self.largest_body:
                self._linger()  # it was answered long ago, and is still sent
        elif not cycle.response_complete and not cycle.too_large:
            cycle.parts.append(body)
            if cycle.size > UNCHECKED_BODY:
                self._check(cycle)

    def _check(self, cycle: LaneCycle) -> None:
        """What grows large is kept for those who have a key, and up to a limit."""
        if cycle.size > self.largest_body:
            cycle.too_large = True
            cycle.parts = []
            if cycle.running:
                self.refuse(BodyTooLarge.over(self.largest_body))
        elif cycle.running and not cycle.checked:
            cycle.checked = True
            task = self.loop.create_task(cycle.check())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        if not isinstance(cycle, LaneCycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.running = True
        if cycle.too_large:
            cycle.response_complete = True
            self.refuse(BodyTooLarge.over(self.largest_body))
        else:
            cycle.go()


def _endless() -> TooManyHeaders:
    return TooManyHeaders("The request's headers are too large.")


def lane_protocol(
    exchange: Exchange,
    routes: Mapping[bytes, Route],
    *,
    largest_body: int,
    most_connections: int,
    behind_tls_proxy: bool = False,
) -> type[LaneProtocol]:
    """The class to hand to uvicorn as `http`."""
    members = {
        "exchange": exchange,
        "routes": dict(routes),
        "largest_body": largest_body,
        "most_connections": most_connections,
        "behind_tls_proxy": behind_tls_proxy,
    }
    return type("BoundLaneProtocol", (LaneProtocol,), members)
