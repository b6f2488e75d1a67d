"""Embeddings, in the playground: how near texts are to each other."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.models import offered
from homeport.dashboard.page import Page
from homeport.settings import DEFAULT_EMBEDDING_MODEL


async def _models(client: Client, request: Request) -> Mapping[str, Any]:
    listed = (await client.get("/v1/models"))["data"]
    return {"offered": offered(listed, "embed", like=("embed",)), "default": DEFAULT_EMBEDDING_MODEL}


PAGES = [Page("/embeddings", "embeddings", "Embeddings", "project", _models, group="Playground", icon="vector")]
