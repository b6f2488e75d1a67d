"""For whoever operates the server: is it alive, should it be sent requests. No key needed, nothing told but that."""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from homeport import __version__
from homeport.api.json import json_answer

#: States of a model that hold nobody back: one that was never pulled is missed by those who ask for it alone.
_SETTLED = ("ready", "missing")
_DRAINING = "The server is ending: requests in flight are finished, and no new ones are wanted."


class Ops:
    """draining: the end was asked for."""

    def __init__(self, states: Callable[[], Mapping[str, str]], refusing: Callable[[], Mapping[str, str]]) -> None:
        """states: model -> `ready`, `loading`, `missing` (not pulled) or `failed`.

        refusing: what every request is refused for now, and why; nothing while there is something else to serve with.
        """
        self._states = states
        self._refusing = refusing
        self.draining = False

    async def healthz(self, request: Request) -> Response:
        """The process lives, and its event loop turns. Never anything else: who restarts it mends nothing else."""
        return json_answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """200 as long as requests would be served, by the same policies that serve them; else 503, with what is not
        ready and why."""
        not_ready = self.not_ready()
        status = {"status": "unavailable", "not_ready": not_ready} if not_ready else {"status": "ok"}
        return json_answer({**status, "models": dict(self._states())}, 503 if not_ready else 200)

    def not_ready(self) -> dict[str, str]:
        """What is not, and why. Nobody is asked: all of it is known already."""
        told: dict[str, str] = {}
        if self.draining:
            told["server"] = _DRAINING
        waiting = [f"{model} ({state})" for model, state in self._states().items() if state not in _SETTLED]
        if waiting:
            told["models"] = f"Not ready: {', '.join(waiting)}."
        return told | dict(self._refusing())

    async def root(self, request: Request) -> Response:
        return json_answer({"name": "homeport", "version": __version__, "base_url": f"{request.base_url}v1"})
