"""Azure OpenAI's way: deployments in the path, `api-version`, an `api-key` or an Entra token, its errors and fields.

Source: Azure OpenAI's data-plane inference reference, api-version 2024-10-21.
"""

from typing import Any

import msgspec

from homeport.api import rendering
from homeport.api.headers import Seen
from homeport.backends.capabilities import Call
from homeport.errors import (
    ContentFiltered,
    DatabaseUnavailable,
    HomeportError,
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    UnknownURL,
)
from homeport.gateway.entra import Entra
from homeport.gateway.filtered import CONTENT_FILTER, azure_results
from homeport.gateway.keyring import Keyring, Principal
from homeport.wire import sse

#: Versions of the data plane whose chat and completions have the shape that is answered here.
API_VERSIONS = frozenset(
    """
    2023-05-15 2024-02-01 2024-06-01 2024-10-21
    2023-12-01-preview 2024-02-15-preview 2024-03-01-preview 2024-04-01-preview 2024-05-01-preview 2024-07-01-preview
    2024-08-01-preview 2024-09-01-preview 2024-10-01-preview 2024-12-01-preview 2025-01-01-preview 2025-02-01-preview
    2025-03-01-preview 2025-04-01-preview
    """.split()
)

#: Endpoints whose answers have choices, and so Azure's filter fields.
_CHOOSING = ("chat.completions", "completions")
_CATEGORIES = ("hate", "self_harm", "sexual", "violence")
#: Azure's words for an answer that no filter has looked at. `filtered` is true to that; a severity would be made up.
_NOT_FILTERED: dict[str, Any] = {
    "error": {"code": "content_filter_error", "message": "The contents are not filtered"},
    **{category: {"filtered": False} for category in _CATEGORIES},
}
_NO_KEY = (
    "Unauthorized. Access token is missing, invalid, audience is incorrect "
    "(https://cognitiveservices.azure.com), or have expired."
)
_WRONG_KEY = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_NO_DEPLOYMENT = (
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
    "please wait a moment and try again."
)


class AzureDialect:
    verbatim = False

    def __init__(self, keyring: Keyring, entra: Entra) -> None:
        self._keyring = keyring
        self._entra = entra

    async def principal(self, seen: Seen) -> Principal:
        """`api-key`, or a bearer: one of our keys or an Entra token (three parts with dots)."""
        key, bearer = seen.api_key.strip(), seen.bearer
        if not key and bearer is not None and bearer.count(b".") == 2:
            return await self._entra.principal(bearer)
        return self._keyring.principal(key or bearer)

    def error(self, error: HomeportError) -> bytes:
        """Azure's `{"error": {"code", "message"}}` for what the service says; a bad body gets OpenAI's object."""
        if isinstance(error, InvalidKey):
            code, message = "401", _NO_KEY if error.code is None else _WRONG_KEY
        elif isinstance(error, ModelNotFound):
            code, message = "DeploymentNotFound", _NO_DEPLOYMENT
        elif isinstance(error, RateLimited):
            code, message = "429", error.message
        elif isinstance(error, UnknownURL):
            code, message = "404", "Resource not found"
        elif isinstance(error, ContentFiltered):
            return _content_filtered(error)
        elif isinstance(error, DatabaseUnavailable):
            code, message = "database_unavailable", error.message
        elif isinstance(error, InvalidRequest) or rendering.status_of(error) in (400, 415):
            return rendering.openai_object(error)
        else:
            code, message = str(rendering.status_of(error)), error.message
        return msgspec.json.encode({"error": {"code": code, "message": message}})

    def prelude(self, call: Call) -> bytes:
        """A chunk without choices that tells about the prompt comes first, of answers that have choices."""
        if call.endpoint not in _CHOOSING:
            return b""
        kind = "chat.completion.chunk" if call.endpoint == "chat.completions" else "text_completion"
        chunk = {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": kind,
            "prompt_filter_results": [
                {"prompt_index": 0, "content_filter_results": call.prompt_filter or _NOT_FILTERED}
            ],
        }
        return sse.event(msgspec.json.encode(chunk))

    def render(self, data: bytes, *, stream: bool) -> bytes:
        if b'"choices"' not in data and b'"prompt_filter_results"' not in data:
            return data  # it may be large: pictures
        if not stream:
            return msgspec.json.encode(_with_filter_fields(msgspec.json.decode(data), prompt=True))
        events: list[bytes] = []
        for event in data.split(b"\n\n"):
            if event.startswith(b"data: {"):
                chunk = _with_filter_fields(msgspec.json.decode(event[6:]), prompt=False)
                if chunk.get("prompt_filter_results") and not chunk.get("choices"):
                    continue  # an Azure upstream's own first chunk: ours went out already
                events.append(sse.event(msgspec.json.encode(chunk)))
            elif event:
                events.append(event + b"\n\n")
        return b"".join(events)


def _content_filtered(error: ContentFiltered) -> bytes:
    """As Azure refuses a prompt: programs look for `code`, and for what was found in `innererror`."""
    found = azure_results(frozenset(error.categories))
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": found}
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": None,
                "param": "prompt",
                "code": CONTENT_FILTER,
                "status": 400,
                "innererror": inner,
            }
        }
    )


def _with_filter_fields(answer: dict[str, Any], *, prompt: bool) -> dict[str, Any]:
    """Add what is missing; an Azure upstream has put in its own already."""
    for choice in answer.get("choices", ()):
        choice.setdefault("content_filter_results", _NOT_FILTERED)
    if prompt and "choices" in answer:
        answer.setdefault("prompt_filter_results", [{"prompt_index": 0, "content_filter_results": _NOT_FILTERED}])
    return answer


def check_api_version(query: str | None) -> None:
    """Raises UnknownURL without a version, as Azure does, and InvalidRequest for one that is not known."""
    if not query:
        raise UnknownURL("Resource not found")
    if query not in API_VERSIONS:
        raise InvalidRequest(
            f"API version not supported: {query!r}. Use one of {', '.join(sorted(API_VERSIONS))}.", code="BadRequest"
        )
