"""Files on their way into vector stores: over all stores, and those of one."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.pages.named_files import named_files

_FILTERS = {
    "": "All",
    "in_progress": "In progress",
    "failed": "Failed",
    "completed": "Completed",
    "cancelled": "Cancelled",
}
_ROWS = 50
_STORES = 100


async def failed_or_under_way(client: Client, most: int) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Files, the latest first, with their `name` and their `store`; and how many are under way. Of the latest 100
    stores, of which those are asked that say they have such files. Raises Refused."""
    stores = (await client.get("/v1/vector_stores", limit=_STORES))["data"]
    asked = [
        (store, status)
        for store in stores
        for status in ("in_progress", "failed")
        if store["file_counts"][status] and store["status"] != "expired"
    ]
    pages = await asyncio.gather(
        *[client.get(f"/v1/vector_stores/{store['id']}/files", filter=status, limit=most) for store, status in asked]
    )
    files = [{**file, "store": store} for (store, _), page in zip(asked, pages, strict=True) for file in page["data"]]
    files.sort(key=lambda file: (file["status"] == "in_progress", file["created_at"]), reverse=True)
    active = sum(store["file_counts"]["in_progress"] for store in stores)
    return await _named(client, files[:most]), active


async def ingestion(client: Client, request: Request) -> Mapping[str, Any]:
    path = f"/v1/vector_stores/{request.path_params['vector_store_id']}"
    asked = request.query_params.get("filter", "")
    chosen = asked if asked in _FILTERS else ""
    after = request.query_params.get("after") or None
    store, page = await asyncio.gather(
        client.get(path), client.get(f"{path}/files", limit=_ROWS, filter=chosen or None, after=after)
    )
    counts = store["file_counts"]
    return {
        "store": store,
        "filters": _FILTERS,
        "chosen": chosen,
        "after": after,
        "done": counts["total"] - counts["in_progress"],
        "rows": await _named(client, page["data"]),
        "more": page["data"][-1]["id"] if page["has_more"] else None,
    }


async def _named(client: Client, files: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    names = await named_files(client, *[file["id"] for file in files])
    return [{**file, "name": names[file["id"]]["filename"] if file["id"] in names else file["id"]} for file in files]
