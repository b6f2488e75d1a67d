"""A local model over its life: missing, loading, ready or failed. Until it is ready its callers get a 503."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

from homeport.backends.capabilities import Answer, Call
from homeport.backends.text import Occupancy
from homeport.errors import HomeportError, ModelNotReady, NotFound, PermissionDenied

log = logging.getLogger("homeport.backends")

#: What a model is to those who ask for it.
Kind = Literal["text", "vectors", "hearing", "speaking", "drawing"]
State = Literal["missing", "loading", "ready", "failed"]
MISSING = "The model `{0}` is not on this machine. Run `homeport pull {0}`."
LOADING = "The model `{}` is still being loaded. Try again in a few seconds."
FAILED = "The model `{}` could not be loaded. The server's log says why; see `homeport doctor`."


class Held:
    """Implements every capability by handing it to the backend that has it."""

    def __init__(self, name: str, *backends: Any, missing: str | None = None) -> None:
        """backends: of one model, each with what it can do. missing: why there is nothing to load, and the command that
        mends it; there are no backends then."""
        self.name = name
        self._backends = backends
        self.state: State = "loading" if missing is None else "missing"
        self.reason = missing or LOADING.format(name)

    async def start(self) -> None:
        """Never raises: a model that cannot be loaded must not take the others down."""
        if self.state != "loading":
            return
        try:
            for backend in self._backends:
                await backend.start()
        except Exception as error:
            log.error("%s could not be loaded: %s: %s", self.name, type(error).__name__, error)
            self.state = "failed"
            self.reason = FAILED.format(self.name)
        else:
            self.state = "ready"

    async def close(self) -> None:
        if self.state in ("ready", "loading"):
            for backend in self._backends:
                await backend.close()

    def can(self, capability: str) -> bool:
        return any(hasattr(backend, capability) for backend in self._backends)

    def occupancy(self) -> Sequence[Occupancy]:
        """Of what generates for it; nothing while it is not ready."""
        if self.state != "ready":
            return ()
        generating = (backend for backend in self._backends if hasattr(backend, "occupancy"))
        return [one for backend in generating for one in backend.occupancy()]

    def lines_at_once(self, capability: str) -> int | None:
        if self.state != "ready":
            return None
        able = (backend for backend in self._backends if hasattr(backend, capability))
        return next((backend.lines_at_once(capability) for backend in able), None)

    async def chat(self, call: Call) -> Answer:
        answer: Answer = await self._able("chat").chat(call)
        return answer

    async def count(self, call: Call) -> int:
        counted: int = await self._able("count").count(call)
        return counted

    async def complete(self, call: Call) -> Answer:
        answer: Answer = await self._able("complete").complete(call)
        return answer

    async def embed(self, call: Call) -> Answer:
        answer: Answer = await self._able("embed").embed(call)
        return answer

    async def transcribe(self, call: Call) -> Answer:
        answer: Answer = await self._able("transcribe").transcribe(call)
        return answer

    async def translate(self, call: Call) -> Answer:
        answer: Answer = await self._able("translate").translate(call)
        return answer

    async def speak(self, call: Call) -> Answer:
        answer: Answer = await self._able("speak").speak(call)
        return answer

    async def draw(self, call: Call) -> Answer:
        answer: Answer = await self._able("draw").draw(call)
        return answer

    async def edit_image(self, call: Call) -> Answer:
        answer: Answer = await self._able("edit_image").edit_image(call)
        return answer

    async def vary_image(self, call: Call) -> Answer:
        answer: Answer = await self._able("vary_image").vary_image(call)
        return answer

    async def moderate(self, call: Call) -> Answer:
        answer: Answer = await self._able("moderate").moderate(call)
        return answer

    async def rerank(self, call: Call) -> Answer:
        answer: Answer = await self._able("rerank").rerank(call)
        return answer

    async def vector(self, text: str) -> Sequence[float]:
        """Of one text, for the house itself. Raises HomeportError."""
        vector: Sequence[float] = await self._able("vector").vector(text)
        return vector

    def _able(self, capability: str) -> Any:
        """Raises ModelNotReady; in OpenAI's words what a model of another kind is asked for."""
        if self.state != "ready":
            raise ModelNotReady(self.reason, headers=(("retry-after", "2"),) if self.state == "loading" else ())
        for backend in self._backends:
            if hasattr(backend, capability):
                return backend
        raise _unable(capability)


#: capability -> its path, and what a model that has it is called.
_NAMED = {
    "chat": ("chat/completions", "a chat model"),
    "complete": ("completions", "a completion model"),
    "moderate": ("moderations", "a moderation model"),
    "transcribe": ("audio/transcriptions", "a transcription model"),
    "translate": ("audio/translations", "a translation model"),
    "speak": ("audio/speech", "a speech model"),
    "draw": ("images/generations", "an image model"),
    "edit_image": ("images/edits", "an image model"),
    "vary_image": ("images/variations", "an image model"),
}


def _unable(capability: str) -> HomeportError:
    if capability == "embed":
        return PermissionDenied("You are not allowed to generate embeddings from this model")
    path, kind = _NAMED.get(capability, (capability, "such a model"))
    return NotFound(f"This is not {kind} and thus not supported in the v1/{path} endpoint.", param="model")
