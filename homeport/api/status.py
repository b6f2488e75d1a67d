"""`GET /v1/homeport/status`: how the server is. For a key of any kind; what is the operator's, admin keys are shown."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.gateway.keyring import Keyring, Principal
from homeport.wire.status import Door, Figures, Status

Collect = Callable[[], Awaitable[Status]]


class HowItIs:
    def __init__(self, keyring: Keyring, collect: Collect) -> None:
        self._keyring = keyring
        self._collect = collect

    async def show(self, request: Request) -> Response:
        """Raises InvalidKey."""
        caller = self._keyring.anybody(bearer_of(request))
        status = await self._collect()
        return json_answer(status if caller.kind != "project" else for_project(status, caller))


def routes(keyring: Keyring, collect: Collect) -> Sequence[BaseRoute]:
    return [Route("/v1/homeport/status", HowItIs(keyring, collect).show, methods=["GET"])]


def for_project(status: Status, caller: Principal) -> Status:
    """Whether what it may use works, and how fast; not where that is, nor what others do. So no addresses, processes,
    queues, disk or incidents, no counts of requests, and no models that the key may not use."""
    visible = ("server", "model", "upstream")
    models = [replace(one, recent=_rates(one.recent)) for one in status.models if caller.models.admit(one.id)]
    names = [one for one in status.names if caller.models.admit(one.id)]
    hidden = {one.id for one in status.models} - {one.id for one in models}
    problems = [one for one in status.problems if one.what in visible and one.name not in hidden]
    health = status.status if status.status == "unavailable" else "degraded" if problems else "ok"
    return replace(
        status,
        status=health,
        problems=problems,
        server=replace(
            status.server,
            in_flight=None,
            refused=None,
            recent=_rates(status.server.recent),
            processes=(),
            not_told=(),
        ),
        upstreams=[
            replace(
                one,
                in_flight=None,
                waiting=None,
                recent=_rates(one.recent),
                doors=[Door(door.door, None, ()) for door in one.doors],
            )
            for one in status.upstreams
        ],
        models=models,
        names=names,
        lanes=None,
        ledger=None,
        disk=None,
        incidents=None,
    )


def _rates(figures: Figures) -> Figures:
    return replace(figures, requests=None, errors=None, failed_tries=None)
