"""Assistants and their threads, in the playground."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.models import offered
from homeport.dashboard.page import Page


async def _assistants(client: Client, request: Request) -> Mapping[str, Any]:
    models, assistants, threads, stores = await asyncio.gather(
        client.get("/v1/models"),
        client.get("/v1/assistants", limit=100),
        client.get("/v1/homeport/threads", limit=50),
        client.get("/v1/vector_stores", limit=100),
    )
    return {
        "offered": offered(models["data"], "chat"),
        "assistants": assistants["data"],
        "threads": threads["data"],
        "stores": stores["data"],
        "assistant_id": request.query_params.get("assistant", ""),
        "thread_id": request.query_params.get("thread", ""),
    }


PAGES = [
    Page("/assistants", "assistants", "Assistants", "project", _assistants, group="Playground", icon="assistant"),
]
