"""Rate limits, spend limits and spend alerts, through the official SDK."""

from typing import Any, Literal

import openai
import pytest

from tests import openapi
from tests.api.admin.served import ORGANIZATION, Served, refused

CHANNEL: Any = {"type": "email", "recipients": ["finance@example.com"], "subject_prefix": "Spend"}


def limits_of(served: Served, project: str) -> dict[str, dict[str, Any]]:
    """Id -> the limits themselves."""
    listed = served.make("GET", f"/v1/organization/projects/{project}/rate_limits")
    openapi.validate("ProjectRateLimitListResponse", listed)
    return {
        one["id"]: {name: value for name, value in one.items() if name.startswith(("max_", "batch_"))}
        for one in listed["data"]
    }


def test_rate_limits_are_the_tiers_until_they_are_changed(served: Served, project: str) -> None:
    dalle = {"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 0, "max_images_per_1_minute": 5}
    gpt = {"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 10_000}
    assert limits_of(served, project) == {"rl-dall-e-3": dalle, "rl-gpt-4": gpt}
    changed = served.admin.projects.rate_limits.update_rate_limit(
        "rl-gpt-4", project_id=project, max_requests_per_1_minute=7, batch_1_day_max_input_tokens=1000
    )
    openapi.validate("ProjectRateLimit", changed.to_dict())
    assert (changed.max_requests_per_1_minute, changed.max_tokens_per_1_minute) == (7, 10_000)
    (entry,) = served.last_entries(1)
    requested = {"max_requests_per_1_minute": 7, "batch_1_day_max_input_tokens": 1000}
    assert (entry.type, entry.project_id) == ("rate_limit.updated", project)
    assert entry.details == {"id": "rl-gpt-4", "changes_requested": requested}
    again = served.admin.projects.rate_limits.update_rate_limit(
        "rl-gpt-4", project_id=project, max_tokens_per_1_minute=99
    )
    assert (again.max_requests_per_1_minute, again.max_tokens_per_1_minute) == (7, 99)
    assert limits_of(served, project)["rl-gpt-4"] == {**requested, "max_tokens_per_1_minute": 99}
    other = served.admin.projects.create(name="Other").id
    assert limits_of(served, other)["rl-gpt-4"] == gpt
    served.make("POST", f"/v1/homeport/projects/{project}", {"tier": "trial"})
    assert limits_of(served, project) == {"rl-gpt-4": {**requested, "max_tokens_per_1_minute": 99}}
    path = f"/v1/homeport/projects/{project}/rate_limits/rl-gpt-4"
    assert served.make("DELETE", path) == {
        "object": "project.rate_limit.deleted",
        "id": "rl-gpt-4",
        "deleted": True,
    }
    assert served.last_entries(1)[0].type == "rate_limit.deleted"
    assert limits_of(served, project)["rl-gpt-4"] == {"max_requests_per_1_minute": 3, "max_tokens_per_1_minute": 40_000}
    with served.nothing_changes():
        refused(served.ask("DELETE", path), 404, "rate_limit_id")


def test_where_rate_limits_come_from(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/rate_limits"
    served.make("POST", f"/v1/organization/projects/{project}/rate_limits/rl-gpt-4", {"max_requests_per_1_minute": 7})
    listed = served.make("GET", path)
    assert listed["data"] == [
        {
            "id": "rl-dall-e-3",
            "model": "dall-e-3",
            "tier": {"max_requests_per_1_minute": 500, "max_images_per_1_minute": 5},
            "own": None,
            "object": "project.rate_limit.origin",
        },
        {
            "id": "rl-gpt-4",
            "model": "gpt-4",
            "tier": {"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 10_000},
            "own": {"max_requests_per_1_minute": 7},
            "object": "project.rate_limit.origin",
        },
    ]
    page = served.make("GET", f"{path}?limit=1")
    assert (page["last_id"], page["has_more"]) == ("rl-dall-e-3", True)
    assert [one["id"] for one in served.make("GET", f"{path}?after=rl-dall-e-3")["data"]] == ["rl-gpt-4"]


def test_the_tiers(served: Served) -> None:
    assert served.make("GET", "/v1/homeport/tiers") == {
        "object": "list",
        "data": [
            {"id": "trial", "default": False, "object": "tier"},
            {"id": "1", "default": True, "object": "tier"},
        ],
    }


def test_rate_limits_of_a_model_of_ones_own(served: Served, project: str) -> None:
    """With slashes and letters of any kind; two of the limits are our own."""
    changed = served.admin.projects.rate_limits.update_rate_limit(
        "rl-local/größe-7b",
        project_id=project,
        max_requests_per_1_minute=5,
        extra_body={"max_tokens_per_1_day": 12, "max_concurrent_requests": 2},
    )
    assert changed.model == "local/größe-7b"
    assert limits_of(served, project)["rl-local/größe-7b"] == {
        "max_requests_per_1_minute": 5,
        "max_tokens_per_1_minute": 0,
        "max_tokens_per_1_day": 12,
        "max_concurrent_requests": 2,
    }


def test_no_such_rate_limit(served: Served, project: str) -> None:
    with served.nothing_changes():
        for name in ("rl-gpt4", "gpt-4", "rl-", "rl", "rl-a%20b", f"rl-{'x' * 257}"):
            path = f"/v1/organization/projects/{project}/rate_limits/{name}"
            refused(served.ask("POST", path, {"max_requests_per_1_minute": 5}), 404, "rate_limit_id")
            path = f"/v1/homeport/projects/{project}/rate_limits/{name}"
            refused(served.ask("DELETE", path), 404, "rate_limit_id")
        path = f"/v1/organization/projects/{project}/rate_limits/rl-gpt-4-0613"
        answer = served.ask("POST", path, {"max_requests_per_1_minute": 5})
    refused(answer, 404, "rate_limit_id", words="'rl-gpt-4'")


def test_an_update_of_no_limit_changes_nothing(served: Served, project: str) -> None:
    with served.nothing_changes():
        served.make("POST", f"/v1/organization/projects/{project}/rate_limits/rl-gpt-4", {})


@pytest.mark.parametrize("scope", ["organization", "project"])
def test_a_spend_limit_of_the_month(served: Served, project: str, scope: Literal["organization", "project"]) -> None:
    resource = "OrganizationSpendLimit" if scope == "organization" else "ProjectSpendLimit"
    path = "/v1/organization/spend_limit"
    subject, kind = "", "organization.updated"
    if scope == "project":
        path, subject, kind = f"/v1/organization/projects/{project}/spend_limit", project, "project.updated"
    with served.nothing_changes():
        refused(served.ask("GET", path), 404)
        refused(served.ask("DELETE", path), 404)
    asked: Any = {"threshold_amount": 10_000, "currency": "USD", "interval": "month"}
    made: Any
    if scope == "organization":
        made = served.admin.spend_limit.update(**asked)
    else:
        made = served.admin.projects.spend_limit.update(project, **asked)
    openapi.validate(f"{resource}Resource", made.to_dict())
    assert made.to_dict() == {**asked, "object": f"{scope}.spend_limit", "enforcement": {"status": "inactive"}}
    (entry,) = served.last_entries(1)
    assert (entry.type, entry.resource_id) == (kind, subject or ORGANIZATION)
    assert entry.details["changes_requested"] == {"spend_limit": asked}
    served.spent[scope, subject, "month"] = 9_999
    assert served.make("GET", path)["enforcement"]["status"] == "inactive"
    served.spent[scope, subject, "month"] = 10_000
    assert served.make("GET", path)["enforcement"]["status"] == "enforcing"
    raised = served.make("POST", path, {**asked, "threshold_amount": 10_001})
    assert (raised["threshold_amount"], raised["enforcement"]["status"]) == (10_001, "inactive")
    deleted = served.make("DELETE", path)
    openapi.validate(f"{resource}DeletedResource", deleted)
    refused(served.ask("GET", path), 404)


@pytest.mark.parametrize("of_key", [False, True])
def test_spend_limits_of_the_month_and_for_good(served: Served, project: str, of_key: bool) -> None:
    path, scope, subject = f"/v1/homeport/projects/{project}", "project", project
    if of_key:
        subject = served.make("POST", f"{path}/api_keys", {"name": "app"})["id"]
        path, scope = f"{path}/api_keys/{subject}", "key"
    path += "/spend_limit"
    assert served.make("GET", path) == {"object": "list", "data": []}
    month = {"threshold_amount": 50, "currency": "USD", "interval": "month"}
    served.make("POST", path, month)
    total = served.make("POST", path, {**month, "threshold_amount": 500, "interval": "total"})
    object_name = "project.api_key.spend_limit" if of_key else "project.spend_limit"
    assert total == {
        "object": object_name,
        "threshold_amount": 500,
        "currency": "USD",
        "interval": "total",
        "enforcement": {"status": "inactive"},
    }
    served.spent[scope, subject, "month"] = served.spent[scope, subject, "total"] = 60
    listed = served.make("GET", path)["data"]
    assert [(one["interval"], one["enforcement"]["status"]) for one in listed] == [
        ("month", "enforcing"),
        ("total", "inactive"),
    ]
    assert [one["spent"] for one in listed] == [{"value": 0.6, "currency": "usd"}] * 2
    assert served.make("DELETE", f"{path}?interval=month") == {"object": f"{object_name}.deleted", "deleted": True}
    assert [one["interval"] for one in served.make("GET", path)["data"]] == ["total"]
    with served.nothing_changes():
        refused(served.ask("DELETE", f"{path}?interval=month"), 404)
    served.make("POST", path, month)
    served.make("DELETE", path)
    assert served.make("GET", path)["data"] == []
    kinds = {entry.type for entry in served.last_entries(5)}
    assert kinds == {"api_key.updated" if of_key else "project.updated"}


def test_openais_spend_limit_of_a_project_is_its_month(served: Served, project: str) -> None:
    total = {"threshold_amount": 50, "currency": "USD", "interval": "total"}
    served.make("POST", f"/v1/homeport/projects/{project}/spend_limit", total)
    with pytest.raises(openai.NotFoundError):
        served.admin.projects.spend_limit.retrieve(project)
    with pytest.raises(openai.NotFoundError):
        served.admin.projects.spend_limit.delete(project)


@pytest.mark.parametrize("scope", ["organization", "project"])
def test_spend_alerts(served: Served, project: str, scope: Literal["organization", "project"]) -> None:
    path = "/v1/organization/spend_alerts" if scope == "organization" else None
    path = path or f"/v1/organization/projects/{project}/spend_alerts"
    schema = "OrganizationSpendAlert" if scope == "organization" else "ProjectSpendAlert"
    asked: Any = {"threshold_amount": 0, "currency": "USD", "interval": "month", "notification_channel": CHANNEL}
    made: Any
    if scope == "organization":
        made = served.admin.spend_alerts.create(**asked).to_dict()
    else:
        made = served.admin.projects.spend_alerts.create(project, **asked).to_dict()
    openapi.validate(schema, made)
    alert_id = made.pop("id")
    assert made == {"object": f"{scope}.spend_alert", **asked}
    plain = {**asked, "threshold_amount": 7, "notification_channel": {"type": "email", "recipients": ["b@example.com"]}}
    changed = served.make("POST", f"{path}/{alert_id}", plain)
    openapi.validate(schema, changed)
    assert changed["notification_channel"] == {
        "type": "email",
        "recipients": ["b@example.com"],
        "subject_prefix": None,
    }
    assert served.make("GET", f"{path}/{alert_id}") == changed
    openapi.validate(f"{schema}ListResource", served.make("GET", path))
    deleted = served.make("DELETE", f"{path}/{alert_id}")
    openapi.validate(f"{schema}DeletedResource", deleted)
    entries = served.last_entries(3)
    assert {entry.type for entry in entries} == {f"{scope}.updated"}
    assert [entry.details["changes_requested"]["spend_alert"].get("threshold_amount") for entry in entries] == [
        0,
        7,
        None,
    ]
    assert {entry.resource_id for entry in entries} == {project if scope == "project" else ORGANIZATION}


def test_an_alert_is_of_one_project(served: Served, project: str) -> None:
    asked: Any = {"threshold_amount": 1, "currency": "USD", "interval": "month", "notification_channel": CHANNEL}
    made = served.admin.projects.spend_alerts.create(project, **asked).id
    other = served.admin.projects.create(name="Other").id
    with served.nothing_changes():
        for where in ("", f"/projects/{other}"):
            path = f"/v1/organization{where}/spend_alerts/{made}"
            refused(served.ask("GET", path), 404, "alert_id")
            refused(served.ask("POST", path, asked), 404, "alert_id")
            refused(served.ask("DELETE", path), 404, "alert_id")


def test_pages_of_no_alerts(served: Served, project: str) -> None:
    """OpenAI's spend alerts take a limit of 0."""
    asked: Any = {"threshold_amount": 1, "currency": "USD", "interval": "month", "notification_channel": CHANNEL}
    path = f"/v1/organization/projects/{project}/spend_alerts?limit=0"
    empty: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None}
    assert served.make("GET", path) == {**empty, "has_more": False}
    served.admin.projects.spend_alerts.create(project, **asked)
    assert served.make("GET", path) == {**empty, "has_more": True}
