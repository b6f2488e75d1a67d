"""Names of projects and keys, for pages whose answers have ids. Whoever may not see them sees the ids."""

import asyncio
from collections.abc import Iterable

from homeport.dashboard.client import Client, Refused


async def project_names(client: Client) -> dict[str, str]:
    """By id, of all that there are."""
    if client.who.admin is None:
        return {}
    return await _names(client, "/v1/organization/projects", include_archived="true")


async def key_names(client: Client, projects: Iterable[str]) -> dict[str, str]:
    """By id, of these projects' keys that have not been deleted."""
    if client.who.admin is None:
        return {}
    listed = await asyncio.gather(*(_of_project(client, project) for project in {*projects} - {""}))
    return {key: name for names in listed for key, name in names.items()}


async def _of_project(client: Client, project: str) -> dict[str, str]:
    """None where there is no such project: records outlive it."""
    try:
        return await _names(client, f"/v1/organization/projects/{project}/api_keys")
    except Refused:
        return {}


async def _names(client: Client, path: str, **query: str) -> dict[str, str]:
    return {one["id"]: one["name"] for one in await client.every(path, **query)}
