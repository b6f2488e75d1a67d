"""`GET /v1/organization/usage/...`, `GET /v1/organization/costs`, `GET /v1/homeport/costs` and `.../savings`."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homeport.api.json import json_answer
from homeport.control.usage import Usage
from homeport.control.usage_pages import PAGES, Page
from homeport.wire.admin_usage import CostsParameters, ModelParameters, read

#: Raises what the caller is refused with.
Authorize = Callable[[Request], Awaitable[object]]


class AdminUsage:
    def __init__(self, usage: Usage, authorize: Authorize) -> None:
        self._usage = usage
        self._authorize = authorize

    async def page(self, page: Page, request: Request) -> Response:
        await self._authorize(request)
        asked = read(page.parameters, request.query_params.multi_items())
        return json_answer(await self._usage.page(page, asked))

    async def costs(self, request: Request) -> Response:
        await self._authorize(request)
        asked = read(CostsParameters, request.query_params.multi_items())
        return json_answer(await self._usage.costs(asked))

    async def savings(self, request: Request) -> Response:
        await self._authorize(request)
        asked = read(ModelParameters, request.query_params.multi_items())
        return json_answer(await self._usage.savings(asked))

    async def listed_costs(self, request: Request) -> Response:
        await self._authorize(request)
        asked = read(ModelParameters, request.query_params.multi_items())
        return json_answer(await self._usage.listed_costs(asked))


def routes(usage: Usage, authorize: Authorize) -> Sequence[Route]:
    shown = AdminUsage(usage, authorize)
    pages = [Route(f"/v1/organization/usage/{page.name}", partial(shown.page, page), methods=["GET"]) for page in PAGES]
    return [
        *pages,
        Route("/v1/organization/costs", shown.costs, methods=["GET"]),
        Route("/v1/homeport/costs", shown.listed_costs, methods=["GET"]),
        Route("/v1/homeport/savings", shown.savings, methods=["GET"]),
    ]
