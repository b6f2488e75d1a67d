"""Images, in the playground."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.models import offered
from homeport.dashboard.page import Page


async def _models(client: Client, request: Request) -> Mapping[str, Any]:
    listed = (await client.get("/v1/models"))["data"]
    like = ("image", "dall-e", "diffusion", "flux", "imagen")
    return {"drawing": offered(listed, "draw", like=like), "editing": offered(listed, "edit_image", like=like)}


PAGES = [Page("/images", "images", "Images", "project", _models, group="Playground", icon="image")]
