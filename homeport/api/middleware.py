"""What every answer outside the exchange carries: request id, timing, the caller's own headers, errors as objects."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeport import clock, ids
from homeport.api import headers as http_headers
from homeport.api import rendering
from homeport.backends.capabilities import Header
from homeport.errors import HomeportError, MethodNotAllowed, UnknownURL
from homeport.gateway.watching import LEFT, Aside, Watchers


class Envelope:
    """Pure ASGI, so that a stream stays a stream and a client's leaving is seen."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        organization: str,
        watchers: Watchers | None = None,
        names: Mapping[Any, str] | None = None,
    ) -> None:
        """watchers: told of what the exchange does not tell. names: who answers -> its name, as Aside.endpoint."""
        self._app = app
        self._watchers = watchers or Watchers()
        self._names = names or {}
        self._standard = http_headers.Standard(organization)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["homeport.request_id"] = ids.request_id()
        began = clock.monotonic()
        custom: tuple[Header, ...] = ()
        started = False
        status = LEFT
        refused_with: HomeportError | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                if "x-request-id" not in headers:
                    standard = self._standard.lines(request_id, began)
                    for name, value in (*http_headers.pairs(standard), *custom):
                        headers.append(name.decode("latin-1"), value.decode("latin-1"))
                message["headers"] = headers.raw
            await send(message)

        try:
            scope["app"] = self  # makes starlette's router raise 404 and 405 instead of answering in plain text
            custom = http_headers.read(scope["headers"]).custom
            await self._app(scope, receive, send_with_headers)
        except Exception as raised:
            if started:
                raise
            error = refused_with = _as_error(raised, scope, request_id)
            render = scope.get("homeport.error", rendering.openai_object)
            await _send_error(error, render(error), send_with_headers)
        finally:
            if "homeport.told" not in scope:
                name = self._names.get(scope.get("endpoint"), "")
                seconds = clock.monotonic() - began
                self._watchers.aside(Aside(request_id, name, scope["method"], "", None, status, refused_with, seconds))


def _as_error(raised: Exception, scope: Scope, request_id: str) -> HomeportError:
    if isinstance(raised, ExceptionGroup) and len(raised.exceptions) == 1:
        return _as_error(raised.exceptions[0], scope, request_id)
    if isinstance(raised, HomeportError):
        return raised
    if isinstance(raised, HTTPException) and raised.status_code == 404:
        return UnknownURL(f"Invalid URL ({scope['method']} {scope['path']})")
    if isinstance(raised, HTTPException) and raised.status_code == 405:
        return MethodNotAllowed(
            f"Not allowed to {scope['method']} on {scope['path']}. "
            "(HINT: Perhaps you meant to make the request to a different endpoint?)",
            headers=tuple((raised.headers or {}).items()),
        )
    return rendering.unexpected(raised, request_id)


async def _send_error(error: HomeportError, body: bytes, send: Send) -> None:
    headers = [*rendering.headers_of(error), rendering.JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": rendering.status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body})
