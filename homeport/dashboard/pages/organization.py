"""The organization: its admin keys, its people, its budget."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client, Refused
from homeport.dashboard.page import Page
from homeport.dashboard.pages.spending import Budget, budget, this_month

_NOT_FOUND = 404


async def _organization(client: Client, request: Request) -> Mapping[str, Any]:
    keys, users, invites, alerts, spent, projects = await asyncio.gather(
        client.every("/v1/organization/admin_api_keys"),
        client.every("/v1/organization/users"),
        client.every("/v1/organization/invites"),
        client.every("/v1/organization/spend_alerts"),
        this_month(client, "project_id"),
        client.every("/v1/organization/projects"),
    )
    total = sum(spent.values())
    return {
        "keys": keys,
        "users": users,
        "invites": [one for one in invites if one["status"] != "accepted"],
        "alerts": alerts,
        "alerts_path": "/v1/organization/spend_alerts",
        "spent": total,
        "budgets": await _budgets(client, total),
        "projects": projects,
        "own": {one.key_id for one in (client.who.project, client.who.admin) if one is not None},
    }


async def _budgets(client: Client, spent: Any) -> Mapping[str, Budget]:
    """OpenAI's has a month alone, and says that there is none with a 404."""
    try:
        return {"month": budget(await client.get("/v1/organization/spend_limit"), spent)}
    except Refused as refused:
        if refused.status != _NOT_FOUND:
            raise
        return {}


PAGES = [Page("/organization", "organization", "Organization", "admin", _organization, group="Manage", icon="key")]
