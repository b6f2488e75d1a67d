"""What a project owns, as a table of operations: OpenAI's paths under `/v1`, and Azure's under `/openai`.

Who asks is told by the dialect; what it may do, by the operation's scope.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from homeport.api import headers, operations
from homeport.api.exchange import Dialect
from homeport.control.idempotency import Idempotency
from homeport.control.owners import Owner

Asked = operations.Asked[Owner]
Operation = operations.Operation[Owner]
Authorize = operations.Authorize[Owner]


def authorize(dialect: Dialect) -> Authorize:
    async def owner(request: Request, scope: str) -> Owner:
        principal = await dialect.principal(headers.read(request.headers.raw))
        if scope:
            principal.may(scope)
        return Owner(principal.project, principal.key_id)

    return owner


def routes(table: Iterable[Operation], dialect: Dialect, idempotency: Idempotency) -> Sequence[Route]:
    return operations.routes_of(table, authorize(dialect), idempotency)


def azure_routes(
    table: Iterable[Operation],
    dialect: Dialect,
    idempotency: Idempotency,
    *,
    styled: Callable[[Route], BaseRoute],
) -> Sequence[BaseRoute]:
    """The same below `/openai`. styled: checks `api-version`, and renders errors Azure's way; nobody says
    `OpenAI-Beta`."""
    versioned = [replace(operation, query=(*operation.query, "api-version"), beta="") for operation in table]
    return [
        styled(Route(route.path.replace("/v1/", "/openai/", 1), route.endpoint, methods=list(route.methods or ())))
        for route in routes(versioned, dialect, idempotency)
    ]
