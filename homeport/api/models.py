"""`GET /v1/models` and `GET /v1/models/{model}`: what runs here, the names that lead to it, and what upstreams list."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from homeport import clock
from homeport.api.json import json_answer
from homeport.api.openai import bearer_of
from homeport.errors import HomeportError, ModelNotFound
from homeport.gateway.keyring import Keyring, Principal
from homeport.gateway.routing import Listed, Router, Target
from homeport.wire.models import Model, ModelList

#: An upstream's own list is asked for at most this often, and not waited for longer than that.
REFRESH_SECONDS = 60.0
WAIT_SECONDS = 5.0


class Models:
    def __init__(self, router: Router, keyring: Keyring, *, created: int) -> None:
        self._router = router
        self._keyring = keyring
        self._created = created
        self._upstream: list[Listed] = []
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def list(self, request: Request) -> Response:
        principal = self._principal(request)
        models = [self._model(listed) for listed in await self._all() if principal.models.admit(listed.id)]
        return json_answer(ModelList(data=models))

    async def retrieve(self, request: Request) -> Response:
        principal = self._principal(request)
        name = request.path_params["model"]
        if not principal.models.admit(name):
            raise ModelNotFound.named(name)
        for listed in await self._all():
            if listed.id == name:
                return json_answer(self._model(listed))
        self._router.targets(name)  # tells a retired name from an unknown one
        if not self._router.wildcards:
            raise ModelNotFound.named(name)
        return json_answer(self._model(Listed(name, self._router.wildcards[0].owner)))

    def _principal(self, request: Request) -> Principal:
        """Whoever asks sees the models that it may use. Raises InvalidKey, PermissionDenied."""
        principal = self._keyring.principal(bearer_of(request))
        principal.may("model.read")
        return principal

    def _model(self, listed: Listed) -> Model:
        return Model(
            id=listed.id,
            created=self._created,
            owned_by=listed.owner,
            root=listed.alias_of or listed.id,
        )

    async def _all(self) -> Sequence[Listed]:
        own = self._router.listed()
        async with self._asking:
            if self._router.wildcards and clock.monotonic() - self._asked_at > REFRESH_SECONDS:
                self._upstream = [listed for wild in self._router.wildcards for listed in await self._ask(wild)]
                self._asked_at = clock.monotonic()
        known = {listed.id for listed in own}
        return [*own, *(listed for listed in self._upstream if listed.id not in known)]

    async def _ask(self, wild: Target) -> Sequence[Listed]:
        """An upstream that cannot tell its models still answers for them: the list is shorter, nothing else."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return [Listed(name, wild.owner) for name in await wild.backend.models()]
        except (HomeportError, TimeoutError):
            return []
