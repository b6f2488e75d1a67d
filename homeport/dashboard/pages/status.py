"""How the server is."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from homeport import clock
from homeport.dashboard.client import Client
from homeport.dashboard.page import Page


async def _status(client: Client, request: Request) -> Mapping[str, Any]:
    status = await client.get("/v1/homeport/status")
    return {
        "status": status,
        "sentence": sentence(status),
        "uptime": clock.now() - status["server"]["started_at"],
        "everything": status["disk"] is not None,
        "named": [one for one in status["names"] if not _is_itself(one)],
    }


def sentence(status: Mapping[str, Any]) -> str:
    problems = len(status["problems"])
    if status["status"] == "unavailable":
        return "Requests are refused just now."
    if not problems:
        return "Everything works."
    return (
        "One thing does not work as it should." if problems == 1 else f"{problems} things do not work as they should."
    )


def _is_itself(name: Mapping[str, Any]) -> bool:
    """A model of this machine under its own name: it is in another table."""
    return bool(name["answers"] == [{"backend": "local", "model": name["id"]}])


PAGES = [Page("/status", "status", "Status", "any", _status, group="Observe", icon="status")]
