"""A local model over its life: missing, loading, ready or failed. Until it is ready its callers get a 503."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

from homeport.backends.capabilities import Answer, Call
from homeport.backends.text import Occupancy
from homeport.errors import ModelNotReady

log = logging.getLogger("homeport.backends")

State = Literal["missing", "loading", "ready", "failed"]


class Held:
    """Implements Chat and Complete by handing them to the backend it holds."""

    def __init__(self, name: str, backend: Any, *, missing: str | None = None) -> None:
        """missing: why there is nothing to load, and the command that mends it; backend is None then."""
        self.name = name
        self._backend = backend
        self.state: State = "loading" if missing is None else "missing"
        self.reason = missing or f"The model `{name}` is still being loaded. Try again in a few seconds."

    async def start(self) -> None:
        """Never raises: a model that cannot be loaded must not take the others down."""
        if self.state != "loading":
            return
        try:
            await self._backend.start()
        except Exception as error:
            log.error("%s could not be loaded: %s: %s", self.name, type(error).__name__, error)
            self.state = "failed"
            self.reason = (
                f"The model `{self.name}` could not be loaded. The server's log says why; see `homeport doctor`."
            )
        else:
            self.state = "ready"

    async def close(self) -> None:
        if self._backend is not None and self.state in ("ready", "loading"):
            await self._backend.close()

    def occupancy(self) -> Sequence[Occupancy]:
        """Of what generates for it; nothing while it is not ready."""
        occupancy: Sequence[Occupancy] = self._backend.occupancy() if self.state == "ready" else ()
        return occupancy

    async def chat(self, call: Call) -> Answer:
        answer: Answer = await self._ready().chat(call)
        return answer

    async def complete(self, call: Call) -> Answer:
        answer: Answer = await self._ready().complete(call)
        return answer

    def _ready(self) -> Any:
        if self.state != "ready":
            raise ModelNotReady(self.reason, headers=(("retry-after", "2"),) if self.state == "loading" else ())
        return self._backend
