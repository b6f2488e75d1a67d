"""The fast lane: the hot POST paths answered straight from uvicorn's HTTP protocol, without the ASGI cycle.

uvicorn takes a protocol class as `http`; ours is its httptools class with limits (connection.py) and, here, one change:
a request for a hot path gets a `LaneCycle`, which collects the body and calls the exchange, where every other request
gets uvicorn's own cycle. The two share uvicorn's queue of pipelined requests and its graceful shutdown, because a
LaneCycle has the attributes that uvicorn's protocol touches on its cycles. That contract is uvicorn's minor version
(pyproject pins it) and tests/api/test_lane.py, which runs the same cases over the lane and over ASGI.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.protocols.http import httptools_impl as uvicorn_http

from homeport.api.connection import CLOSE, Connection
from homeport.api.exchange import UNCHECKED_BODY, Exchange, Inbound, Route
from homeport.backends.capabilities import Header
from homeport.errors import BodyTooLarge, HomeportError, InvalidRequest

#: Bytes of a body from which on its copy costs more than a second call.
LARGE = 256 * 1024


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
            self.headers, self.parts = [], []  # a stream is long
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
            start, transport = self._start(status, head), self.protocol.transport
            if len(body) < LARGE:
                transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (start, len(body), body))
            else:  # pictures: not once more in memory
                transport.write(b"%bcontent-length: %d\r\n\r\n" % (start, len(body)))
                transport.write(body)
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
        return start if self.keep_alive else start + CLOSE

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


class LaneProtocol(Connection):
    """A connection with the lane. `lane_protocol` makes the class that uvicorn instantiates."""

    __slots__ = ()

    routes: Mapping[bytes, Route]

    def asked(self) -> Route | None:
        return self.routes.get(self.url)

    def on_headers_complete(self) -> None:
        if self.offers_upgrade:
            self.offers_upgrade = self.parser.should_upgrade()
            if self.offers_upgrade:
                return
        self.check_head()
        route = self.routes.get(self.url)
        if route is None or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            self._to_asgi()
            return
        if self.length > self.largest_body:
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
        uvicorn_http.HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        super().on_headers_complete()
        self.cycle.size = 0
        self.headers = []

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        cycle.size += len(body)
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
            if cycle.response_complete and cycle.size > self.largest_body:
                self.linger()  # it was answered long ago, and is still sent
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
        self.active = cycle
        if not isinstance(cycle, LaneCycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.running = True
        if cycle.too_large:
            cycle.response_complete = True
            self.refuse(BodyTooLarge.over(self.largest_body))
        else:
            cycle.go()


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
        "__slots__": (),
        "exchange": exchange,
        "routes": dict(routes),
        "largest_body": largest_body,
        "most_connections": most_connections,
        "behind_tls_proxy": behind_tls_proxy,
    }
    return type("BoundLaneProtocol", (LaneProtocol,), members)
