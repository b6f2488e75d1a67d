"""The fast lane: the hot POST paths answered straight from uvicorn's HTTP protocol, without the ASGI cycle.

uvicorn takes a protocol class as `http`; ours is its httptools class with one change: a request for a hot path gets a
`LaneCycle`, which collects the body and calls the exchange, where every other request gets uvicorn's own cycle. The two
share uvicorn's queue of pipelined requests, its keep-alive timer and its graceful shutdown, because a LaneCycle has the
attributes that uvicorn's protocol touches on its cycles. That contract is uvicorn's minor version (pyproject pins it)
and tests/api/test_lane.py, which runs the same cases over the lane and over ASGI.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http import httptools_impl as uvicorn_http

from homeport.api import headers as http_headers
from homeport.api import rendering
from homeport.api.exchange import Exchange, Inbound, Route
from homeport.backends.capabilities import Header
from homeport.errors import BodyTooLarge, HomeportError, InvalidRequest, TooManyHeaders, Unavailable

#: Bytes of a request line and headers; more is an attack or a mistake.
LARGEST_HEAD = 128 * 1024
_CLOSE = b"connection: close\r\n"


class LaneCycle:
    """One request on the lane. Duck-types uvicorn's RequestResponseCycle and is its own `Reply` and `message_event`.

    parts, size: of the body, as it came.
    """

    more_body = True
    disconnected = False
    response_complete = False
    running = False
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

    def refuse(self, error: HomeportError) -> None:
        """Answer before the body is whole; what follows on this connection cannot be trusted any more."""
        self.keep_alive = False
        self.send(error.status, self.protocol.exchange.refusal(error, self.route), self.route.dialect.error(error))

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
    cycle: Any  # a LaneCycle or uvicorn's own
    #: The default headers that the lines were made of, and the lines by status; of all connections together.
    _dated: ClassVar[list[Any]] = [None, {}]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._active: LaneCycle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._deadline = float("inf")
        self._watchdog: asyncio.TimerHandle | None = None

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_bytes()
        if len(self.connections) > self.most_connections:
            self._refuse_and_close(Unavailable("Too many connections. Try again in a moment."))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        active = self._active
        if active is not None and not active.response_complete:
            active.leave()
        self.cycle = self._active = None  # who is gone shall not wait for the collector of cycles

    def data_received(self, data: bytes) -> None:
        if self._in_head:  # the first read may hold a body as well and always passes; a head that goes on does not
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and len(data) < self._head_bytes:
                self._refuse_and_close(TooManyHeaders("The request's headers are too large."))
                return
        else:
            self._expect_bytes()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nobody has to switch protocols; the request goes on as it is
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    # One timer a connection, moved by changing a number: uvicorn's own makes and cancels one for every request. It also
    # ends what uvicorn waits for without end: a head that trickles, a body that stops.

    def _expect_bytes(self) -> None:
        """A head has to be whole, the next piece of a body has to come, within the time that an idle client has."""
        self._deadline = self.loop.time() + self.timeout_keep_alive
        if self._watchdog is None:
            self._watchdog = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self._deadline <= now and self._is_waiting():
            self.transport.close()
        else:
            patience = now + self.timeout_keep_alive
            self._watchdog = self.loop.call_at(min(max(self._deadline, now + 1), patience), self._look)

    def _is_waiting(self) -> bool:
        """For the client: nothing is being answered."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)

    def on_message_complete(self) -> None:
        self._deadline = float("inf")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._expect_bytes()

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
        self._refuse_and_close(InvalidRequest(f"{msg} Speak HTTP/1.1 to this port."))

    def _refuse_and_close(self, error: HomeportError) -> None:
        body = rendering.openai_object(error)
        head = self.status_line(error.status) + self.exchange.refusal(error) + _CLOSE
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        self.transport.close()

    # httptools

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._expect_bytes()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        route = self.routes.get(self.url)
        if route is None or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            self._to_asgi()
            return
        waiting = self.cycle is not None and not self.cycle.response_complete
        cycle = LaneCycle(self, route, self.headers, keep_alive=self.parser.should_keep_alive())
        self.cycle = cycle
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]
        else:
            self._start_asgi_task(cycle, self.app)
        if self.expect_100_continue and not waiting:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _to_asgi(self) -> None:
        """Everything that `on_message_begin` would have made for uvicorn's own cycle, made late."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
        elif not cycle.response_complete and not cycle.too_large:
            cycle.parts.append(body)
            cycle.size += len(body)
            if cycle.size > self.largest_body:
                cycle.too_large = True
                cycle.parts = []
                if cycle.running:
                    cycle.refuse(BodyTooLarge.over(self.largest_body))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, LaneCycle):
            super()._start_asgi_task(cycle, app)
            return
        self._active = cycle
        cycle.running = True
        if cycle.too_large:
            cycle.refuse(BodyTooLarge.over(self.largest_body))
        else:
            cycle.go()


def lane_protocol(
    exchange: Exchange, routes: Mapping[bytes, Route], *, largest_body: int, most_connections: int
) -> type[LaneProtocol]:
    """The class to hand to uvicorn as `http`."""
    members = {
        "exchange": exchange,
        "routes": dict(routes),
        "largest_body": largest_body,
        "most_connections": most_connections,
    }
    return type("BoundLaneProtocol", (LaneProtocol,), members)
