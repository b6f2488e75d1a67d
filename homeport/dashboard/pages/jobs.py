"""What goes on outlasting a request: batches, fine-tuning, ingestion, runs; all of them, and each."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request

from homeport.dashboard.client import Client, Refused
from homeport.dashboard.page import Page
from homeport.dashboard.pages.batch import batch
from homeport.dashboard.pages.fine_tuning import fine_tuning
from homeport.dashboard.pages.ingestion import failed_or_under_way, ingestion
from homeport.dashboard.pages.run import run

#: Of `?show=`, with what they are called; the first is shown where nobody chooses.
_PARTS = {"batches": "Batches", "fine-tuning": "Fine-tuning", "ingestion": "Ingestion", "runs": "Runs"}
_OVER = frozenset({"completed", "succeeded", "failed", "cancelled", "expired", "incomplete", "paused"})
_ACTIVE_RUNS = ["queued", "in_progress", "requires_action", "cancelling"]
_ROWS = 50
#: What forms offer of files: the latest.
_FILES = 100


class Part(NamedTuple):
    """refused: why there are no rows, in the API's words. active: how many go on. more: after which row there are
    others."""

    rows: Sequence[Mapping[str, Any]] = ()
    active: int = 0
    more: str | None = None
    refused: str = ""


async def _jobs(client: Client, request: Request) -> Mapping[str, Any]:
    asked = request.query_params.get("show", "")
    shown = asked if asked in _PARTS else next(iter(_PARTS))
    after = request.query_params.get("after") or None
    *parts, forms, assistants = await asyncio.gather(
        _part(client, "/v1/batches"),
        _part(client, "/v1/fine_tuning/jobs"),
        _ingestion(client),
        _runs(client),
        _forms(client, shown),
        _names(client, shown),
    )
    found: dict[str, Part] = dict(zip(_PARTS, parts, strict=True))
    if after is not None and shown != "ingestion":
        path = {"batches": "/v1/batches", "fine-tuning": "/v1/fine_tuning/jobs", "runs": "/v1/homeport/runs"}[shown]
        page = await client.get(path, limit=_ROWS, after=after)
        found[shown] = found[shown]._replace(rows=page["data"], more=_more(page))
    return {
        "parts": _PARTS,
        "found": found,
        "shown": shown,
        "part": found[shown],
        "after": after,
        "forms": forms,
        "assistants": assistants,
    }


async def _part(client: Client, path: str) -> Part:
    try:
        page = await client.get(path, limit=_ROWS)
    except Refused as refused:
        return Part(refused=refused.message)
    active = sum(one["status"] not in _OVER for one in page["data"])
    return Part(page["data"], active, _more(page))


async def _runs(client: Client) -> Part:
    part = await _part(client, "/v1/homeport/runs")
    if part.more is None:
        return part
    active = await client.get("/v1/homeport/runs", limit=100, status=_ACTIVE_RUNS)
    return part._replace(active=len(active["data"]))


async def _ingestion(client: Client) -> Part:
    try:
        rows, active = await failed_or_under_way(client, _ROWS)
    except Refused as refused:
        return Part(refused=refused.message)
    return Part(rows, active)


async def _forms(client: Client, shown: str) -> Mapping[str, Any]:
    """What can be chosen from to begin another."""
    purpose = {"batches": "batch", "fine-tuning": "fine-tune"}.get(shown)
    if purpose is None:
        return {"files": [], "models": []}
    files, models = await asyncio.gather(
        _listed(client, "/v1/files", purpose=purpose, limit=_FILES), _listed(client, "/v1/models")
    )
    return {"files": files, "models": models}


async def _names(client: Client, shown: str) -> Mapping[str, str]:
    """Of assistants, by their ids."""
    if shown != "runs":
        return {}
    listed = await _listed(client, "/v1/assistants", limit=100)
    return {one["id"]: one["name"] for one in listed if one["name"]}


async def _listed(client: Client, path: str, **query: Any) -> Sequence[Mapping[str, Any]]:
    """Nothing, where the key may not see it: the page is good without."""
    try:
        found: Sequence[Mapping[str, Any]] = (await client.get(path, **query))["data"]
    except Refused:
        return []
    return found


def _more(page: Mapping[str, Any]) -> str | None:
    return page["data"][-1]["id"] if page["has_more"] else None


PAGES = [
    Page("/jobs", "jobs", "Jobs", "project", _jobs, group="Work", icon="jobs"),
    Page("/batches/{batch_id}", "batch", "Batch", "project", batch, under="jobs"),
    Page("/fine-tuning/{job_id}", "fine_tuning", "Fine-tuning job", "project", fine_tuning, under="jobs"),
    Page("/ingestion/{vector_store_id}", "ingestion", "Ingestion", "project", ingestion, under="jobs"),
    Page("/runs/{thread_id}/{run_id}", "run", "Run", "project", run, under="jobs"),
]
