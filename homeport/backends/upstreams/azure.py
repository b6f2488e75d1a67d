"""Azure OpenAI: deployments in the path, `api-version`, an `api-key` or an Entra token.

Source: Azure OpenAI's data-plane inference and authoring references, api-version 2024-10-21.
"""

from collections.abc import Mapping
from functools import cached_property
from urllib.parse import quote, urlencode

from homeport.backends.capabilities import Call, Header
from homeport.backends.upstreams.fine_tuning import FineTuning
from homeport.backends.upstreams.openai import OpenAIUpstream
from homeport.settings import Upstream


class AzureUpstream(OpenAIUpstream):
    """base_url is the resource's address; the model's name is the deployment's."""

    def _credentials(self, settings: Upstream, key: str | None) -> list[Header]:
        if settings.bearer_token and key:
            raise ValueError("bearer_token and a key are both set: leave one of them out")
        if settings.bearer_token:
            return [(b"authorization", b"Bearer " + settings.bearer_token.encode())]
        return [(b"api-key", key.encode())] if key else []

    def _path(self, path: str, call: Call) -> str:
        return f"/openai/deployments/{quote(call.model, safe='')}{path}?api-version={quote(self._settings.api_version)}"

    @cached_property
    def fine_tuning(self) -> FineTuning:
        return FineTuning(self.name, self._doors.clients[0], self._stored, models_go_with_jobs=True)

    def _stored(self, path: str, query: Mapping[str, str]) -> str:
        return f"/openai{path}?{urlencode({**query, 'api-version': self._settings.api_version})}"

    async def models(self) -> list[str]:
        """Azure's data plane lists no deployments."""
        return []
