"""The exchange behind plain ASGI: for the paths that are not hot, and for any other ASGI server."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.types import Message, Receive, Scope, Send

from homeport.api import headers as http_headers
from homeport.api.exchange import UNCHECKED_BODY, Exchange, Inbound, Route
from homeport.errors import BodyTooLarge

#: Messages that may wait for a slow client before the answer is held back.
_MOST_WAITING = 16


class AsgiReply:
    """Turns the exchange's writes into ASGI messages, which `pump` sends in order."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._started = False

    @property
    def paused(self) -> bool:
        return self._messages.qsize() > _MOST_WAITING

    def send(self, status: int, head: bytes, body: bytes) -> None:
        self.start(status, b"%bcontent-length: %d\r\n" % (head, len(body)))
        self._put({"type": "http.response.body", "body": body, "more_body": False})
        self.close()

    def start(self, status: int, head: bytes) -> None:
        self._started = True
        self._put({"type": "http.response.start", "status": status, "headers": http_headers.pairs(head)})

    def write(self, data: bytes) -> None:
        if data:
            self._put({"type": "http.response.body", "body": data, "more_body": True})

    def finish(self) -> None:
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self.close()

    def close(self) -> None:
        self._messages.put_nowait(None)

    async def drain(self) -> None:
        while self.paused:
            self._room.clear()
            await self._room.wait()

    def abort(self) -> None:
        """A server closes the connection of an answer that is not brought to its end."""
        if not self._started:
            self.start(200, b"content-length: 1\r\n")
        self.close()

    async def pump(self, send: Send) -> None:
        while (message := await self._messages.get()) is not None:
            await send(message)
            self._room.set()

    def _put(self, message: Message) -> None:
        self._messages.put_nowait(message)


class Inference:
    """An ASGI application that answers one endpoint. route: made from the path's parameters, at each request."""

    def __init__(self, exchange: Exchange, route: Callable[[Scope], Route], *, largest_body: int) -> None:
        self._exchange = exchange
        self._route = route
        self._largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, headers = self._route(scope), list(scope["headers"])
        if int(dict(headers).get(b"content-length", 0)) > self._largest_body:
            raise BodyTooLarge.over(self._largest_body)  # without waiting for it
        body = await read_body(receive, self._largest_body, partial(self._exchange.recognize, route, headers))
        if body is not None:
            await answered(self._exchange, route, Inbound(headers, body), scope, receive, send)


async def answered(
    exchange: Exchange, route: Route, inbound: Inbound, scope: Scope, receive: Receive, send: Send
) -> None:
    """A request that is there whole. When its client leaves, the work for it is cancelled."""
    scope["homeport.told"] = True  # the exchange tells the watchers
    reply = AsgiReply()
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(exchange.answer(route, inbound, reply))
        watching = group.create_task(_cancel_when_gone(receive, answering, reply))
        await reply.pump(send)
        watching.cancel()


async def read_body(
    receive: Receive, largest: int, check: Callable[[], Awaitable[object]] | None = None
) -> bytes | None:
    """The whole body; None when the client left meanwhile. Raises BodyTooLarge (413).

    check: asked once a body grows large, before the rest of it is read; what it raises goes to the caller.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            raise BodyTooLarge.over(largest)
        if check is not None and size > UNCHECKED_BODY:
            await check()
            check = None
        if not message.get("more_body", False):
            return b"".join(parts)


async def _cancel_when_gone(receive: Receive, answering: "asyncio.Task[None]", reply: AsgiReply) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    answering.cancel()
    reply.close()
