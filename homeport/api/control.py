"""The routes of the control plane: OpenAI's Admin API under `/v1/organization`, and ours under `/v1/homeport`."""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from homeport.api import admin_usage, cache, conformance
from homeport.api.admin import routes as admin
from homeport.api.limits import Limits
from homeport.api.openai import bearer_of
from homeport.api.receipts import Find, Receipts
from homeport.api.requests import Requests
from homeport.control.changes import Actor, Changes
from homeport.control.rate_limits import Tiers
from homeport.control.spend_limits import Spent
from homeport.control.usage import Usage
from homeport.gateway.cache import Cache
from homeport.gateway.endpoints import SCOPES
from homeport.gateway.fullness import Fullness
from homeport.gateway.keyring import Keyring
from homeport.settings import Moderation
from homeport.store.usage_newest import UsageNewest


def routes(
    keyring: Keyring,
    *,
    changes: Changes,
    tiers: Tiers,
    spent: Spent,
    usage: Usage,
    find: Find,
    used: Callable[[str], None],
    newest: UsageNewest,
    fullness: Fullness,
    organization: str,
    kept: Cache | None = None,
    moderation: Moderation | None = None,
) -> Sequence[BaseRoute]:
    async def authorize(request: Request, scope: str = "") -> Actor:
        """Whoever holds an admin key. Raises InvalidKey (401), PermissionDenied (403)."""
        principal = keyring.administrator(bearer_of(request))
        used(principal.key_id)
        user = principal.user if principal.email else None  # else it is a service account's, or nobody's
        return Actor(principal.key_id, user, principal.email or None)

    return [
        *admin.routes(
            changes,
            authorize,
            tiers=tiers,
            scopes=SCOPES,
            spent=spent,
            organization=f"org-{organization}",
            moderation=moderation,
        ),
        *admin_usage.routes(usage, authorize),
        *cache.routes(kept, authorize),
        Route("/v1/homeport/requests", Requests(keyring, newest, find).list, methods=["GET"]),
        Route("/v1/homeport/limits", Limits(keyring, fullness).list, methods=["GET"]),
        *conformance.routes(keyring),
        Route("/v1/homeport/receipts/{request_id}", Receipts(keyring, find).retrieve, methods=["GET"]),
    ]
