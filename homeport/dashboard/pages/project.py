"""A project, in parts: its keys, who is in it, its limits, its budget, its models."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Data, Page
from homeport.dashboard.pages.spending import budgets, this_month

#: A page of keys: the budget of each is asked for by itself.
_MOST_KEYS = 50

#: Members of `project.rate_limit`, in words.
LIMITS: Mapping[str, str] = {
    "max_requests_per_1_minute": "requests a minute",
    "max_tokens_per_1_minute": "tokens a minute",
    "max_requests_per_1_day": "requests a day",
    "max_tokens_per_1_day": "tokens a day",
    "max_images_per_1_minute": "images a minute",
    "max_audio_megabytes_per_1_minute": "megabytes of audio a minute",
    "max_concurrent_requests": "requests at once",
    "batch_1_day_max_input_tokens": "enqueued tokens of batches",
}

_Part = Callable[[Client, Request, str], Awaitable[Mapping[str, Any]]]


def _of(part: str, title: str, ask: _Part) -> Data:
    """What every part shows of the project, with its own."""

    async def data(client: Client, request: Request) -> Mapping[str, Any]:
        project_id = request.path_params["project_id"]
        project = await client.get(f"/v1/organization/projects/{project_id}")
        shown = {"project": project, "part": part, "title": f"{project['name']}: {title}", "limits_in_words": LIMITS}
        return {**shown, **await ask(client, request, project_id)}

    return data


async def _keys(client: Client, request: Request, project_id: str) -> Mapping[str, Any]:
    after = request.query_params.get("after")
    listed, spent, people, accounts, scopes = await asyncio.gather(
        client.get(f"/v1/organization/projects/{project_id}/api_keys", limit=_MOST_KEYS, after=after),
        this_month(client, "api_key_id", project_ids=[project_id]),
        client.every(f"/v1/organization/projects/{project_id}/users"),
        client.every(f"/v1/organization/projects/{project_id}/service_accounts"),
        client.get("/v1/homeport/scopes"),
    )
    limits = await asyncio.gather(
        *(client.get(f"/v1/homeport/projects/{project_id}/api_keys/{one['id']}/spend_limit") for one in listed["data"])
    )
    return {
        "keys": [
            {**key, "spent": spent.get(key["id"], 0), "budgets": budgets(limit["data"])}
            for key, limit in zip(listed["data"], limits, strict=True)
        ],
        "first": after is None,
        "more_after": listed["last_id"] if listed["has_more"] else None,
        "people": people,
        "accounts": accounts,
        "scopes": [one["id"] for one in scopes["data"]],
        "own": {one.key_id for one in (client.who.project, client.who.admin) if one is not None},
    }


async def _members(client: Client, request: Request, project_id: str) -> Mapping[str, Any]:
    people, accounts, keys, users = await asyncio.gather(
        client.every(f"/v1/organization/projects/{project_id}/users"),
        client.every(f"/v1/organization/projects/{project_id}/service_accounts"),
        client.every(f"/v1/organization/projects/{project_id}/api_keys"),
        client.every("/v1/organization/users"),
    )
    inside = {one["id"] for one in people}
    owners = Counter(key["owner"].get("service_account", {}).get("id") for key in keys)
    return {
        "people": people,
        "accounts": [{**one, "keys": owners[one["id"]]} for one in accounts],
        "others": [one for one in users if one["id"] not in inside],
    }


async def _limits(client: Client, request: Request, project_id: str) -> Mapping[str, Any]:
    limits, tiers = await asyncio.gather(
        client.get(f"/v1/homeport/projects/{project_id}/rate_limits", limit=1000), client.get("/v1/homeport/tiers")
    )
    return {"rate_limits": limits["data"], "tiers": tiers["data"]}


async def _budget(client: Client, request: Request, project_id: str) -> Mapping[str, Any]:
    limits, spent, alerts = await asyncio.gather(
        client.get(f"/v1/homeport/projects/{project_id}/spend_limit"),
        this_month(client, "project_id", project_ids=[project_id]),
        client.every(f"/v1/organization/projects/{project_id}/spend_alerts"),
    )
    return {
        "budgets": budgets(limits["data"]),
        "spent": spent.get(project_id, 0),
        "alerts": alerts,
        "alerts_path": f"/v1/organization/projects/{project_id}/spend_alerts",
    }


async def _models(client: Client, request: Request, project_id: str) -> Mapping[str, Any]:
    permissions, moderation, limits = await asyncio.gather(
        client.get(f"/v1/organization/projects/{project_id}/model_permissions"),
        client.get(f"/v1/homeport/projects/{project_id}/moderation"),
        client.get(f"/v1/homeport/projects/{project_id}/rate_limits", limit=1000),
    )
    return {
        "permissions": permissions,
        "moderation": moderation,
        "known": [one["model"] for one in limits["data"]],
    }


def _page(path: str, name: str, title: str, ask: _Part) -> Page:
    data = _of(name, title, ask)
    return Page(f"/projects/{{project_id}}{path}", name, title, "admin", data, under="projects")


PAGES = [
    _page("", "project_keys", "API keys", _keys),
    _page("/members", "project_members", "Members", _members),
    _page("/limits", "project_limits", "Rate limits", _limits),
    _page("/budget", "project_budget", "Budget", _budget),
    _page("/models", "project_models", "Models", _models),
]
