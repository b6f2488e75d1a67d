"""The routes, as data: which path is answered by which room."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from homeport.api.asgi import Inference
from homeport.api.azure import AzureDialect, check_api_version
from homeport.api.exchange import Dialect, Exchange
from homeport.api.exchange import Route as InferenceRoute
from homeport.api.forms import FormInference, Stage
from homeport.api.middleware import Envelope
from homeport.api.models import Models
from homeport.api.ops import Ops
from homeport.errors import UnknownURL
from homeport.gateway.endpoints import ENDPOINTS, Endpoint
from homeport.gateway.watching import Watchers

if TYPE_CHECKING:
    from homeport.api.resources import Operation
    from homeport.control.idempotency import Idempotency
    from homeport.control.image_references import ImageReferences


def lane_routes(dialect: Dialect) -> dict[bytes, InferenceRoute]:
    """The hot paths, as the fast lane looks them up."""
    return {one.path.encode(): InferenceRoute(one, dialect) for one in ENDPOINTS if one.form is None}


def application(
    *,
    exchange: Exchange,
    responses: Exchange,
    openai: Dialect,
    azure: AzureDialect,
    models: Models,
    ops: Ops,
    control: Sequence[BaseRoute],
    owned: Sequence["Operation"],
    idempotency: "Idempotency",
    organization: str,
    largest_body: int,
    staged: Stage,
    largest_file: Callable[[Endpoint], int],
    references: "ImageReferences",
    watchers: Watchers,
) -> ASGIApp:
    """responses: what answers POST /v1/responses. control: routes of the control plane, and of whoever watches. owned:
    what projects do with what they own. staged: where files of inference are until it has ended; largest_file: bytes of
    one, by endpoint; references: what brings those that are only named."""
    from homeport.api import resources, response_line  # with them comes SQLAlchemy: app.py

    routes: list[BaseRoute] = [
        Route("/", ops.root, methods=["GET"]),
        Route("/healthz", ops.healthz, methods=["GET"]),
        Route("/readyz", ops.readyz, methods=["GET"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
        *_azure_models(models, azure),
        *control,
        *resources.routes(owned, openai, idempotency),
        *resources.azure_routes(owned, azure, idempotency, styled=partial(_in_azure_style, azure)),
    ]

    def answering(endpoint: Endpoint, route: Callable[[Scope], InferenceRoute]) -> ASGIApp:
        if endpoint.form is not None:
            return FormInference(
                exchange,
                endpoint,
                route,
                staged=staged,
                largest=largest_file(endpoint),
                largest_body=largest_body,
                references=references,
            )
        return Inference(exchange, route, largest_body=largest_body)

    inference = [
        *_inference(answering, openai),
        *_azure_inference(answering, azure),
        response_line.route(responses, openai, largest_body=largest_body),
        _in_azure_style(azure, response_line.route(responses, azure, largest_body=largest_body, under="/openai")),
    ]
    unknown = Route("/openai/{rest:path}", InAzureStyle(_unknown, azure))
    names = {route.endpoint: route.path_format for route in routes if isinstance(route, Route)}
    names |= {route.endpoint: route.name for route in inference}
    router = Router([*_one_a_path([*routes, *inference]), unknown], redirect_slashes=False)
    return Envelope(router, organization=organization, watchers=watchers, names=names)


#: What answers an endpoint over ASGI. Its route is made at each request.
Answering = Callable[[Endpoint, Callable[[Scope], InferenceRoute]], ASGIApp]


def _inference(answering: Answering, dialect: Dialect) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        route = InferenceRoute(endpoint, dialect)
        return Route(endpoint.path, answering(endpoint, lambda _: route), methods=["POST"], name=endpoint.name)

    return [at(endpoint) for endpoint in ENDPOINTS]


def _azure_inference(answering: Answering, azure: AzureDialect) -> Sequence[Route]:
    def at(endpoint: Endpoint) -> Route:
        def route(scope: Scope) -> InferenceRoute:
            return InferenceRoute(endpoint, azure, model=scope["path_params"]["deployment"])

        path = f"/openai/deployments/{{deployment}}{endpoint.azure}"
        return Route(path, InAzureStyle(answering(endpoint, route), azure), methods=["POST"], name=endpoint.name)

    return [at(endpoint) for endpoint in ENDPOINTS if endpoint.azure is not None]


def _azure_models(models: Models, azure: AzureDialect) -> Sequence[Route]:
    async def list(request: Request) -> Response:
        return await models.list_for(request, azure)

    async def retrieve(request: Request) -> Response:
        return await models.retrieve_for(request, azure)

    routes = (Route("/openai/models", list), Route("/openai/models/{model:path}", retrieve))
    return [Route(one.path, InAzureStyle(one.app, azure), methods=["GET"]) for one in routes]


def _in_azure_style(azure: AzureDialect, route: Route) -> Route:
    return Route(route.path, InAzureStyle(route.endpoint, azure), methods=list(route.methods or ()))


def _one_a_path(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """Two rooms may answer on one path, each its own methods: a wrong method is told those of both."""
    found: dict[str, list[Route]] = {}
    others: list[BaseRoute] = []
    for route in routes:
        if isinstance(route, Route):
            found.setdefault(route.path, []).append(route)
        else:
            others.append(route)
    return [*(those[0] if len(those) == 1 else _joined(those) for those in found.values()), *others]


class _ByMethod:
    def __init__(self, routes: Sequence[Route]) -> None:
        self.answers = {method: route for route in routes for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.answers[scope["method"]]
        scope["endpoint"] = route.endpoint  # as if the router had found it
        await route.app(scope, receive, send)


def _joined(routes: Sequence[Route]) -> Route:
    answer = _ByMethod(routes)
    return Route(routes[0].path, answer, methods=[*answer.answers])


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
