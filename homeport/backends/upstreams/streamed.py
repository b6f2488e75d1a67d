"""The frames of an upstream's stream: one after the other for whoever asks, or poured as they come."""

from collections.abc import Callable
from contextlib import closing

from homeport.backends.capabilities import Answer, Frame, Outlet
from homeport.backends.upstreams.client import Response
from homeport.backends.upstreams.errors import TransferError
from homeport.backends.upstreams.events import Events
from homeport.errors import HomeportError


class Streamed:
    """A `Relayed`. Whatever goes wrong cuts the connection, so that the upstream's work ends, too."""

    __slots__ = ("_events", "_failed", "_response")

    def __init__(self, response: Response, events: Events, failed: Callable[[TransferError], HomeportError]) -> None:
        """failed: what a failure of the connection is to the client."""
        self._response = response
        self._events = events
        self._failed = failed

    async def begun(self) -> Answer:
        """Once the first frame is there. Raises HomeportError."""
        return Answer(await anext(self), self)

    def __aiter__(self) -> "Streamed":
        return self

    async def __anext__(self) -> Frame:
        response, events = self._response, self._events
        try:
            while not events.over and (chunk := await response.chunk()):
                frame = events.feed(chunk)
                if frame is not None:
                    return frame
            await self._end()
        except TransferError as error:
            response.close()
            raise self._failed(error) from None
        except BaseException:
            response.close()
            raise
        raise StopAsyncIteration

    async def pour(self, observe: Callable[[Frame], None], outlet: Outlet) -> None:
        response, events = self._response, self._events
        feed, take = events.feed, outlet.take
        behind = False

        def relay(chunk: bytes) -> bool:
            nonlocal behind
            frame = feed(chunk)
            if frame is not None:
                observe(frame)
                if not take(frame):
                    behind = True
            return not behind and not events.over

        try:
            with closing(response):
                while not events.over and await response.pour(relay):
                    if behind:
                        await outlet.drain()
                        behind = False
                await self._end()
        except TransferError as error:
            raise self._failed(error) from None

    async def aclose(self) -> None:
        self._response.close()

    async def _end(self) -> None:
        self._events.end()
        await self._response.settle()
