"""Keys of projects and of the Admin API, and those of service accounts: made, shown once, changed, rotated, revoked."""

import hashlib
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.store.tables import keys, spend_limits
from tests import openapi
from tests.api.admin.served import ADMIN, SCOPES, USERS_ADMIN, Served, refused

DAY = 86_400


def row_of(served: Served, key_id: str) -> Any:
    """What is stored of a key."""
    (row,) = served.rows(sa.select(keys).where(keys.c.id == key_id))
    return row


def test_an_admin_key_from_its_making_to_its_end(served: Served) -> None:
    made = served.admin.admin_api_keys.create(name="CI", expires_in_seconds=3600)
    openapi.validate("AdminApiKeyCreateResponse", made.to_dict())
    assert made.value.startswith("sk-admin-homeport-")
    assert made.expires_at == made.created_at + 3600
    row = row_of(served, made.id)
    assert (row.kind, row.sha256) == ("admin", hashlib.sha256(made.value.encode()).digest())
    found = served.admin.admin_api_keys.retrieve(made.id)
    openapi.validate("AdminApiKey", found.to_dict())
    assert found.name == "CI"
    assert "value" not in found.to_dict()
    assert found.owner.to_dict() == {}
    deleted = served.admin.admin_api_keys.delete(made.id)
    assert deleted.to_dict() == {"id": made.id, "object": "organization.admin_api_key.deleted", "deleted": True}
    created, ended = served.last_entries(2)
    assert (created.type, ended.type) == ("api_key.created", "api_key.deleted")
    assert created.details == {"id": made.id, "data": {"name": "CI", "scopes": ["all"]}}
    assert created.project_id is None
    with pytest.raises(openai.NotFoundError):
        served.admin.admin_api_keys.retrieve(made.id)


def test_the_operators_own_key_opens_both_doors(served: Served) -> None:
    """The first key, which is made before anybody asks, is in both lists."""
    (first, *_) = served.admin.admin_api_keys.list()
    assert row_of(served, first.id).kind == "owner"
    openapi.validate("ApiKeyList", served.make("GET", "/v1/organization/admin_api_keys"))
    assert first.id in {key.id for key in served.admin.projects.api_keys.list(served.default_project)}


def test_an_admin_key_of_a_users(served: Served) -> None:
    """A key that a user's key makes is the user's."""
    user = served.make_user("owner@example.com", name="Ada")
    served.act_as(USERS_ADMIN, user["id"], user["email"])
    with served.client_of(USERS_ADMIN) as client:
        made = client.admin.organization.admin_api_keys.create(name="Ada's")
    openapi.validate("AdminApiKeyCreateResponse", made.to_dict())
    assert made.owner.to_dict() == {
        "type": "user",
        "object": "organization.user",
        "id": user["id"],
        "name": "Ada",
        "created_at": user["added_at"],
        "role": "owner",
    }
    served.admin.users.delete(user["id"])
    with pytest.raises(openai.NotFoundError):
        served.admin.admin_api_keys.retrieve(made.id)
    with served.client_of(USERS_ADMIN) as client:  # within the second until the key's end is seen everywhere
        late = client.admin.organization.admin_api_keys.create(name="Nobody's")
    assert late.owner.to_dict() == {}


def test_a_projects_key_with_everything(served: Served, project: str) -> None:
    user = served.make_user("key-owner@example.com", name="Grace")
    served.admin.projects.users.create(project, user_id=user["id"], role="owner")
    ends = int(clock.now()) + DAY
    asked = {
        "name": "App",
        "scopes": ["api.model.request", "responses.write", "api.model.request"],
        "models": ["gpt-4", "gpt-4"],
        "rate_limits": {"max_requests_per_1_minute": 5, "max_tokens_per_1_day": None},
        "expires_at": ends,
        "user_id": user["id"],
    }
    made = served.make("POST", f"/v1/homeport/projects/{project}/api_keys", asked)
    openapi.validate("ProjectApiKey", made)
    value = made.pop("value")
    assert value.startswith("sk-homeport-")
    assert made["scopes"] == ["api.model.request", "responses.write"]
    assert made["models"] == ["gpt-4"]
    assert made["rate_limits"] == {"max_requests_per_1_minute": 5}
    assert made["expires_at"] == ends
    assert made["owner_project_access"] == "active"
    assert made["owner"]["type"] == "user"
    assert made["owner"]["user"]["role"] == "owner"
    assert made["redacted_value"] == f"{value[:14]}...{value[-2:]}"
    assert served.make("GET", f"/v1/organization/projects/{project}/api_keys/{made['id']}") == made
    listed = served.make("GET", f"/v1/organization/projects/{project}/api_keys")
    openapi.validate("ProjectApiKeyListResponse", listed)
    assert listed["data"] == [made]
    found = served.admin.projects.api_keys.retrieve(made["id"], project_id=project)
    assert found.owner.user is not None
    assert found.owner.user.email == "key-owner@example.com"
    row = row_of(served, made["id"])
    assert (row.kind, row.sha256) == ("project", hashlib.sha256(value.encode()).digest())


