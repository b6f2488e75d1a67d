"""`/v1/responses/{id}` and Azure's `/openai/responses/{id}`. They are made by response_line.py."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from starlette.responses import Response as Answer

from homeport.api.resources import Asked, Operation
from homeport.api.response_line import event
from homeport.api.streamed import EVENT_STREAM, Streamed
from homeport.control.responses import Responses as Rules
from homeport.errors import InvalidRequest, UnsupportedParameter
from homeport.wire import sse
from homeport.wire.responses import DeletedResponse, Response, check_include

RESPONSE = "/v1/responses/{response_id}"
READ, WRITE = "responses.read", "responses.write"
_REFUSED = {"include_obfuscation": "Events are not padded here. Leave 'include_obfuscation' out."}


class Responses:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        query = ("include[]", "stream", "starting_after", "include_obfuscation")
        return [
            Operation("GET", RESPONSE, self.retrieve, query=query, refused=_REFUSED, scope=READ),
            Operation("DELETE", RESPONSE, self.delete, scope=WRITE),
            Operation("POST", f"{RESPONSE}/cancel", self.cancel, scope=WRITE),
        ]

    async def retrieve(self, asked: Asked) -> Response | Answer:
        """As it is; or with `stream` what it tells, from the beginning or after an event, as it comes."""
        include = asked.texts("include[]")
        check_include(include)
        for name, why in _REFUSED.items():
            if asked.flag(name):
                raise UnsupportedParameter(why, param=name)
        after = asked.whole("starting_after")
        if not asked.flag("stream"):
            if after is not None:
                raise InvalidRequest(
                    "'starting_after' is only allowed when 'stream' is enabled.", param="starting_after"
                )
            return await self._rules.retrieve(asked.who, _response(asked), include)
        if include:
            raise InvalidRequest(
                "A stream tells what was asked for at its beginning. Leave 'include' out.", param="include"
            )
        pieces = self._follow(asked, -1 if after is None else after)
        first = await anext(pieces, b"")  # an error is an answer of its own
        if asked.head:
            await pieces.aclose()
            return Answer(headers=EVENT_STREAM)
        return Streamed(first, pieces, 200, EVENT_STREAM)

    async def _follow(self, asked: Asked, after: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._rules.follow(asked.who, _response(asked), after)) as following:
            async for some in following:
                yield b"".join([event(told.event, told.data) for told in some]) or sse.KEEP_ALIVE

    async def cancel(self, asked: Asked) -> Response:
        return await self._rules.cancel(asked.who, _response(asked))

    async def delete(self, asked: Asked) -> DeletedResponse:
        return await self._rules.delete(asked.who, _response(asked))


def _response(asked: Asked) -> str:
    return asked.path["response_id"]
