"""OpenAI's own way: a Bearer key, and OpenAI's objects as they are."""

from starlette.requests import Request

from homeport.api import headers, rendering
from homeport.api.headers import Seen
from homeport.backends.capabilities import Call
from homeport.errors import HomeportError
from homeport.gateway.keyring import Keyring, Principal


class OpenAIObjects:
    """Errors and answers of the dialect, whoever asks."""

    verbatim = True

    def error(self, error: HomeportError) -> bytes:
        return rendering.openai_object(error)

    def prelude(self, call: Call) -> bytes:
        return b""

    def render(self, data: bytes, *, stream: bool) -> bytes:
        return data


class OpenAIDialect(OpenAIObjects):
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def principal(self, seen: Seen) -> Principal:
        return self._keyring.principal(seen.bearer)


def bearer_of(request: Request) -> bytes | None:
    """The key of a request outside the exchange."""
    return headers.read(request.headers.raw).bearer