def test_a_key_is_free_unless_it_is_restricted(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    nothing: Any = {"scopes": [], "models": None, "rate_limits": {}, "expires_at": None, "user_id": None}
    for asked in (dict[str, Any](), nothing):
        made = served.make("POST", path, {"name": "free", **asked})
        openapi.validate("ProjectApiKey", made)
        assert (made["scopes"], made["models"], made["rate_limits"], made["expires_at"]) == (None, None, None, None)
        assert made["owner"] == {}
        stored = sa.select(keys.c.id).where(
            keys.c.id == made["id"], keys.c.scopes.is_(None), keys.c.models.is_(None), keys.c.rate_limits.is_(None)
        )
        assert served.rows(stored)  # null in the database, not a JSON null


def test_modify(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = served.make("POST", path, {"name": "a", "scopes": ["model.request"], "models": ["gpt-4"]})
    changed = served.make("POST", f"{path}/{made['id']}", {"name": "b", "rate_limits": {"max_requests_per_1_day": 9}})
    assert "value" not in changed
    assert (changed["name"], changed["scopes"], changed["models"]) == ("b", ["model.request"], ["gpt-4"])
    assert changed["rate_limits"] == {"max_requests_per_1_day": 9}
    (entry,) = served.last_entries(1)
    assert entry.type == "api_key.updated"
    assert entry.details["changes_requested"] == {"name": "b", "rate_limits": {"max_requests_per_1_day": 9}}
    freed = served.make("POST", f"{path}/{made['id']}", {"scopes": None, "models": None, "rate_limits": None})
    assert (freed["name"], freed["scopes"], freed["models"], freed["rate_limits"]) == ("b", None, None, None)
    with served.nothing_changes():
        assert served.make("POST", f"{path}/{made['id']}", {}) == freed


def test_update_as_openai_has_it(served: Served, project: str) -> None:
    """The SDK of the third generation: scopes and the end of a key, of a service account's, too."""
    account = served.admin.projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    path = f"/v1/organization/projects/{project}/api_keys/{account.api_key.id}"
    changed = served.make("POST", path, {"scopes": ["all.read"], "expires_in_seconds": 60})
    openapi.validate("ProjectApiKey", changed)
    assert changed["scopes"] == ["all.read"]
    assert changed["expires_at"] <= clock.now() + 60
    assert served.make("POST", path, {"scopes": []})["scopes"] is None
    with served.nothing_changes():
        refused(served.ask("POST", path, {}), 400, "scopes")
        refused(served.ask("POST", path, {"scopes": None}), 400, "scopes", code="invalid_type")
        refused(served.ask("POST", path, {"expires_in_seconds": None}), 400, "expires_in_seconds", code="invalid_type")


def test_rotation_with_an_overlap(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    asked = {"name": "app", "scopes": ["model"], "models": ["gpt-4"], "rate_limits": {"max_requests_per_1_minute": 7}}
    old = served.make("POST", path, asked)
    limit = {"threshold_amount": 900, "currency": "USD", "interval": "total"}
    served.make("POST", f"{path}/{old['id']}/spend_limit", limit)
    before = clock.now()
    new = served.make("POST", f"{path}/{old['id']}/rotate")
    openapi.validate("ProjectApiKey", new)
    assert new["id"] != old["id"]
    assert new["value"] != old["value"]
    for member in ("name", "scopes", "models", "rate_limits", "owner", "expires_at"):
        assert new[member] == old[member], member
    (copied,) = served.make("GET", f"{path}/{new['id']}/spend_limit")["data"]
    assert (copied["threshold_amount"], copied["interval"]) == (900, "total")
    stored = row_of(served, old["id"])
    assert before + DAY - 1 <= stored.expires_at <= clock.now() + DAY
    assert stored.replaced_by == new["id"]
    told = served.make("GET", f"/v1/organization/projects/{project}/api_keys/{old['id']}")
    assert (told["replaced_by"], new["replaced_by"]) == (new["id"], None)
    created, updated = served.last_entries(2)
    assert created.details["data"]["rotated_from"] == old["id"]
    assert updated.details["changes_requested"] == {"expires_at": stored.expires_at, "rotated_into": new["id"]}
    with served.nothing_changes():
        answer = served.ask("POST", f"{path}/{old['id']}/rotate", {})
    refused(answer, 400, "api_key_id", words=new["id"])
    newest = served.make("POST", f"{path}/{new['id']}/rotate", {"overlap_seconds": 0, "expires_in_seconds": 60})
    assert newest["expires_at"] <= clock.now() + 60
    assert row_of(served, new["id"]).expires_at <= clock.now()


def test_rotation_never_lengthens_a_life(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    old = served.make("POST", path, {"name": "short", "expires_in_seconds": 100})
    new = served.make("POST", f"{path}/{old['id']}/rotate", {"overlap_seconds": DAY})
    assert new["expires_at"] == old["expires_at"] == row_of(served, old["id"]).expires_at


def test_what_has_expired_is_not_changed(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = served.make("POST", path, {"name": "app"})
    served.make("POST", f"{path}/{made['id']}/rotate", {"overlap_seconds": 0})
    with served.nothing_changes():
        refused(served.ask("POST", f"{path}/{made['id']}", {"name": "x"}), 400, "api_key_id", words="expired")
        refused(served.ask("POST", f"{path}/{made['id']}/rotate"), 400, "api_key_id", words="expired")
        again = f"/v1/organization/projects/{project}/api_keys/{made['id']}"
        refused(served.ask("POST", again, {"expires_in_seconds": 60}), 400, "api_key_id", words="expired")
    assert served.admin.projects.api_keys.delete(made["id"], project_id=project).deleted


def test_a_deleted_key_takes_its_limits_along(served: Served, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = served.make("POST", path, {"name": "app"})
    limit = {"threshold_amount": 900, "currency": "USD", "interval": "month"}
    served.make("POST", f"{path}/{made['id']}/spend_limit", limit)
    deleted = served.admin.projects.api_keys.delete(made["id"], project_id=project)
    openapi.validate("ProjectApiKeyDeleteResponse", deleted.to_dict())
    assert served.rows(sa.select(keys).where(keys.c.id == made["id"])) == []
    assert served.rows(sa.select(spend_limits).where(spend_limits.c.subject == made["id"])) == []
    (entry,) = served.last_entries(1)
    assert (entry.type, entry.details, entry.project_id) == ("api_key.deleted", {"id": made["id"]}, project)


def test_a_service_accounts_key_goes_with_it(served: Served, project: str) -> None:
    account = served.admin.projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    key_id = account.api_key.id
    with served.nothing_changes(), pytest.raises(openai.BadRequestError) as caught:
        served.admin.projects.api_keys.delete(key_id, project_id=project)
    assert caught.value.param == "api_key_id"
    second = served.admin.projects.service_accounts.api_keys.create(account.id, project_id=project, name="second")
    assert served.make("DELETE", f"/v1/homeport/projects/{project}/api_keys/{key_id}")["deleted"]
    assert [key.id for key in served.admin.projects.api_keys.list(project)] == [second.id]


def test_whose_keys_have_access(served: Served, project: str) -> None:
    """Those of users who are in the project, of service accounts with a role, and of nobody in particular."""
    user = served.make_user("leaving@example.com")
    served.admin.projects.users.create(project, user_id=user["id"], role="member")
    path = f"/v1/homeport/projects/{project}/api_keys"
    free = served.make("POST", path, {"name": "free"})["id"]
    users = served.make("POST", path, {"name": "user's", "user_id": user["id"]})["id"]
    robot = served.admin.projects.service_accounts.create(project, name="robot")
    idle = served.admin.projects.service_accounts.create(project, name="idle", create_service_account_only=True)
    robots = robot.api_key.id if robot.api_key else ""
    idles = served.admin.projects.service_accounts.api_keys.create(idle.id, project_id=project).id

    def listed(access: Any) -> list[str]:
        return [key.id for key in served.admin.projects.api_keys.list(project, owner_project_access=access)]

    assert listed("active") == [free, users, robots]
    assert listed("inactive") == [idles]
    assert listed("any") == [free, users, robots, idles]
    served.admin.projects.users.delete(user["id"], project_id=project)
    served.admin.projects.service_accounts.update(idle.id, project_id=project, role="member")
    assert listed("active") == [free, robots, idles]
    assert listed("inactive") == [users]
    found = served.admin.projects.api_keys.retrieve(users, project_id=project)
    openapi.validate("ProjectApiKey", found.to_dict())
    assert found.owner.user is not None
    assert (found.owner_project_access, found.owner.user.role) == ("inactive", "none")
    served.admin.users.delete(user["id"])
    assert listed("any") == [free, robots, idles]


def test_a_key_is_of_one_project(served: Served, project: str) -> None:
    other = served.admin.projects.create(name="Other").id
    made = served.make("POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "app"})["id"]
    with served.nothing_changes():
        for method, path in (
            ("GET", "organization/projects/P/api_keys/K"),
            ("DELETE", "organization/projects/P/api_keys/K"),
            ("DELETE", "homeport/projects/P/api_keys/K"),
            ("POST", "homeport/projects/P/api_keys/K"),
            ("POST", "homeport/projects/P/api_keys/K/rotate"),
            ("GET", "homeport/projects/P/api_keys/K/spend_limit"),
            ("DELETE", "homeport/projects/P/api_keys/K/spend_limit"),
        ):
            body = {"name": "x"} if method == "POST" and path.endswith("K") else None
            answer = served.ask(method, f"/v1/{path.replace('/P', f'/{other}').replace('/K', f'/{made}')}", body)
            refused(answer, 404, "api_key_id")
        refused(served.ask("GET", f"/v1/organization/admin_api_keys/{made}"), 404, "key_id")
        refused(served.ask("DELETE", f"/v1/organization/admin_api_keys/{made}"), 404, "key_id")


def test_no_secret_is_anywhere(served: Served, project: str) -> None:
    """Not in the database's bytes, not in a list, not in an object, not in the audit log; nor what is asked with."""
    account = served.admin.projects.service_accounts.create(project, name="robot")
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = served.make("POST", path, {"name": "app"})
    secrets = [
        ADMIN,
        USERS_ADMIN,
        made["value"],
        served.make("POST", f"{path}/{made['id']}/rotate")["value"],
        account.api_key.value if account.api_key else "",
        served.admin.projects.service_accounts.api_keys.create(account.id, project_id=project).value,
        served.admin.admin_api_keys.create(name="CI").value,
    ]
    shown = [
        served.make("GET", f"/v1/organization/projects/{project}/api_keys"),
        served.make("GET", f"/v1/organization/projects/{project}/api_keys/{made['id']}"),
        served.make("GET", f"/v1/organization/projects/{project}/service_accounts"),
        served.make("GET", "/v1/organization/admin_api_keys?limit=100"),
        served.make("GET", "/v1/organization/audit_logs?limit=100"),
    ]
    places = {"answers": repr(shown).encode(), "rows": repr(served.everything()).encode(), **served.files()}
    for secret in secrets:
        assert len(secret) > 20
        for place, held in places.items():
            assert secret.encode() not in held, place
            assert secret.encode()[-20:] not in held, place


def test_what_a_key_may_be_restricted_to(served: Served) -> None:
    told = served.make("GET", "/v1/homeport/scopes")
    assert told["object"] == "list"
    assert {one["object"] for one in told["data"]} == {"scope"}
    assert [one["id"] for one in told["data"]] == sorted(SCOPES)
