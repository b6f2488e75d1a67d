"""Chat completions that are to be kept (`store`): the step before the content filter, so that what is kept is what the
client got.

Homeport keeps them itself, whoever answers; an upstream is told the request's `store` like everything else. An answer
that could not be kept, because the database is away, is answered all the same: it has been paid for.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from homeport.backends.capabilities import Answer, Frame
from homeport.errors import HomeportError, InvalidRequest
from homeport.gateway.assembled import assembled
from homeport.gateway.endpoints import CHAT
from homeport.gateway.pipeline import Step
from homeport.wire.base import decode
from homeport.wire.stored_completions import StoredRequest

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry
    from homeport.store.chat_completions import ChatCompletions

log = logging.getLogger("homeport")

#: Bytes of a request that can be kept with its answer.
LARGEST = 8 * 2**20
_request = msgspec.json.Decoder(StoredRequest)
_completion = msgspec.json.Decoder(dict[str, Any])


class Storing:
    """A step of the straight line. completions: once they are built."""

    completions: "ChatCompletions"

    def __init__(self, ask: Step) -> None:
        """ask: the next step."""
        self._ask = ask

    def answer(self, entry: "Entry") -> Awaitable[Answer]:
        """Who does not use it does not pay for it."""
        if not entry.call.store or entry.endpoint is not CHAT:
            return self._ask(entry)
        return self._answer(entry)

    async def _answer(self, entry: "Entry") -> Answer:
        """Raises what the next step does; InvalidRequest."""
        if len(entry.call.body) > LARGEST:
            raise InvalidRequest(
                f"This request has {len(entry.call.body)} bytes, and completions are kept with their request up to "
                f"{LARGEST}. Leave 'store' out, or give images by URL.",
                param="store",
            )
        request = decode(_request, entry.call.body)
        answer = await self._ask(entry)
        if answer.rest is not None:
            return await Answer.begun(self._through(entry, request, answer), stream=True)
        try:
            await self._keep(entry, request, lambda: _completion.decode(answer.first.data))
        except asyncio.CancelledError:
            entry.observe(answer.first)  # as the line would have: it is made and paid for
            raise
        return answer

    async def _through(self, entry: "Entry", request: StoredRequest, answer: Answer) -> AsyncGenerator[Frame, None]:
        """A stream that breaks off is not kept, nor one whose client leaves."""
        frames: list[Frame] = []
        async with aclosing(answer.frames()) as coming:
            async for frame in coming:
                frames.append(frame)
                yield frame
        await self._keep(entry, request, lambda: assembled(frames))

    async def _keep(self, entry: "Entry", request: StoredRequest, read: Callable[[], dict[str, Any]]) -> None:
        """read: what is to be kept, from the answer. It has gone out, or will, whatever comes of this."""
        from homeport.store.chat_completions import Answered  # with it comes SQLAlchemy: app.py

        call = entry.call
        try:
            completion = await asyncio.to_thread(read)  # a long one would hold up everybody
            msgspec.convert(completion, _Named)
            shown = {**completion, **request.shown(), "request_id": call.request_id}
            answered = Answered(call.name, shown, request.messages, request.metadata)
            await self.completions.keep(entry.principal.project, answered)
        except (HomeportError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s: the completion is not stored: %s", call.request_id, type(error).__name__)


class _Named(msgspec.Struct):
    """What an answer has to have to be found again."""

    id: str
    model: str
