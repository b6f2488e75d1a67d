"""Chat, in the playground."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.models import offered
from homeport.dashboard.page import Page
from homeport.settings import DEFAULT_MODEL

_LIKE = ("gpt-", "chat", "o1", "o3", "o4", "claude", "gemini", "llama", "mistral", "qwen", "instruct")


async def _models(client: Client, request: Request) -> Mapping[str, Any]:
    listed = (await client.get("/v1/models"))["data"]
    return {"offered": offered(listed, "chat", like=_LIKE), "default": DEFAULT_MODEL}


PAGES = [Page("/chat", "chat", "Chat", "project", _models, group="Playground", icon="chat")]
