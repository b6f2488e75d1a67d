"""One fine-tuning job: its settings, its checkpoints, and the model that came of it. Its curves are drawn from its
events, by the page's module."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client, Refused
from homeport.dashboard.pages.named_files import named_files

_OVER = frozenset({"succeeded", "failed", "cancelled"})


async def fine_tuning(client: Client, request: Request) -> Mapping[str, Any]:
    path = f"/v1/fine_tuning/jobs/{request.path_params['job_id']}"
    job, checkpoints = await asyncio.gather(client.get(path), client.get(f"{path}/checkpoints", limit=100))
    files, there = await asyncio.gather(
        named_files(client, job["training_file"], job["validation_file"], *job["result_files"]),
        _is_there(client, job["fine_tuned_model"]),
    )
    method = job["method"]["type"]
    return {
        "job": job,
        "over": job["status"] in _OVER,
        "method": method,
        "hyperparameters": job["method"][method]["hyperparameters"] or {},
        "checkpoints": checkpoints["data"],
        "files": files,
        "model_is_there": there,
    }


async def _is_there(client: Client, model: str | None) -> bool:
    """It may have been deleted since."""
    if model is None:
        return False
    try:
        await client.get(f"/v1/models/{model}")
    except Refused:
        return False
    return True
