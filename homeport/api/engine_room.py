"""The engine room: the process of `homeport serve --workers N` that holds the models of this machine.

Its clients are the workers (backends/engine_room.py), over a Unix socket in a folder that only its owner may enter; so
it asks for no key. Limits and records are the workers' part. It speaks OpenAI's API, with the exchange and the fast
lane that every other request passes: what a model says and refuses is the same bytes as in one process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette import routing
from starlette.types import ASGIApp

from homeport.api.exchange import Exchange, Route
from homeport.api.headers import Seen
from homeport.api.lane import LaneProtocol, lane_protocol
from homeport.api.middleware import Envelope
from homeport.api.openai import OpenAIObjects
from homeport.api.ops import Ops
from homeport.backends.capabilities import Answer, Call, Frame, Outlet
from homeport.backends.engine_room import (
    ADAPTER,
    ATTACHED,
    BATCH,
    COUNT,
    FIRST,
    MODEL,
    Counted,
    First,
    counted,
    files_of,
)
from homeport.backends.held import Held
from homeport.errors import ModelNotFound
from homeport.gateway.endpoints import ENDPOINTS, Endpoint
from homeport.gateway.keyring import Principal

_WORKER = Principal("", "", "")
#: A worker adds a few bytes to what its client sent: another name of the model, a wish for the counts.
_MORE_BODY = 64 * 1024
#: Workers keep their connections.
MOST_CONNECTIONS = 100_000


def application(held: Mapping[str, Held]) -> ASGIApp:
    """Which models there are, and how they are."""
    ops = Ops(lambda: {name: one.state for name, one in held.items()}, dict)
    return Envelope(routing.Router([routing.Route("/readyz", ops.readyz, methods=["GET"])]), organization="homeport")


def lane(held: Mapping[str, Held], *, largest_body: int) -> type[LaneProtocol]:
    """largest_body: of the workers' clients."""
    exchange = Exchange(_Models(held), None, organization="homeport")
    return lane_protocol(
        exchange,
        {one.path.encode(): Route(one, _Workers()) for one in ENDPOINTS},
        largest_body=largest_body + _MORE_BODY,
        most_connections=MOST_CONNECTIONS,
    )


class _Models:
    """An `exchange.Line` with nothing on it but the model."""

    def __init__(self, held: Mapping[str, Held]) -> None:
        self._held = held

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame:
        return (await self._answer(endpoint, call)).first

    async def stream(self, endpoint: Endpoint, principal: Principal, call: Call, outlet: Outlet) -> None:
        answer = await self._answer(endpoint, call)
        events = endpoint.media is not None and not answer.first.media
        await answer.pour(counted if events else _nobody, outlet)

    async def _answer(self, endpoint: Endpoint, call: Call) -> Answer:
        model = self._model(call)
        if COUNT in dict(call.headers):
            return Answer(Frame(msgspec.json.encode(Counted(await model.count(call)))))
        answer = await endpoint.answer(model, call)
        if endpoint.media is not None:
            call.told.append(b"%b: %b\r\n" % (FIRST, First.of(answer.first)))
        return answer

    def _model(self, call: Call) -> Any:
        """The one that the worker means, whatever its client calls it; and whether it is to wait behind others."""
        told = dict(call.headers)
        name = unquote(told[MODEL].decode()) if MODEL in told else call.name
        call.model = name
        call.background = BATCH in told
        if ATTACHED in told:
            call.attached = files_of(told[ATTACHED])
        if ADAPTER in told:
            call.adapter = Path(unquote(told[ADAPTER].decode()))
            call.model = call.name  # what answers is the fine-tuned model
        try:
            return self._held[name]
        except KeyError:
            raise ModelNotFound.named(name) from None


def _nobody(_: Frame) -> None:
    """The worker keeps the books."""


class _Workers(OpenAIObjects):
    """The dialect of those who were let in: OpenAI's, without keys."""

    async def principal(self, seen: Seen) -> Principal:
        return _WORKER
