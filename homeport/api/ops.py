"""For whoever operates the server: is it alive, is it ready. No key needed, nothing told but that."""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from homeport import __version__
from homeport.api.json import json_answer


class Ops:
    def __init__(self, states: Callable[[], Mapping[str, str]]) -> None:
        """states: model -> `ready`, `loading`, `missing` (not pulled) or `failed`."""
        self._states = states

    async def healthz(self, request: Request) -> Response:
        return json_answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """200 once everything that can be loaded is; a model that was never pulled does not hold the others back."""
        states = self._states()
        ready = all(state in ("ready", "missing") for state in states.values())
        return json_answer({"status": "ok" if ready else "loading", "models": dict(states)}, 200 if ready else 503)

    async def root(self, request: Request) -> Response:
        return json_answer({"name": "homeport", "version": __version__, "base_url": f"{request.base_url}v1"})
