"""Projects through the official SDK: created, renamed, archived, and which models they may use."""

from typing import Any

import openai
import pytest

from tests import openapi
from tests.api.admin.served import Served, refused


def test_a_project_from_its_making_to_its_end(served: Served) -> None:
    made = served.admin.projects.create(name="Green")
    openapi.validate("Project", made.to_dict())
    assert (made.name, made.status, made.archived_at) == ("Green", "active", None)
    assert made.id.startswith("proj_")
    assert served.admin.projects.retrieve(made.id) == made
    renamed = served.admin.projects.update(made.id, name="Greener")
    assert renamed.name == "Greener"
    archived = served.admin.projects.archive(made.id)
    openapi.validate("Project", archived.to_dict())
    assert archived.status == "archived"
    assert archived.archived_at is not None
    created, updated, ended = served.last_entries(3)
    assert [entry.type for entry in (created, updated, ended)] == [
        "project.created",
        "project.updated",
        "project.archived",
    ]
    assert created.details == {"id": made.id, "data": {"name": "Green", "title": "Green"}}
    assert updated.details == {"id": made.id, "changes_requested": {"name": "Greener", "title": "Greener"}}
    assert ended.details == {"id": made.id}
    assert (ended.project_id, ended.project_name, ended.resource_id) == (made.id, "Greener", made.id)


def test_archived_projects_are_listed_when_asked_for(served: Served, project: str) -> None:
    served.admin.projects.archive(project)
    assert project not in {one.id for one in served.admin.projects.list(limit=100)}
    with_archived = served.admin.projects.list(limit=100, include_archived=True)
    assert project in {one.id for one in with_archived}


def test_an_update_of_nothing_changes_nothing(served: Served, project: str) -> None:
    with served.nothing_changes():
        served.make("POST", f"/v1/organization/projects/{project}", {})
        served.make("POST", f"/v1/organization/projects/{project}", {"name": None})


def test_the_default_project_stays(served: Served) -> None:
    with served.nothing_changes():
        with pytest.raises(openai.BadRequestError) as caught:
            served.admin.projects.archive(served.default_project)
        assert caught.value.param == "project_id"
    assert served.admin.projects.update(served.default_project, name="Ours").name == "Ours"
    with served.nothing_changes(), pytest.raises(openai.BadRequestError):
        served.admin.projects.archive(served.default_project)  # whatever it is called


def test_an_archived_project_is_as_it_was(served: Served, project: str) -> None:
    """Everything that would change it is refused; what is in it can still be read, and its keys be deleted."""
    key = served.make("POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "old"})
    account = served.admin.projects.service_accounts.create(project, name="robot")
    alert = {
        "threshold_amount": 5,
        "currency": "USD",
        "interval": "month",
        "notification_channel": {"type": "email", "recipients": ["a@example.com"]},
    }
    alert_id = served.make("POST", f"/v1/organization/projects/{project}/spend_alerts", alert)["id"]
    served.admin.projects.archive(project)
    limit = {"threshold_amount": 5, "currency": "USD", "interval": "month"}
    changes: list[tuple[str, str, Any]] = [
        ("POST", "organization/projects/P", {"name": "x"}),
        ("POST", "organization/projects/P/archive", None),
        ("POST", "organization/projects/P/model_permissions", {"mode": "allow_list", "model_ids": []}),
        ("DELETE", "organization/projects/P/model_permissions", None),
        ("POST", "homeport/projects/P", {"tier": None}),
        ("POST", "homeport/projects/P/api_keys", {"name": "x"}),
        ("POST", f"homeport/projects/P/api_keys/{key['id']}", {"name": "x"}),
        ("POST", f"homeport/projects/P/api_keys/{key['id']}/rotate", {}),
        ("POST", f"homeport/projects/P/api_keys/{key['id']}/spend_limit", limit),
        ("POST", f"organization/projects/P/api_keys/{key['id']}", {"scopes": []}),
        ("POST", "organization/projects/P/service_accounts", {"name": "x"}),
        ("POST", f"organization/projects/P/service_accounts/{account.id}", {"name": "x"}),
        ("POST", f"organization/projects/P/service_accounts/{account.id}/api_keys", {}),
        ("DELETE", f"organization/projects/P/service_accounts/{account.id}", None),
        ("POST", "organization/projects/P/users", {"role": "member", "email": "a@example.com"}),
        ("POST", "organization/projects/P/users/user-x", {"role": "member"}),
        ("DELETE", "organization/projects/P/users/user-x", None),
        ("POST", "organization/projects/P/rate_limits/rl-gpt-4", {"max_requests_per_1_minute": 1}),
        ("DELETE", "homeport/projects/P/rate_limits/rl-gpt-4", None),
        ("POST", "organization/projects/P/spend_limit", limit),
        ("DELETE", "organization/projects/P/spend_limit", None),
        ("POST", "organization/projects/P/spend_alerts", alert),
        ("POST", f"organization/projects/P/spend_alerts/{alert_id}", alert),
        ("DELETE", f"organization/projects/P/spend_alerts/{alert_id}", None),
    ]
    with served.nothing_changes():
        for method, path, body in changes:
            answer = served.ask(method, f"/v1/{path.replace('/P', f'/{project}')}", body)
            refused(answer, 400, "project_id", words="is archived")
    listed = served.admin.projects.api_keys.list(project).data
    assert {one.id for one in listed} == {key["id"], account.api_key.id if account.api_key else ""}
    assert {one.owner_project_access for one in listed} == {"inactive"}
    assert served.admin.projects.api_keys.delete(key["id"], project_id=project).deleted


def test_model_permissions(served: Served, project: str) -> None:
    permissions = served.admin.projects.model_permissions
    nothing_denied = permissions.retrieve(project)
    openapi.validate("ProjectModelPermissions", nothing_denied.to_dict())
    assert (nothing_denied.mode, nothing_denied.to_dict()["model_ids"]) == ("deny_list", [])
    allowed = permissions.update(project, mode="allow_list", model_ids=["gpt-4", "local/llama", "gpt-4"])
    openapi.validate("ProjectModelPermissions", allowed.to_dict())
    assert allowed.to_dict()["model_ids"] == ["gpt-4", "local/llama"]
    assert permissions.retrieve(project) == allowed
    (entry,) = served.last_entries(1)
    value = {"mode": "allow_list", "model_ids": ["gpt-4", "local/llama"]}
    assert (entry.type, entry.details["changes_requested"]) == ("project.updated", {"model_permissions": value})
    nothing = permissions.update(project, mode="allow_list", model_ids=[])
    assert nothing.to_dict()["model_ids"] == []
    assert permissions.delete(project).deleted
    assert permissions.retrieve(project) == nothing_denied
    with served.nothing_changes():
        again = permissions.delete(project)
    openapi.validate("ProjectModelPermissionsDeleteResponse", again.to_dict())
    assert again.deleted is False


def test_tier(served: Served, project: str) -> None:
    assert served.make("GET", f"/v1/organization/projects/{project}")["tier"] is None
    made = served.make("POST", f"/v1/homeport/projects/{project}", {"tier": "trial"})
    openapi.validate("Project", made)
    assert made["tier"] == "trial"
    (entry,) = served.last_entries(1)
    assert (entry.type, entry.details["changes_requested"]) == ("project.updated", {"tier": "trial"})
    assert served.make("POST", f"/v1/homeport/projects/{project}", {"tier": None})["tier"] is None
    with served.nothing_changes():
        answer = served.ask("POST", f"/v1/homeport/projects/{project}", {"tier": "6"})
    refused(answer, 400, "tier", code="invalid_value", words="'trial', '1'")
