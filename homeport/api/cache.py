"""`/v1/homeport/cache`: what is kept, and an end to it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from homeport.api.json import json_answer
from homeport.gateway.cache import Cache


class Kept:
    def __init__(self, cache: Cache | None, authorize: Callable[[Request], Awaitable[Any]]) -> None:
        """cache: None where the settings let nothing be kept."""
        self._cache = cache
        self._authorize = authorize

    async def answer(self, request: Request) -> Response:
        """DELETE clears this process and Redis; other replicas go on for `cache.process_seconds` at most."""
        await self._authorize(request)
        if request.method == "DELETE":
            if self._cache is not None:
                await self._cache.clear()
            return json_answer({"object": "homeport.cache.deleted", "deleted": True})
        return json_answer({"object": "homeport.cache", **(self._cache.told() if self._cache is not None else {})})


def routes(cache: Cache | None, authorize: Callable[[Request], Awaitable[Any]]) -> Sequence[BaseRoute]:
    return [Route("/v1/homeport/cache", Kept(cache, authorize).answer, methods=["GET", "DELETE"])]
