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
        ready and why. It asks nobody: what is told here is known already."""
        states = self._states()
        not_ready: dict[str, str] = {}
        if self.draining:
            not_ready["server"] = _DRAINING
        waiting = [f"{model} ({state})" for model, state in states.items() if state not in _SETTLED]
        if waiting:
            not_ready["models"] = f"Not ready: {', '.join(waiting)}."
        not_ready |= self._refusing()
        status = {"status": "unavailable", "not_ready": not_ready} if not_ready else {"status": "ok"}
        return json_answer({**status, "models": dict(states)}, 503 if not_ready else 200)

    async def root(self, request: Request) -> Response:
        return json_answer({"name": "homeport", "version": __version__, "base_url": f"{request.base_url}v1"})
