"""Files."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page

#: What files may be uploaded for, and what each is.
PURPOSES = {
    "assistants": "to search, and for code",
    "batch": "lines of a batch, JSONL",
    "fine-tune": "training examples, JSONL",
    "vision": "pictures for assistants",
    "user_data": "anything else",
    "evals": "data of evaluations, JSONL",
}
_PAGE = 50


async def _files(client: Client, request: Request) -> Mapping[str, Any]:
    purpose, after = request.query_params.get("purpose"), request.query_params.get("after")
    found = await client.get("/v1/files", limit=_PAGE, order="desc", purpose=purpose or None, after=after)
    return {"files": found["data"], "more": found["has_more"], "purpose": purpose or "", "purposes": PURPOSES}


async def _file(client: Client, request: Request) -> Mapping[str, Any]:
    file = await client.get(f"/v1/files/{request.path_params['file_id']}")
    return {"file": file, "title": file["filename"]}


PAGES = [
    Page("/files", "files", "Files", "project", _files, group="Work", icon="file"),
    Page("/files/{file_id}", "file", "File", "project", _file, under="files"),
]
