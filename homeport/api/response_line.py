"""`POST /v1/responses` behind the exchange: what stands in the place of the straight line, which each of a response's
turns passes as a chat completion.

So a stream, an `Idempotency-Key` and a client that leaves are here what they are of chat completions.
"""

import asyncio
from collections.abc import Generator
from contextlib import aclosing, contextmanager, suppress

import msgspec
from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from homeport import clock
from homeport.api.asgi import Inference
from homeport.api.exchange import Dialect, Exchange
from homeport.api.exchange import Route as InferenceRoute
from homeport.backends.capabilities import Call, Frame, Outlet, Usage
from homeport.control import response_states as states
from homeport.control.assistants import Models
from homeport.control.owners import Owner
from homeport.control.response_states import Ended, Row
from homeport.control.responses import Responses, Wanted
from homeport.errors import HomeportError, InvalidRequest, Unavailable
from homeport.gateway.endpoints import CHAT, RESPONSES, Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.watching import Aside, Watchers, status_of
from homeport.loop.loop import Wait
from homeport.loop.responding import Responding, failure
from homeport.loop.response_scribe import ResponseScribe
from homeport.wire.base import decode
from homeport.wire.response_events import LAST, Event, ResponseCreated, ResponseInProgress
from homeport.wire.responses import CreateResponse, Response

#: Of chat completions -> of responses.
_PARAMS = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
_decoder = msgspec.json.Decoder(CreateResponse)
_encode = msgspec.json.encode


class ResponseLine:
    """`exchange.Line`."""

    def __init__(
        self, rules: Responses, responding: Responding, models: Models, watchers: Watchers, *, patience: Wait
    ) -> None:
        """models: which may answer. patience: of lines of batches."""
        self._rules = rules
        self._models = models
        self._responding = responding
        self._watchers = watchers
        self._patience = patience

    async def plain(self, endpoint: Endpoint, principal: Principal, call: Call) -> Frame:
        """Cancelling it cancels the work, but for what runs in the background."""
        with self._watched(endpoint, principal, call):
            owner, wanted = await self._wanted(endpoint, principal, call)
            if wanted.row["background"]:
                return Frame(_encode(await self._enqueue(principal, wanted)))
            shown = await self._answer(owner, wanted, call, _Nobody())
            return Frame(_encode(shown), usage=_usage(shown))

    async def stream(self, endpoint: Endpoint, principal: Principal, call: Call, outlet: Outlet) -> None:
        """As `plain`, event by event. Whoever leaves a stream of what runs in the background leaves it running."""
        with self._watched(endpoint, principal, call):
            owner, wanted = await self._wanted(endpoint, principal, call)
            if wanted.row["background"]:
                await self._follow(owner, await self._enqueue(principal, wanted), outlet)
            else:
                await self._answer(owner, wanted, call, _Listening(outlet, wanted))

    async def _wanted(self, endpoint: Endpoint, principal: Principal, call: Call) -> tuple[Owner, Wanted]:
        """Raises what the answer would be."""
        principal.may(endpoint.scope)
        asked = decode(_decoder, call.body)
        if call.batch and asked.background:
            raise InvalidRequest("What is in a batch is in the background. Leave it out.", param="background")
        owner = Owner(principal.project, principal.key_id)
        wanted = await self._rules.wanted(owner, asked)
        self._responding.check(wanted.row["request"], [*wanted.before, *wanted.coming])
        return owner, wanted

    async def _enqueue(self, principal: Principal, wanted: Wanted) -> Response:
        """What it would be told in a request, it is told now: whether it may ask that model."""
        principal.may(CHAT.scope)
        owner = Owner(principal.project, principal.key_id)
        await self._models.admit(owner, wanted.row["model"])
        return await self._rules.enqueue(owner, wanted)

    async def _follow(self, owner: Owner, begun: Response, outlet: Outlet) -> None:
        first = True
        async with aclosing(self._rules.follow(owner, begun.id)) as following:
            async for some in following:
                frame = Frame(b"".join([event(told.event, told.data) for told in some]))
                if first and some:
                    outlet.begin(frame)
                    first = False
                elif some and not outlet.take(frame):
                    await outlet.drain()

    async def _answer(self, owner: Owner, wanted: Wanted, call: Call, listener: "_Nobody | _Listening") -> Response:
        """Raises HomeportError while nothing was said."""
        told = [*wanted.before, *wanted.coming]
        prepared = await self._responding.prepared(owner, wanted.row, told)
        plan = prepared.plan
        plan.request_id, plan.told, plan.batch = call.request_id, call.told, call.batch
        include = wanted.row["request"].get("include", ())
        scribe = ResponseScribe(listener.tell, include=include, container_id=prepared.container_id)
        try:
            ended = await self._responding.answer(prepared, scribe, wait=self._patience if call.batch else None)
        except HomeportError as error:
            if not scribe.begun:
                error.param = _renamed(error.param)
                raise
            await scribe.fail()
            ended = failure(error)
        except asyncio.CancelledError:
            if scribe.begun:
                scribe.cut()
                with suppress(Unavailable):
                    await self._keep(owner, wanted, Ended("cancelled"), scribe)
            raise
        row = await self._keep(owner, wanted, ended, scribe)
        shown = states.as_object(row, scribe.output)
        await listener.tell(LAST[ended.status](shown))
        return shown

    async def _keep(self, owner: Owner, wanted: Wanted, ended: Ended, scribe: ResponseScribe) -> Row:
        row = {**wanted.row, **states.ended_values(ended, scribe.used)}
        await self._rules.keep(owner, wanted, row, scribe.output)
        return row

    @contextmanager
    def _watched(self, endpoint: Endpoint, principal: Principal, call: Call) -> Generator[None, None, None]:
        began = clock.monotonic()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            refusal = error if isinstance(error, HomeportError) else None
            seconds = clock.monotonic() - began
            status = status_of(error)
            self._watchers.aside(
                Aside(call.request_id, endpoint.name, "POST", call.name, principal, status, refusal, seconds)
            )


