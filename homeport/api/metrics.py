"""`/metrics`: for Prometheus, and for whoever speaks its language. Who may read it: docs/telemetry.md."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from homeport.api import exposition
from homeport.api.exposition import Family, Samples
from homeport.api.openai import bearer_of
from homeport.backends.addresses import is_loopback
from homeport.gateway.keyring import Keyring

Audience = Literal["local", "admin", "open"]
#: Pieces that are written in one go, a millisecond's work.
AT_ONCE = 50
#: Who has one of these in front has not sent the request from this machine, whoever brings it.
_BROUGHT = ("forwarded", "x-forwarded-", "x-real-ip", "via")


class Metrics:
    """The names of models and upstreams are in the numbers, and what they cost: they are not for everybody."""

    def __init__(
        self,
        keyring: Keyring,
        collect: Callable[[], Awaitable[Iterable[tuple[Family, Samples]]]],
        *,
        audience: Audience,
        token: str | None = None,
    ) -> None:
        """audience: besides those who have an admin key, or the token: nobody (`admin`), whoever asks from this machine
        (`local`), everybody (`open`)."""
        self._keyring = keyring
        self._collect = collect
        self._audience = audience
        self._token = token.encode() if token else None

    async def answer(self, request: Request) -> Response:
        """Raises InvalidKey (401), PermissionDenied (403)."""
        self._authorize(request)
        open_metrics = "application/openmetrics-text" in request.headers.get("accept", "")
        body: list[str] = []
        for block in exposition.blocks(await self._collect(), open_metrics=open_metrics):
            body.append(block)
            if len(body) % AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn: all of it may be megabytes
        kind = exposition.OPEN_METRICS if open_metrics else exposition.TEXT
        return Response("".join(body), headers={"content-type": kind, "cache-control": "no-store"})

    def _authorize(self, request: Request) -> None:
        if self._audience == "open" or (self._audience == "local" and _is_local(request)):
            return
        secret = bearer_of(request)
        if self._token is None or secret is None or not hmac.compare_digest(secret, self._token):
            self._keyring.administrator(secret)


def _is_local(request: Request) -> bool:
    """From this machine, to this machine, brought by nobody. (A page of the web can make a browser send requests to an
    address of this machine, but not under its name.)"""
    if request.client is None or any(name.startswith(_BROUGHT) for name in request.headers):
        return False
    return is_loopback(request.client.host) and is_loopback(request.url.hostname or "")


def routes(metrics: Metrics) -> Sequence[BaseRoute]:
    return [Route("/metrics", metrics.answer, methods=["GET"])]
