"""The inference endpoints, as data. An endpoint that stands here passes the straight line; there is no other way in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from homeport.backends.capabilities import Answer, Call
from homeport.wire.envelope import CHARACTERS_PER_TOKEN

#: The most tokens that an image part of a message is counted as (gpt-4o-mini, high detail).
TOKENS_OF_AN_IMAGE = 50_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path.

    capability: the backend's method that answers it. azure: its path below a deployment, None if none.
    operation: OpenTelemetry's word for what it does. page: of OpenAI's usage, on which it is counted. scope: what a key
    needs to be allowed to call it. writes: a model writes its answers, which have a length therefore and may be
    streamed. tokens: what the limits charge at admission. most_prompt, most_answer: tokens that the prompt and the
    answer cannot exceed, for budgets; an answer of None is as long as the model lets it be. batch: OpenAI takes it in
    batches, too.
    """

    name: str
    path: str
    azure: str | None
    capability: str
    operation: str
    page: str
    scope: str
    default_max_tokens: int
    tokens: Callable[["Endpoint", Call], int]
    most_prompt: Callable[[Call], int]
    most_answer: Callable[[Call], int | None]
    writes: bool = True
    batch: bool = False

    def answer(self, backend: Any, call: Call) -> Awaitable[Answer]:
        answer: Awaitable[Answer] = getattr(backend, self.capability)(call)
        return answer


def tokens_at_admission(endpoint: Endpoint, call: Call) -> int:
    """`max(max_tokens, estimate from the characters)`, as OpenAI charges a request before it is run."""
    return max(call.max_tokens or endpoint.default_max_tokens, len(call.body) // CHARACTERS_PER_TOKEN)


def tokens_of_input(_: "Endpoint", call: Call) -> int:
    """Of an endpoint that reads and does not write."""
    return max(1, len(call.body) // CHARACTERS_PER_TOKEN)


def most_prompt_tokens(call: Call) -> int:
    """A token is a byte at least, and what OpenAI adds to a message is less than its JSON has around it."""
    return len(call.body) + TOKENS_OF_AN_IMAGE * call.body.count(b'"image_url"')


def most_chat_tokens(call: Call) -> int | None:
    return call.max_tokens


def most_completion_tokens(call: Call) -> int:
    """16 tokens by default; every prompt of a list is answered."""
    each = 16 * call.choices if call.max_tokens is None else call.max_tokens
    return each * _prompts(call.fields.get("prompt"))


def _prompts(raw: msgspec.Raw | None) -> int:
    prompt = None if raw is None else msgspec.json.decode(raw)
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)


CHAT = Endpoint(
    "chat.completions",
    "/v1/chat/completions",
    "/chat/completions",
    capability="chat",
    operation="chat",
    page="completions",
    scope="model.request",
    default_max_tokens=16,
    tokens=tokens_at_admission,
    most_prompt=most_prompt_tokens,
    most_answer=most_chat_tokens,
    batch=True,
)
COMPLETIONS = Endpoint(
    "completions",
    "/v1/completions",
    "/completions",
    capability="complete",
    operation="text_completion",
    page="completions",
    scope="model.request",
    default_max_tokens=16,
    tokens=tokens_at_admission,
    most_prompt=most_prompt_tokens,
    most_answer=most_completion_tokens,
    batch=True,
)
EMBEDDINGS = Endpoint(
    "embeddings",
    "/v1/embeddings",
    "/embeddings",
    capability="embed",
    operation="embeddings",
    page="embeddings",
    scope="model.request",
    default_max_tokens=0,
    tokens=tokens_of_input,
    most_prompt=lambda call: len(call.body),
    most_answer=lambda _: 0,
    writes=False,
    batch=True,
)

ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS)

#: What a key may be restricted to: what the endpoints need, to see which models there are, and what projects own.
SCOPES = frozenset(
    {"all", "model.read", "files.read", "files.write", "batch.read", "batch.write"}
    | {endpoint.scope for endpoint in ENDPOINTS}
)
