"""Projects, and the organization that they are of."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page
from homeport.dashboard.pages import organization, project
from homeport.dashboard.pages.spending import budgets, this_month

#: A page of them: what is told of each is asked for by itself.
_MOST = 50
_MOST_KEYS = 100


async def _projects(client: Client, request: Request) -> Mapping[str, Any]:
    archived = request.query_params.get("archived") == "true"
    listed, spent, tiers = await asyncio.gather(
        client.get(
            "/v1/organization/projects",
            limit=_MOST,
            after=request.query_params.get("after"),
            include_archived="true" if archived else None,
        ),
        this_month(client, "project_id"),
        client.get("/v1/homeport/tiers"),
    )
    shown = await asyncio.gather(*(_row(client, one) for one in listed["data"]))
    return {
        "projects": [{**one, "spent": spent.get(one["id"], 0)} for one in shown],
        "archived": archived,
        "first": request.query_params.get("after") is None,
        "more_after": listed["last_id"] if listed["has_more"] else None,
        "default_tier": next(one["id"] for one in tiers["data"] if one["default"]),
    }


async def _row(client: Client, one: Mapping[str, Any]) -> Mapping[str, Any]:
    keys, limits = await asyncio.gather(
        client.get(f"/v1/organization/projects/{one['id']}/api_keys", limit=_MOST_KEYS),
        client.get(f"/v1/homeport/projects/{one['id']}/spend_limit"),
    )
    count = f"{len(keys['data'])}{'+' if keys['has_more'] else ''}"
    return {**one, "keys": count, "budgets": budgets(limits["data"])}


PAGES = [
    Page("/projects", "projects", "Projects", "admin", _projects, group="Manage", icon="folder"),
    *project.PAGES,
    *organization.PAGES,
]
