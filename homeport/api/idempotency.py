"""`Idempotency-Key` over HTTP: an answer that is kept as it is written, and given again."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

from homeport.api import headers as http_headers
from homeport.wire import sse

if TYPE_CHECKING:
    from homeport.control.idempotency import Claim, Idempotency, Kept

HEADER = b"idempotency-key"
_CONTENT_TYPE = b"content-type: "


class Reply(Protocol):
    """As exchange.Reply."""

    @property
    def paused(self) -> bool: ...

    def send(self, status: int, head: bytes, body: bytes) -> None: ...

    def start(self, status: int, head: bytes) -> None: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    async def drain(self) -> None: ...

    def abort(self) -> None: ...


def replayed(kept: "Kept") -> bytes:
    """Header lines of an answer that is given again."""
    return b"idempotent-replayed: true\r\nx-homeport-original-request-id: %b\r\n%b%b\r\n" % (
        kept.request_id.encode(),
        _CONTENT_TYPE,
        kept.content_type.encode(),
    )


class OnceReply:
    """A Reply that keeps what it writes. The end waits for settle(), so that a client that has it can rely on it.

    failed: what is written is no success.
    """

    def __init__(self, reply: Reply, claim: "Claim") -> None:
        self._reply = reply
        self._claim = claim
        self._status = 0
        self._head = b""
        self._written: list[bytes] = []
        self._plain = False
        self._finished = False
        self._closing = b""
        self.failed = False

    @property
    def paused(self) -> bool:
        return self._reply.paused

    def send(self, status: int, head: bytes, body: bytes) -> None:
        self._status, self._head, self._written = status, head, [body]
        self._plain = True

    def start(self, status: int, head: bytes) -> None:
        self._status, self._head = status, head
        self._reply.start(status, head)

    def write(self, data: bytes) -> None:
        self._written.append(data)
        if data == sse.DONE:  # for a client that is the end
            self._closing = data
        else:
            self._reply.write(data)

    def finish(self) -> None:
        self._finished = True

    async def drain(self) -> None:
        await self._reply.drain()

    def abort(self) -> None:
        self._reply.abort()

    async def settle(self) -> None:
        """Keep the answer or give the claim up, and send the end."""
        try:
            if (self._plain or self._finished) and self._status == 200 and not self.failed:
                await self._claim.keep(self._kept())
            else:
                await self._claim.release()
        finally:
            if self._plain:
                self._reply.send(self._status, self._head, self._written[0])
            elif self._finished:
                self._reply.write(b"" if self.failed else self._closing)
                self._reply.finish()

    def _kept(self) -> "Kept":
        from homeport.control.idempotency import Kept  # with it comes SQLAlchemy

        told = dict(_decoded(self._head))
        return Kept(told["x-request-id"], told["content-type"], b"".join(self._written))


async def once(
    idempotency: "Idempotency",
    do: Callable[[], Awaitable[Response]],
    *,
    key_id: str,
    path: str,
    key: str,
    body: bytes,
    request_id: str,
) -> Response:
    """The answer of `do`, or the one that was kept. Raises as Idempotency.claim, and what `do` raises."""
    from homeport.control.idempotency import Claim, Kept

    claim = await idempotency.claim(key_id, path, key, body)
    if not isinstance(claim, Claim):
        return Response(claim.body, headers=dict(_decoded(replayed(claim))))
    try:
        async with claim.held():
            response = await do()
    except BaseException:
        await claim.release()
        raise
    await claim.keep(Kept(request_id, "application/json", bytes(response.body)))
    return response


def _decoded(lines: bytes) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode("latin-1")) for name, value in http_headers.pairs(lines)]
