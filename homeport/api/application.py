"""The routes, as data: which path is answered by which room."""

from collections.abc import Sequence

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
    organization: str,
    largest_body: int,
) -> ASGIApp:
    """control: routes of the control plane."""
    routes: list[BaseRoute] = [
        Route("/", ops.root, methods=["GET"]),
        Route("/healthz", ops.healthz, methods=["GET"]),
        Route("/readyz", ops.readyz, methods=["GET"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
        *control,
        *_inference(exchange, openai, largest_body),
        *_azure_inference(exchange, azure, largest_body),
    ]
    return Envelope(Router(routes, redirect_slashes=False), organization=organization)


def _inference(exchange: Exchange, dialect: Dialect, largest_body: int) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        route = InferenceRoute(endpoint, dialect)
        return Route(endpoint.path, Inference(exchange, lambda _: route, largest_body=largest_body), methods=["POST"])

    return [at(endpoint) for endpoint in ENDPOINTS]


def _azure_inference(exchange: Exchange, azure: AzureDialect, largest_body: int) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        def route(scope: Scope) -> InferenceRoute:
            return InferenceRoute(endpoint, azure, model=scope["path_params"]["deployment"])

        inference = Inference(exchange, route, largest_body=largest_body)
        path = f"/openai/deployments/{{deployment}}{endpoint.azure}"
        return Route(path, InAzureStyle(inference, azure), methods=["POST"])

    unknown = Route("/openai/{rest:path}", InAzureStyle(_unknown, azure))
    return [*(at(endpoint) for endpoint in ENDPOINTS if endpoint.azure is not None), unknown]


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
