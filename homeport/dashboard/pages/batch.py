"""One batch: how far it is, and what came of it."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.pages.named_files import named_files

_OVER = frozenset({"completed", "failed", "cancelled", "expired"})
#: What has happened to it, in its order.
_MOMENTS = {
    "created_at": "Created",
    "in_progress_at": "Began",
    "cancelling_at": "Cancelling",
    "finalizing_at": "Finalizing",
    "completed_at": "Completed",
    "failed_at": "Failed",
    "expired_at": "Expired",
    "cancelled_at": "Cancelled",
}


async def batch(client: Client, request: Request) -> Mapping[str, Any]:
    found = await client.get(f"/v1/batches/{request.path_params['batch_id']}")
    counts = found["request_counts"]
    return {
        "batch": found,
        "over": found["status"] in _OVER,
        "done": counts["completed"] + counts["failed"],
        "moments": [(word, found[name]) for name, word in _MOMENTS.items() if found[name] is not None],
        "files": await named_files(client, found["input_file_id"], found["output_file_id"], found["error_file_id"]),
    }
