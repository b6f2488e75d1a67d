"""One inference request over HTTP: read it, run the straight line, write the answer.

The status line waits for the first frame, so whatever goes wrong before it is an HTTP error; what goes wrong after it
is an error event in the stream. Written once for every server: the fast lane and plain ASGI both come here.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from homeport import clock, ids
from homeport.api import headers as http_headers
from homeport.api import rendering
from homeport.api.idempotency import OnceReply, replayed
from homeport.backends.capabilities import Attached, Call, Frame, Header, Outlet
from homeport.errors import ConnectionCut, HomeportError, InvalidRequest
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.tracing import passed_on
from homeport.gateway.watching import Aside, Watchers, status_of
from homeport.wire import sse
from homeport.wire.envelope import open_envelope

if TYPE_CHECKING:
    from homeport.control.idempotency import Claim, Idempotency, Kept
    from homeport.gateway.tracing import Tracing

KEEP_ALIVE_SECONDS = 15.0
#: Bytes of a body that are collected for anybody. For more, whoever sends them must be known.
UNCHECKED_BODY = 64 * 1024
_EVENT_STREAM = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_JSON = http_headers.lines([rendering.JSON])


class Inbound(msgspec.Struct):
    """A whole request. headers: names in lower case, in the order of arrival. attached: the files of a form, whose
    `body` is JSON then (Call.body)."""

    headers: list[Header]
    body: bytes
    attached: tuple[Attached, ...] = ()


class Reply(Protocol):
    """Where an answer is written. Nothing here waits but `drain`, which is called when `paused` says so.

    head: header lines as they stand on the wire (api/headers.py), without those that frame the body.
    """

    @property
    def paused(self) -> bool: ...

    def send(self, status: int, head: bytes, body: bytes) -> None: ...

    def start(self, status: int, head: bytes) -> None: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    async def drain(self) -> None: ...

    def abort(self) -> None:
        """End the connection, wherever the answer is."""
        ...


class Dialect(Protocol):
    """How a family of clients names itself, is refused, and reads answers: OpenAI's way or Azure's."""

    async def principal(self, seen: http_headers.Seen) -> Principal: ...

    def error(self, error: HomeportError) -> bytes: ...

    @property
    def verbatim(self) -> bool:
        """A frame's bytes are shown as they are."""
        ...

    def prelude(self, call: Call) -> bytes:
        """Events before the first frame of a stream."""
        ...

    def render(self, data: bytes, *, stream: bool) -> bytes:
        """A frame's bytes as this dialect shows them."""
        ...


