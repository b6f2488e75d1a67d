"""The routes, as data: which path is answered by which room."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from homeport.api.asgi import Inference
from homeport.api.azure import AzureDialect, check_api_version
from homeport.api.exchange import Dialect, Exchange
from homeport.api.exchange import Route as InferenceRoute
from homeport.api.middleware import Envelope
from homeport.api.models import Models
from homeport.api.ops import Ops
from homeport.errors import UnknownURL
from homeport.gateway.endpoints import ENDPOINTS, Endpoint
from homeport.gateway.watching import Watchers

if TYPE_CHECKING:
    from homeport.api.resources import Operation
    from homeport.control.idempotency import Idempotency


def lane_routes(dialect: Dialect) -> dict[bytes, InferenceRoute]:
    """The hot paths, as the fast lane looks them up."""
    return {endpoint.path.encode(): InferenceRoute(endpoint, dialect) for endpoint in ENDPOINTS}


def application(
    *,
    exchange: Exchange,
    openai: Dialect,
    azure: AzureDialect,
    models: Models,
    ops: Ops,
    control: Sequence[BaseRoute],
    owned: Sequence["Operation"],
    idempotency: "Idempotency",
    organization: str,
    largest_body: int,
    watchers: Watchers,
) -> ASGIApp:
    """control: routes of the control plane, and of whoever watches. owned: what projects do with what they own."""
    from homeport.api import resources  # with them comes SQLAlchemy: app.py

    routes: list[BaseRoute] = [
        Route("/", ops.root, methods=["GET"]),
        Route("/healthz", ops.healthz, methods=["GET"]),
        Route("/readyz", ops.readyz, methods=["GET"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
        *control,
        *resources.routes(owned, openai, idempotency),
        *resources.azure_routes(owned, azure, idempotency, styled=partial(_in_azure_style, azure)),
    ]
    inference = [*_inference(exchange, openai, largest_body), *_azure_inference(exchange, azure, largest_body)]
    unknown = Route("/openai/{rest:path}", InAzureStyle(_unknown, azure))
    names = {route.endpoint: route.path_format for route in routes if isinstance(route, Route)}
    names |= {route.endpoint: route.name for route in inference}
    router = Router([*routes, *inference, unknown], redirect_slashes=False)
    return Envelope(router, organization=organization, watchers=watchers, names=names)


def _inference(exchange: Exchange, dialect: Dialect, largest_body: int) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        route = InferenceRoute(endpoint, dialect)
        inference = Inference(exchange, lambda _: route, largest_body=largest_body)
        return Route(endpoint.path, inference, methods=["POST"], name=endpoint.name)

    return [at(endpoint) for endpoint in ENDPOINTS]


def _azure_inference(exchange: Exchange, azure: AzureDialect, largest_body: int) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        def route(scope: Scope) -> InferenceRoute:
            return InferenceRoute(endpoint, azure, model=scope["path_params"]["deployment"])

        inference = Inference(exchange, route, largest_body=largest_body)
        path = f"/openai/deployments/{{deployment}}{endpoint.azure}"
        return Route(path, InAzureStyle(inference, azure), methods=["POST"], name=endpoint.name)

    return [at(endpoint) for endpoint in ENDPOINTS if endpoint.azure is not None]


def _in_azure_style(azure: AzureDialect, route: Route) -> Route:
    return Route(route.path, InAzureStyle(route.endpoint, azure), methods=list(route.methods or ()))


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    raise UnknownURL("Resource not found")


class InAzureStyle:
    """Errors outside the exchange in Azure's form, and the `api-version` checked before anything else."""

    def __init__(self, app: ASGIApp, azure: AzureDialect) -> None:
        self._app = app
        self._azure = azure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["homeport.error"] = self._azure.error
        check_api_version(QueryParams(scope["query_string"]).get("api-version"))
        await self._app(scope, receive, send)
