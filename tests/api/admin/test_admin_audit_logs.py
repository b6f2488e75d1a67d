"""The audit log through the official SDK: every filter, and pages in both directions."""

from typing import Any

import pytest

from homeport import clock
from homeport.control.changes import COMMAND_LINE, Changes
from homeport.wire.admin.audit_logs import EVENT_TYPES, TENANT_EVENT_TYPES
from tests import openapi
from tests.api.admin.served import USERS_ADMIN, Served, refused


def ids_of(served: Served, **filters: Any) -> list[str]:
    """Of the entries that a filter admits, all pages."""
    return [entry.id for entry in served.admin.audit_logs.list(limit=5, **filters)]


def test_entries_are_what_the_description_says(served: Served, project: str) -> None:
    served.admin.projects.update(project, name="Renamed")
    served.admin.admin_api_keys.create(name="CI")
    listed = served.make("GET", "/v1/organization/audit_logs?limit=100")
    openapi.validate("ListAuditLogsResponse", listed)
    key, renamed, *_ = listed["data"]
    assert key["type"] == "api_key.created"
    assert "project" not in key
    assert renamed["type"] == "project.updated"
    assert renamed["project"] == {"id": project, "name": "Renamed"}
    assert renamed["project.updated"] == {"id": project, "changes_requested": {"name": "Renamed", "title": "Renamed"}}
    assert renamed["actor"] == {"type": "api_key", "api_key": {"id": "key_admin", "type": "service_account"}}
    assert [entry.to_dict() for entry in served.admin.audit_logs.list(limit=2).data] == [key, renamed]


def test_who_has_done_it(served: Served) -> None:
    """A key, a user's key, or whoever has the command line."""
    user = served.make_user("auditor@example.com")
    served.act_as(USERS_ADMIN, user["id"], user["email"])
    with served.client_of(USERS_ADMIN) as client:
        made = client.admin.organization.projects.create(name="Hers").id
    (entry,) = served.admin.audit_logs.list(resource_ids=[made])
    openapi.validate("AuditLog", entry.to_dict())
    assert entry.actor is not None
    assert entry.actor.api_key is not None
    assert entry.actor.api_key.user is not None
    assert (entry.actor.api_key.id, entry.actor.api_key.user.id) == ("key_of_user", user["id"])
    assert entry.id in ids_of(served, actor_emails=["auditor@example.com"])
    assert entry.id in ids_of(served, actor_ids=[user["id"]])
    assert entry.id in ids_of(served, actor_ids=["key_of_user", "nobody"])
    assert entry.id not in ids_of(served, actor_ids=["key_admin"])
    assert entry.id not in ids_of(served, actor_emails=["nobody@example.com"])

    async def by_hand() -> None:
        async with Changes(served.changes.database).change(COMMAND_LINE) as change:
            change.log("organization.updated", "org-x")

    served.run(by_hand())
    (newest,) = served.admin.audit_logs.list(limit=1).data
    openapi.validate("AuditLog", newest.to_dict())
    assert newest.id in ids_of(served, actor_ids=[COMMAND_LINE.id])


def test_filters(served: Served, project: str) -> None:
    other = served.admin.projects.create(name="Other").id
    account = served.admin.projects.service_accounts.create(project, name="robot")
    served.admin.projects.archive(other)
    of_project = ids_of(served, project_ids=[project])
    assert len(of_project) == 3
    assert len(ids_of(served, project_ids=[project, other])) == 5
    kinds: Any = ["service_account.created", "project.archived"]
    assert len(ids_of(served, project_ids=[project, other], event_types=kinds)) == 2
    (entry,) = served.admin.audit_logs.list(resource_ids=[account.id])
    assert entry.type == "service_account.created"
    assert ids_of(served, project_ids=["proj_nobody"]) == []
    assert ids_of(served, event_types=["login.failed"]) == []
    assert ids_of(served, tenant_only=True) == []
    assert ids_of(served, tenant_only=True, event_types=["tenant.user.added"]) == []


def test_filters_of_time(served: Served, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = int(clock.now()) + 1000
    for second in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", lambda at=start + second: at + 0.9)
            served.admin.projects.update(project, name=f"at {second}")

    def seconds(**bounds: int) -> list[int]:
        query = "&".join(f"effective_at[{name}]={start + value}" for name, value in bounds.items())
        listed = served.make("GET", f"/v1/organization/audit_logs?project_ids[]={project}&{query}")
        return [entry["effective_at"] - start for entry in listed["data"]]

    assert seconds(gt=0, lt=4) == [3, 2, 1]
    assert seconds(gte=0, lte=4) == [4, 3, 2, 1, 0]
    assert seconds(gte=3) == [4, 3]
    assert seconds(gt=4) == []
    assert len(ids_of(served, project_ids=[project], effective_at={"gte": start, "lt": start + 2})) == 2


def test_pages_back_and_forth(served: Served, project: str) -> None:
    for number in range(7):
        served.admin.projects.update(project, name=f"number {number}")
    path = f"/v1/organization/audit_logs?project_ids[]={project}"
    every = [entry["id"] for entry in served.make("GET", path)["data"]]
    assert len(every) == 8
    before = served.make("GET", f"{path}&limit=3&before={every[6]}")
    assert [entry["id"] for entry in before["data"]] == every[3:6]
    assert (before["has_more"], before["first_id"], before["last_id"]) == (True, every[3], every[5])
    first = served.make("GET", f"{path}&limit=3&before={every[3]}")
    assert [entry["id"] for entry in first["data"]] == every[:3]
    assert first["has_more"] is False
    between = served.make("GET", f"{path}&after={every[1]}&before={every[5]}")
    assert [entry["id"] for entry in between["data"]] == every[2:5]


def test_event_types_are_openais(served: Served) -> None:
    named = set(openapi.description()["components"]["schemas"]["AuditLogEventType"]["enum"])
    assert named <= EVENT_TYPES
    assert {kind for kind in named if kind.startswith("tenant.")} < TENANT_EVENT_TYPES
    assert {row.type for row in served.everything()["audit_logs"]} <= named


def test_wrong_filters(served: Served) -> None:
    path = "/v1/organization/audit_logs"
    refused(served.ask("GET", f"{path}?event_types[]=project.exploded"), 400, "event_types", code="invalid_value")
    refused(served.ask("GET", f"{path}?event_types[]=tenant.user.added"), 400, "tenant_only")
    refused(served.ask("GET", f"{path}?event_types[]=project.created&tenant_only=true"), 400, "tenant_only")
    refused(served.ask("GET", f"{path}?tenant_only=yes"), 400, "tenant_only")
    refused(served.ask("GET", f"{path}?effective_at[gt]=soon"), 400, "effective_at[gt]", code="invalid_type")
    refused(served.ask("GET", f"{path}?effective_at[near]=1"), 400, "effective_at[near]", code="unknown_parameter")
    refused(served.ask("GET", f"{path}?effective_at=1"), 400, "effective_at", code="unknown_parameter")
    refused(served.ask("GET", f"{path}?actor_ids[]=%00"), 400, "actor_ids[]", code="invalid_value")
    refused(served.ask("GET", f"{path}?effective_at[gt]=9999999999999999999"), 400, "effective_at[gt]")