class Line(Protocol):
    """What answers: gateway/pipeline.py, or in the engine room the models themselves."""

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame: ...

    async def stream(self, endpoint: Endpoint, principal: Principal, call: Call, outlet: Outlet) -> None: ...


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint at one of its addresses. model: fixed by the path (Azure's deployments), or None."""

    endpoint: Endpoint
    dialect: Dialect
    model: str | None = None


class Exchange:
    def __init__(
        self,
        line: Line,
        idempotency: "Idempotency | None",
        *,
        organization: str,
        watchers: Watchers | None = None,
        tracing: "Tracing | None" = None,
    ) -> None:
        """idempotency: None where no client asks for it. watchers: told of what the line does not tell."""
        self._line = line
        self._tracing = tracing
        self._watchers = watchers or Watchers(())
        self._idempotency = idempotency
        self._standard = http_headers.Standard(organization)

    async def answer(self, route: Route, inbound: Inbound, reply: Reply) -> None:
        """Never raises but for cancellation, which means that the client has left."""
        request_id = ids.request_id()
        began = clock.monotonic()
        custom: tuple[Header, ...] = ()
        told: list[bytes] = []
        outlet: _Outlet | None = None
        principal: Principal | None = None
        untold = True  # until somebody else tells the watchers of this request
        try:
            seen = http_headers.read(inbound.headers)
            custom = seen.custom
            trace = self._trace(request_id, route, seen, reply) if self._tracing or seen.traceparent else ()
            principal = await route.dialect.principal(seen)
            if seen.idempotency_key and self._idempotency is not None and not isinstance(reply, OnceReply):
                claim = await self._claim(self._idempotency, route, principal, seen, inbound.body)
                if isinstance(claim, tuple):
                    reply.send(200, self._head(request_id, began, told, custom) + replayed(claim), claim.body)
                    self._tell(request_id, route, principal, None, began)
                else:
                    untold = False
                    await self._answer_once(route, inbound, OnceReply(reply, claim), claim)
                return
            call = _call(route, inbound, seen, request_id)
            del seen, inbound  # a stream is long
            untold = False
            if trace:
                call.trace = trace
            told = call.told
            if not call.stream:
                frame = await self._line.plain(route.endpoint, principal, call)
                head = self._head(request_id, began, told, custom)
                if frame.media:
                    reply.send(200, head + _media_type(frame.media), frame.data)
                else:
                    reply.send(200, head + _JSON, route.dialect.render(frame.data, stream=False))
                return
            outlet = _Outlet(reply, route.dialect, call, partial(self._head, request_id, began, told, custom))
            with outlet:
                await self._line.stream(route.endpoint, principal, call, outlet)
            if route.endpoint.closed:
                reply.write(sse.DONE)
            reply.finish()
        except asyncio.CancelledError as left:
            if untold:
                self._tell(request_id, route, principal, left, began)
            raise
        except Exception as raised:
            if isinstance(reply, OnceReply):
                reply.failed = True
            error = raised if isinstance(raised, HomeportError) else rendering.unexpected(raised, request_id)
            if untold:
                self._tell(request_id, route, principal, error, began)
            body = route.dialect.error(error)
            if isinstance(error, ConnectionCut) or (outlet is not None and outlet.media):
                reply.abort()  # among the bytes of a picture or a sound there is no place for an error
            elif outlet is not None and outlet.begun:
                reply.write(sse.event(body))
                reply.finish()
            else:
                head = self._head(request_id, began, told, custom)
                reply.send(rendering.status_of(error), head + _error_lines(error), body)

    def _trace(self, request_id: str, route: Route, seen: http_headers.Seen, reply: Reply) -> tuple[Header, ...]:
        """The headers that go on with the request. Its span begins here, unless it will begin with the same request
        once its `Idempotency-Key` is claimed."""
        if self._tracing is None or (seen.idempotency_key and not isinstance(reply, OnceReply)):
            return passed_on(seen.traceparent, seen.tracestate)
        return self._tracing.begun(request_id, route.endpoint, seen.traceparent, seen.tracestate)

    async def _answer_once(self, route: Route, inbound: Inbound, reply: OnceReply, claim: "Claim") -> None:
        try:
            async with claim.held():
                await self.answer(route, inbound, reply)
        finally:
            await reply.settle()

    async def _claim(
        self,
        idempotency: "Idempotency",
        route: Route,
        principal: Principal,
        seen: http_headers.Seen,
        body: bytes,
    ) -> "Claim | Kept":
        path = f"{type(route.dialect).__name__} {route.endpoint.path} {route.model or ''}"
        return await idempotency.claim(
            principal.key_id or principal.project, path, seen.idempotency_key.decode("latin-1"), body
        )

    async def recognize(self, route: Route, headers: list[Header]) -> Principal:
        """Whether somebody known asks, before all of a large body is there. Raises what the answer would be."""
        return await route.dialect.principal(http_headers.read(headers))

    def refusal(self, error: HomeportError, route: Route | None = None) -> bytes:
        """The header lines of an answer to a request that was refused before it was whole."""
        request_id, now = ids.request_id(), clock.monotonic()
        self._tell(request_id, route, None, error, now)
        return self._head(request_id, now, [], ()) + _error_lines(error)

    def _tell(
        self,
        request_id: str,
        route: Route | None,
        principal: Principal | None,
        error: BaseException | None,
        began: float,
    ) -> None:
        """Of a request that has not come to the straight line, which tells of its own."""
        endpoint, model = (route.endpoint.name, route.model or "") if route is not None else ("", "")
        refusal = error if isinstance(error, HomeportError) else None
        seconds = clock.monotonic() - began
        self._watchers.aside(
            Aside(request_id, endpoint, "POST", model, principal, status_of(error), refusal, seconds),
        )

    def _head(self, request_id: str, began: float, told: list[bytes], custom: tuple[Header, ...]) -> bytes:
        head = self._standard.lines(request_id, began) + b"".join(told)
        return head + http_headers.lines(custom) if custom else head


def _media_type(media: str) -> bytes:
    return b"content-type: %b\r\n" % media.encode()


def _error_lines(error: HomeportError) -> bytes:
    return http_headers.lines(rendering.headers_of(error)) + _JSON


def _call(route: Route, inbound: Inbound, seen: http_headers.Seen, request_id: str) -> Call:
    """The request as the straight line wants it. Raises InvalidRequest, UnsupportedMediaType."""
    if route.endpoint.form is None:
        http_headers.check_media_type(seen)
    envelope = open_envelope(inbound.body, model=route.model, default=route.endpoint.default_model)
    stream = envelope.stream or route.endpoint.always
    if envelope.stream and not route.endpoint.writes:
        raise InvalidRequest("Unrecognized request argument supplied: stream")
    call = Call(
        route.endpoint.name,
        request_id,
        envelope.model,
        envelope.body,
        stream,
        envelope.max_tokens,
        envelope.choices,
        envelope.include_usage,
        headers=seen.custom,
    )
    if seen.cache or seen.cache_control:
        call.cache = seen.cache, seen.cache_control
    if envelope.store:
        call.store = True
    if seen.fault:
        call.fault = seen.fault
    if inbound.attached:
        call.attached = inbound.attached
    if route.endpoint.draws:
        call.host = next((value for name, value in inbound.headers if name == b"host"), b"")
    if not route.dialect.verbatim:
        call.shows_filters = True
    return call


class _Outlet:
    """Frames of a stream as its client gets them. begun: the status line is out.

    Before 15 s have passed without a word a comment is written, so that proxies and clients do not give up a slow
    stream. quiet: nothing was written since the last look, of which there is one every 7.5 s. media: the frames are no
    events, and nothing stands between them.
    """

    __slots__ = ("_call", "_dialect", "_head", "_reply", "_timer", "_verbatim", "begun", "media", "quiet")

    def __init__(self, reply: Reply, dialect: Dialect, call: Call, head: Callable[[], bytes]) -> None:
        """head: the answer's header lines, asked for once the first frame is there."""
        self._reply = reply
        self._dialect = dialect
        self._verbatim = dialect.verbatim
        self._call: Call | None = call
        self._head: Callable[[], bytes] | None = head
        self._timer: asyncio.TimerHandle | None = None
        self.begun = False
        self.media = False
        self.quiet = False

    def __enter__(self) -> "_Outlet":
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, frame: Frame) -> None:
        assert self._head is not None, "there is one first frame"
        assert self._call is not None
        if frame.media:
            self._reply.start(200, self._head() + _media_type(frame.media))
            self.begun = self.media = self._verbatim = True
            self._head = self._call = None
            self._reply.write(frame.data)
            return
        prelude = self._dialect.prelude(self._call)
        self._reply.start(200, self._head() + _EVENT_STREAM)
        self.begun = True
        self._head = self._call = None  # a stream is long
        self._reply.write(prelude + self._dialect.render(frame.data, stream=True))
        self._look_again()

    def take(self, frame: Frame) -> bool:
        reply = self._reply
        if frame.data:
            reply.write(frame.data if self._verbatim else self._dialect.render(frame.data, stream=True))
            self.quiet = False
        return not reply.paused

    async def drain(self) -> None:
        await self._reply.drain()

    def _look_again(self) -> None:
        self.quiet = True
        self._timer = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS / 2, self._look)

    def _look(self) -> None:
        if self.quiet and not self._reply.paused:
            self._reply.write(sse.KEEP_ALIVE)
        self._look_again()