def _renamed(param: str | None) -> str | None:
    """What chat completions call otherwise."""
    name = (param or "").partition("[")[0].partition(".")[0]
    return _PARAMS.get(name, param)


def _usage(shown: Response) -> Usage | None:
    used = shown.usage
    if used is None:
        return None
    return Usage(used.input_tokens, used.output_tokens, cached=used.input_tokens_details.cached_tokens)


class _Nobody:
    """Listens to a plain answer on its way."""

    async def tell(self, event: Event) -> None:
        pass


class _Listening:
    """A client of a stream. Nothing is sent until something was said: what goes wrong before is an HTTP error."""

    def __init__(self, outlet: Outlet, wanted: Wanted) -> None:
        self._outlet = outlet
        self._begun = states.as_object(wanted.row, ())
        self._number = 0

    async def tell(self, event: Event) -> None:
        if not self._number:
            self._outlet.begin(self._frame(ResponseCreated(self._begun)))
            self._outlet.take(self._frame(ResponseInProgress(self._begun)))
        if not self._outlet.take(self._frame(event)):
            await self._outlet.drain()

    def _frame(self, told: Event) -> Frame:
        data = told.numbered(self._number)
        self._number += 1
        return Frame(event(told.kind, data))


def event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class _WithoutBeta:
    """OpenAI's `?beta=true` asks for another form of a response, which nobody gives here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "beta" in QueryParams(scope["query_string"]):
            raise InvalidRequest("Unknown parameter: 'beta'.", param="beta", code="unknown_parameter")
        await self._app(scope, receive, send)


def route(exchange: Exchange, dialect: Dialect, *, largest_body: int, under: str = "/v1") -> Route:
    of = InferenceRoute(RESPONSES, dialect)
    answering = _WithoutBeta(Inference(exchange, lambda _: of, largest_body=largest_body))
    return Route(f"{under}/responses", answering, methods=["POST"], name=RESPONSES.name)
