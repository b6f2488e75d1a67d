"""The inference endpoints, as data. An endpoint that stands here passes the straight line; there is no other way in."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from homeport.backends.capabilities import Call, Frame

#: Characters of a request that make one token, when nobody has counted yet: OpenAI's own rule of thumb.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path. capability: the backend's method that answers it; azure: its path below a deployment, None if none."""

    name: str
    path: str
    azure: str | None
    capability: str
    default_max_tokens: int
    estimate: Callable[["Endpoint", Call], int]

    def answer(self, backend: Any, call: Call) -> AsyncGenerator[Frame, None]:
        frames: AsyncGenerator[Frame, None] = getattr(backend, self.capability)(call)
        return frames


def tokens_at_admission(endpoint: Endpoint, call: Call) -> int:
    """`max(max_tokens, estimate from the characters)`, as OpenAI charges a request before it is run."""
    return max(call.max_tokens or endpoint.default_max_tokens, len(call.body) // CHARACTERS_PER_TOKEN)


CHAT = Endpoint("chat.completions", "/v1/chat/completions", "/chat/completions", "chat", 16, tokens_at_admission)
COMPLETIONS = Endpoint("completions", "/v1/completions", "/completions", "complete", 16, tokens_at_admission)

ENDPOINTS = (CHAT, COMPLETIONS)
