"""Runs as server-sent events: `id: NUMBER`, `event: NAME`, `data: JSON` and a blank line each; at the end
`event: done`, `data: [DONE]`. Names and order: docs/assistants-streaming.md. A client that leaves stops no run.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from starlette.responses import Response

from homeport.api.resources import Asked
from homeport.api.streamed import EVENT_STREAM, Streamed
from homeport.control.owners import Owner
from homeport.control.run_watching import STOPS, RunWatching
from homeport.control.runs import Begun
from homeport.errors import InvalidRequest
from homeport.store.followers import Told
from homeport.wire import sse
from homeport.wire.base import ErrorObject, ErrorResponse
from homeport.wire.runs import LastError

DONE = b"event: done\ndata: [DONE]\n\n"
_FAILED = "thread.run.failed"


class RunStreams:
    def __init__(self, watching: RunWatching) -> None:
        self._watching = watching

    async def begun(self, owner: Owner, begun: Begun) -> Response:
        """What comes of a request, until the run has ended or wants outputs."""
        following = self._watching.follow(owner, begun.seq, begun.first - 1, to_the_first_stop=True)
        return await _answer(self._pieces(begun.seq, following))

    async def watched(self, asked: Asked, thread_id: str, run_id: str) -> Response:
        """What a run has told after `starting_after`, and what it tells."""
        after = asked.whole("starting_after")
        seq = await self._watching.find(asked.who, thread_id, run_id)
        if asked.head:
            return Response(headers=EVENT_STREAM)
        following = self._watching.follow(asked.who, seq, -1 if after is None else after)
        return await _answer(self._pieces(seq, following))

    async def _pieces(self, seq: int, following: AsyncGenerator[Sequence[Told], None]) -> AsyncGenerator[bytes, None]:
        last: Told | None = None
        async with aclosing(following) as all_told:
            async for some in all_told:
                yield b"".join([b"id: %d\n" % told.number + _event(told.event, told.data) for told in some]) or (
                    sse.KEEP_ALIVE
                )
                last = some[-1] if some else last
        if last is not None and last.event in STOPS:
            yield _error(last) + DONE
        elif last is None and await self._watching.is_over(seq):
            yield DONE  # else it is to be watched again: this process ends


def check(asked: Asked) -> None:
    """Of a request whose body may say `stream`. Raises InvalidRequest."""
    if asked.body.stream and "idempotency-key" in asked.headers:
        raise InvalidRequest(
            "An Idempotency-Key keeps an answer that comes at once, and a stream is none. Leave out either of them; "
            "a run that has begun can be watched again with stream=true.",
            param="stream",
            code="unsupported_value",
        )


async def _answer(pieces: AsyncGenerator[bytes, None]) -> Response:
    first = await anext(pieces, DONE)  # an error is an answer of its own
    return Streamed(first, pieces, 200, EVENT_STREAM)


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\n" % name.encode() + sse.event(data)


class _Failed(msgspec.Struct):
    last_error: LastError


def _error(last: Told) -> bytes:
    """After the failure that was the server's: in the SDK's it becomes an exception."""
    if last.event != _FAILED:
        return b""
    error = msgspec.json.decode(last.data, type=_Failed).last_error
    if error.code != "server_error":
        return b""
    told = ErrorResponse(ErrorObject(error.message, "server_error", None, error.code))
    return _event("error", msgspec.json.encode(told))
