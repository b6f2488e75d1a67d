"""`GET /v1/models` and `GET /v1/models/{model}`: what runs here, the names that lead to it, what was fine-tuned for
whoever asks, and what upstreams list. Azure's clients find the same at `/openai/models`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from homeport import clock
from homeport.api import headers
from homeport.api.exchange import Dialect
from homeport.api.json import json_answer
from homeport.backends.held import State
from homeport.errors import HomeportError, ModelNotFound
from homeport.gateway.keyring import Principal
from homeport.gateway.routing import Listed, Router, Target
from homeport.wire.models import Model, ModelList

#: An upstream's own list is asked for at most this often, and not waited for longer than that.
REFRESH_SECONDS = 60.0
WAIT_SECONDS = 5.0


class Models:
    def __init__(
        self,
        router: Router,
        dialect: Dialect,
        *,
        created: int,
        voices: Mapping[str, Mapping[str, str]],
        descriptions: Mapping[str, str],
        capabilities: Mapping[str, Sequence[str]],
        state: Callable[[str], tuple[State, str]],
    ) -> None:
        """voices, descriptions, capabilities: as Backing has them. state: of a model that has capabilities, and the
        reason for it, unless it is ready."""
        self._router = router
        self._voices = voices
        self._descriptions = descriptions
        self._capabilities = capabilities
        self._state = state
        self._dialect = dialect
        self._created = created
        self._upstream: list[Listed] = []
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def list(self, request: Request) -> Response:
        return await self.list_for(request, self._dialect)

    async def retrieve(self, request: Request) -> Response:
        return await self.retrieve_for(request, self._dialect)

    async def list_for(self, request: Request, dialect: Dialect) -> Response:
        """dialect: that says who asks."""
        principal = await _principal(request, dialect)
        models = [self._model(listed) for listed in await self._all(principal) if principal.models.admit(listed.id)]
        return json_answer(ModelList(data=models))

    async def retrieve_for(self, request: Request, dialect: Dialect) -> Response:
        principal = await _principal(request, dialect)
        name = request.path_params["model"]
        if not principal.models.admit(name):
            raise ModelNotFound.named(name)
        if name.startswith("ft:"):
            await self._router.look_for(name)
        for listed in await self._all(principal):
            if listed.id == name:
                return json_answer(self._model(listed))
        self._router.targets(name, principal.project)  # tells a retired name from an unknown one
        if not self._router.wildcards:
            raise ModelNotFound.named(name)
        return json_answer(self._model(Listed(name, self._router.wildcards[0].owner)))

    def _model(self, listed: Listed) -> Model:
        root = listed.alias_of or listed.id
        state, reason = self._state(root) if root in self._capabilities else (UNSET, "")
        return Model(
            id=listed.id,
            created=listed.created or self._created,
            owned_by=listed.owner,
            root=root,
            voices=self._voices.get(root, UNSET),
            description=self._descriptions.get(root, UNSET),
            capabilities=self._capabilities.get(root, UNSET),
            state=state,
            reason=reason if reason and state != "ready" else UNSET,
        )

    async def _all(self, principal: Principal) -> Sequence[Listed]:
        """What the project may see. An upstream lists what all of its account's projects have made there."""
        own, tuned = self._router.listed(), self._router.tuned
        own += tuned.listed(principal.project) if tuned is not None else ()
        async with self._asking:
            if self._router.wildcards and clock.monotonic() - self._asked_at > REFRESH_SECONDS:
                self._upstream = [listed for wild in self._router.wildcards for listed in await self._ask(wild)]
                self._asked_at = clock.monotonic()
        known = {listed.id for listed in own}
        others = [listed for listed in self._upstream if listed.id not in known]
        return [*own, *(listed for listed in others if tuned is None or not tuned.has(listed.id))]

    async def _ask(self, wild: Target) -> Sequence[Listed]:
        """An upstream that cannot tell its models still answers for them: the list is shorter, nothing else."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return [Listed(name, wild.owner) for name in await wild.backend.models()]
        except (HomeportError, TimeoutError):
            return []


async def _principal(request: Request, dialect: Dialect) -> Principal:
    """Whoever asks sees the models that it may use. Raises InvalidKey, PermissionDenied."""
    principal = await dialect.principal(headers.read(request.headers.raw))
    principal.may("model.read")
    return principal
