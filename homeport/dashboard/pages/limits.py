"""How full each rate limit and each budget is."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page
from homeport.dashboard.pages.names import key_names, project_names

#: Of a limit: what it counts, and in which time.
WORDS = {
    "max_requests_per_1_minute": ("requests", "a minute"),
    "max_requests_per_1_day": ("requests", "a day"),
    "max_tokens_per_1_minute": ("tokens", "a minute"),
    "max_tokens_per_1_day": ("tokens", "a day"),
    "max_images_per_1_minute": ("images", "a minute"),
    "max_audio_megabytes_per_1_minute": ("MB of audio", "a minute"),
    "max_concurrent_requests": ("requests", "at once"),
    "batch_1_day_max_input_tokens": ("tokens", "in batches"),
}


class Pool(NamedTuple):
    """What is counted together: models of one family, of the project or of one of its keys."""

    model: str
    key: str | None
    limits: Sequence[Mapping[str, Any]]

    @property
    def used(self) -> bool:
        return any(one["used"] > 0 for one in self.limits)


async def _limits(client: Client, request: Request) -> Mapping[str, Any]:
    answer, names = await asyncio.gather(
        client.get("/v1/homeport/limits", limit=100, after=request.query_params.get("after")), project_names(client)
    )
    projects = answer["data"]
    of_keys = {project["id"] for project in projects if any(one["api_key_id"] for one in _all(project))}
    keys = await key_names(client, of_keys)
    house = [one for one in projects[0]["budgets"] if one["scope"] == "organization"] if projects else []
    shown = [_project(project, names.get(project["id"], project["id"])) for project in projects]
    return {
        "projects": sorted(shown, key=lambda one: (one["quiet"], one["name"])),
        "house": house,
        "keys": keys,
        "words": WORDS,
        "older": answer["last_id"] if answer["has_more"] else None,
    }


def _project(project: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """quiet: nothing of its limits is in use."""
    pools = _pools(project["rate_limits"])
    return {
        "id": project["id"],
        "name": name,
        "budgets": [one for one in project["budgets"] if one["scope"] != "organization"],
        "pools": pools,
        "quiet": not any(pool.used for pool in pools),
    }


def _all(project: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (*project["rate_limits"], *project["budgets"])


def _pools(limits: Sequence[Mapping[str, Any]]) -> Sequence[Pool]:
    found: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for one in limits:
        found.setdefault((one["model"], one["api_key_id"]), []).append(one)
    return [Pool(*whose, those) for whose, those in found.items()]


PAGES = [Page("/limits", "limits", "Limits", "any", _limits, group="Observe", icon="gauge")]
