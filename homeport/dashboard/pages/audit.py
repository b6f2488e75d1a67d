"""The audit log: who changed what, and when."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from homeport.dashboard.client import Client
from homeport.dashboard.page import Page
from homeport.dashboard.pages.audit_words import KINDS, NAMING, entry, ids, name

_AT_ONCE = 50
_MOST = 100
#: What the form says, and its address.
_FILTERS = ("kind", "project", "actor", "resource", "since", "until")


async def _audit(client: Client, request: Request) -> Mapping[str, Any]:
    chosen = {one: request.query_params.get(one, "").strip() for one in _FILTERS}
    after, before = request.query_params.get("after"), request.query_params.get("before")
    log, projects, users = await asyncio.gather(
        client.get("/v1/organization/audit_logs", limit=_AT_ONCE, after=after, before=before, **_query(chosen)),
        client.every("/v1/organization/projects", include_archived="true"),
        client.every("/v1/organization/users"),
    )
    names = {one["id"]: one["name"] or one["email"] for one in users}
    names |= await _names(client, log["data"])
    asked = {one: value for one, value in chosen.items() if value}
    older, newer = _places(log, after=after, before=before)
    return {
        "entries": [entry(one, names) for one in log["data"]],
        "kinds": KINDS,
        "projects": projects,
        "chosen": chosen,
        "filtered": bool(asked),
        "older": urlencode({**asked, "after": older}) if older else None,
        "newer": urlencode({**asked, "before": newer}) if newer else None,
    }


async def _names(client: Client, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """What keys, service accounts and invites were called when they were made: some are no more."""
    wanted = sorted({one for raw in entries for one in ids(raw)})
    if not wanted:
        return {}
    made = await client.get("/v1/organization/audit_logs", limit=_MOST, event_types=list(NAMING), resource_ids=wanted)
    return {raw[raw["type"]]["id"]: name(raw) for raw in made["data"] if name(raw)}


def _query(chosen: Mapping[str, str]) -> Mapping[str, Any]:
    """As the API has it. What is no date, or no kind, is left out."""
    kind = KINDS.get(
        chosen["kind"], (chosen["kind"],) if any(chosen["kind"] in those for those in KINDS.values()) else ()
    )
    actor = chosen["actor"]
    found: dict[str, Any] = {
        "event_types": list(kind),
        "project_ids": [chosen["project"]] if chosen["project"] else [],
        "actor_emails" if "@" in actor else "actor_ids": [actor] if actor else [],
        "resource_ids": [chosen["resource"]] if chosen["resource"] else [],
    }
    since, until = _day(chosen["since"]), _day(chosen["until"])
    if since is not None:
        found["effective_at[gte]"] = _seconds(since)
    if until is not None:
        found["effective_at[lt]"] = _seconds(until + timedelta(days=1))
    return found


def _places(log: Mapping[str, Any], *, after: str | None, before: str | None) -> tuple[str | None, str | None]:
    """Of the pages on both sides: older and newer entries."""
    if not log["data"]:
        return None, None
    backwards = before is not None and after is None
    older = log["last_id"] if backwards or log["has_more"] else None
    newer = log["first_id"] if (log["has_more"] if backwards else after is not None) else None
    return older, newer


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


PAGES = [Page("/audit", "audit", "Audit log", "admin", _audit, group="Manage", icon="audit")]
