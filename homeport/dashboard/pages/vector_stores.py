"""Vector stores, and what they find."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client, Refused
from homeport.dashboard.page import Page

_PAGE = 50
#: Files that can be chosen for a store: the newest.
_CHOICE = 200
#: Names of files that are asked for at once.
_AT_ONCE = 8


async def _stores(client: Client, request: Request) -> Mapping[str, Any]:
    after = request.query_params.get("after")
    found = await client.get("/v1/vector_stores", limit=_PAGE, order="desc", after=after)
    return {"stores": found["data"], "more": found["has_more"]}


async def _store(client: Client, request: Request) -> Mapping[str, Any]:
    path = f"/v1/vector_stores/{request.path_params['store_id']}"
    after, filter = request.query_params.get("after"), request.query_params.get("filter")
    store, found, choice = await asyncio.gather(
        client.get(path),
        client.get(f"{path}/files", limit=_PAGE, order="desc", after=after, filter=filter or None),
        client.get("/v1/files", limit=_CHOICE, order="desc", purpose="assistants"),
    )
    names = {one["id"]: one["filename"] for one in choice["data"]}
    missing = [one["id"] for one in found["data"] if one["id"] not in names]
    names |= await _names(client, missing)
    return {
        "store": store,
        "title": store["name"] or store["id"],
        "files": [{**one, "filename": names.get(one["id"], one["id"])} for one in found["data"]],
        "more": found["has_more"],
        "filter": filter or "",
        "choice": choice["data"],
    }


async def _names(client: Client, file_ids: list[str]) -> dict[str, str]:
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(file_id: str) -> str:
        async with turn:
            try:
                return str((await client.get(f"/v1/files/{file_id}"))["filename"])
            except Refused:  # it was deleted meanwhile
                return file_id

    return dict(zip(file_ids, await asyncio.gather(*map(one, file_ids)), strict=True))


PAGES = [
    Page("/vector-stores", "vector_stores", "Vector stores", "project", _stores, group="Work", icon="store"),
    Page("/vector-stores/{store_id}", "vector_store", "Vector store", "project", _store, under="vector_stores"),
]
