"""Chat, in the playground."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page


async def _models(client: Client, request: Request) -> Mapping[str, Any]:
    return {"models": (await client.get("/v1/models"))["data"]}


PAGES = [Page("/chat", "chat", "Chat", "project", _models, group="Playground", icon="chat")]
