"""The latest requests, and their receipts."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from homeport import clock
from homeport.dashboard.client import Client
from homeport.dashboard.page import Page
from homeport.dashboard.pages.names import key_names, project_names

_ROWS = 50
#: What they may be chosen by: field of the form -> parameter of the API.
CHOSEN = {
    "model": "models",
    "endpoint": "endpoints",
    "outcome": "outcomes",
    "project": "project_ids",
    "key": "api_key_ids",
}
ENDPOINTS = (
    *("chat.completions", "completions", "embeddings", "moderations", "rerank"),
    *("audio.transcriptions", "audio.translations", "audio.speech"),
    *("images.generations", "images.edits", "images.variations", "fine_tuning.jobs"),
)
OUTCOMES = {
    "completed": "completed",
    "failed": "failed",
    "left": "left: the client went",
    "killed": "killed: the process was",
}
#: Seconds to look back.
SINCE = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}


async def _requests(client: Client, request: Request) -> Mapping[str, Any]:
    asked = {name: request.query_params.get(name, "") for name in (*CHOSEN, "since")}
    after = request.query_params.get("after") or None
    seconds = SINCE.get(asked["since"])
    page, projects = await asyncio.gather(
        client.get(
            "/v1/homeport/requests",
            limit=_ROWS,
            after=after,
            start_time=None if seconds is None else int(clock.now()) - seconds,
            **{parameter: [asked[name]] for name, parameter in CHOSEN.items() if asked[name]},
        ),
        project_names(client),
    )
    kept = {name: value for name, value in asked.items() if value}
    key = asked["key"]
    keys = await key_names(client, {one["project_id"] for one in page["data"]}) if key else {}
    return {
        "rows": page["data"],
        "asked": asked,
        "after": after,
        "projects": projects,
        "key_name": keys.get(key, key),
        "endpoints": ENDPOINTS,
        "outcomes": OUTCOMES,
        "since": SINCE,
        "models": sorted({one["model"] for one in page["data"]}),
        "newest": "?" + urlencode(kept),
        "older": "?" + urlencode(kept | {"after": page["last_id"]}) if page["has_more"] else None,
        "without_key": "?" + urlencode({name: value for name, value in kept.items() if name != "key"}),
    }


async def _receipt(client: Client, request: Request) -> Mapping[str, Any]:
    receipt, projects = await asyncio.gather(
        client.get(f"/v1/homeport/receipts/{request.path_params['request_id']}"), project_names(client)
    )
    keys = await key_names(client, [receipt["project_id"]])
    return {
        "receipt": receipt,
        "title": f"Request {receipt['id']}",
        "project": projects.get(receipt["project_id"], receipt["project_id"]),
        "key": keys.get(receipt["api_key_id"], receipt["api_key_id"]),
        "used": {name.replace("_", " "): count for name, count in receipt["usage"].items() if count},
        "speed": _speed(receipt),
    }


def _speed(receipt: Mapping[str, Any]) -> float | None:
    """Tokens a second of the answer, once it had begun; of streams, whose first piece has a time of its own."""
    seconds = (receipt["total_ms"] - receipt["first_ms"]) / 1000
    tokens = receipt["usage"]["output_tokens"]
    return tokens / seconds if receipt["stream"] and seconds > 0 and tokens > 1 and not receipt["cache_hit"] else None


PAGES = [
    Page("/requests", "requests", "Requests", "any", _requests, group="Observe", icon="list"),
    Page("/requests/{request_id}", "request", "Request", "any", _receipt, under="requests"),
]
