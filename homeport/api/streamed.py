"""An answer in pieces that come from elsewhere: of a file, of a picture."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

#: Headers of server-sent events.
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class Streamed(StreamingResponse):
    """Pieces that are closed with the answer: at its end, or when the client leaves."""

    def __init__(
        self, first: bytes, pieces: AsyncGenerator[bytes, None], status: int, headers: Mapping[str, str]
    ) -> None:
        """first: what cannot be read is an error, and no answer that breaks off."""
        super().__init__(self._all(first), status, headers)
        self._pieces = pieces

    async def _all(self, first: bytes) -> AsyncGenerator[bytes, None]:
        yield first
        async for piece in self._pieces:
            yield piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)
