"""Service accounts, users, their projects and invites, through the official SDK."""

from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport import clock
from homeport.control.invites import LIFE_SECONDS
from homeport.store.tables import keys, project_users
from tests import openapi
from tests.api.admin.served import Served, refused


def test_a_service_account_from_its_making_to_its_end(served: Served, project: str) -> None:
    accounts = served.admin.projects.service_accounts
    made = accounts.create(project, name="robot")
    openapi.validate("ProjectServiceAccountCreateResponse", made.to_dict())
    assert made.role == "member"
    assert made.api_key is not None
    assert (made.api_key.name, made.api_key.created_at) == ("Secret Key", made.created_at)
    found = accounts.retrieve(made.id, project_id=project)
    openapi.validate("ProjectServiceAccount", found.to_dict())
    key = accounts.api_keys.create(made.id, project_id=project, name="second", scopes=["api.model.request"])
    openapi.validate("ServiceAccountApiKeyBody", key.to_dict())
    stored = served.admin.projects.api_keys.retrieve(key.id, project_id=project)
    openapi.validate("ProjectApiKey", stored.to_dict())
    assert stored.owner.service_account is not None
    assert (stored.owner.type, stored.owner.service_account.id) == ("service_account", made.id)
    assert stored.to_dict()["scopes"] == ["api.model.request"]
    changed = accounts.update(made.id, project_id=project, name="android", role="owner")
    openapi.validate("ProjectServiceAccount", changed.to_dict())
    assert (changed.name, changed.role) == ("android", "owner")
    listed = served.make("GET", f"/v1/organization/projects/{project}/service_accounts")
    openapi.validate("ProjectServiceAccountListResponse", listed)
    deleted = accounts.delete(made.id, project_id=project)
    openapi.validate("ProjectServiceAccountDeleteResponse", deleted.to_dict())
    assert served.rows(sa.select(keys).where(keys.c.service_account_id == made.id)) == []
    entries = served.last_entries(7)
    assert [entry.type for entry in entries] == [
        "service_account.created",
        "api_key.created",
        "api_key.created",
        "service_account.updated",
        "api_key.deleted",
        "api_key.deleted",
        "service_account.deleted",
    ]
    assert {entry.project_id for entry in entries} == {project}
    assert entries[0].details["data"] == {"role": "member", "name": "robot"}
    assert entries[2].details["data"] == {"name": "second", "scopes": ["api.model.request"]}
    assert entries[3].details["changes_requested"] == {"name": "android", "role": "owner"}


def test_a_service_account_alone(served: Served, project: str) -> None:
    """Without a role and without a key, until it is given them."""
    accounts = served.admin.projects.service_accounts
    made = accounts.create(project, name="idle", create_service_account_only=True)
    openapi.validate("ProjectServiceAccountCreateResponse", made.to_dict())
    assert (made.role, made.api_key) == ("none", None)
    assert served.last_entries(1)[0].type == "service_account.created"
    with served.nothing_changes():
        assert served.make("POST", f"/v1/organization/projects/{project}/service_accounts/{made.id}", {}) == (
            accounts.retrieve(made.id, project_id=project).to_dict()
        )


def test_a_service_accounts_key_may_end(served: Served, project: str) -> None:
    path = f"/v1/organization/projects/{project}/service_accounts"
    made = served.make("POST", path, {"name": "robot", "expires_in_seconds": 60})
    more = served.make("POST", f"{path}/{made['id']}/api_keys", {"expires_in_seconds": 90})
    first, second = served.admin.projects.api_keys.list(project).data
    assert first.to_dict()["expires_at"] == made["api_key"]["created_at"] + 60
    assert second.to_dict()["expires_at"] == more["created_at"] + 90


def test_an_invite_and_the_user_that_it_makes(served: Served, project: str) -> None:
    asked: Any = {"email": "ada@example.com", "role": "reader", "projects": [{"id": project, "role": "owner"}]}
    made = served.admin.invites.create(**asked)
    openapi.validate("Invite", made.to_dict())
    assert (made.status, made.role, made.accepted_at) == ("pending", "reader", None)
    assert made.expires_at == made.created_at + LIFE_SECONDS
    assert served.admin.invites.retrieve(made.id) == made
    openapi.validate("InviteListResponse", served.make("GET", "/v1/organization/invites"))
    accepted = served.make("POST", f"/v1/homeport/invites/{made.id}/accept", {"name": "Ada Lovelace"})
    openapi.validate("Invite", accepted)
    assert accepted["status"] == "accepted"
    listed = served.make("GET", "/v1/organization/users?emails[]=ADA@example.com")
    openapi.validate("UserListResponse", listed)
    (user,) = listed["data"]
    assert (user["name"], user["email"], user["role"]) == ("Ada Lovelace", "ada@example.com", "reader")
    (member,) = served.admin.projects.users.list(project).data
    assert (member.id, member.role) == (user["id"], "owner")
    sent, taken, added, joined = served.last_entries(4)
    assert sent.type == "invite.sent"
    assert sent.details == {"id": made.id, "data": asked}
    assert (taken.type, taken.details) == ("invite.accepted", {"id": made.id})
    assert (added.type, added.details) == ("user.added", {"id": user["id"], "data": {"role": "reader"}})
    assert (joined.type, joined.details["data"], joined.project_id) == ("user.added", {"role": "owner"}, project)
    with served.nothing_changes():
        refused(served.ask("DELETE", f"/v1/organization/invites/{made.id}"), 400, "invite_id", words="accepted")
        refused(served.ask("POST", f"/v1/homeport/invites/{made.id}/accept"), 400, "invite_id", words="accepted")
        refused(served.ask("POST", "/v1/organization/invites", asked), 400, "email", words="already")


def test_an_invite_is_to_the_default_project_unless_it_says(served: Served) -> None:
    made = served.admin.invites.create(email="default@example.com", role="owner")
    assert [(one.id, one.role) for one in made.projects] == [(served.default_project, "member")]
    to_none = served.admin.invites.create(email="none@example.com", role="owner", projects=[])
    assert to_none.projects == []


def test_one_invite_an_address(served: Served) -> None:
    made = served.admin.invites.create(email="Bob@example.com", role="owner")
    with served.nothing_changes():
        answer = served.ask("POST", "/v1/organization/invites", {"email": "bob@EXAMPLE.com", "role": "owner"})
    refused(answer, 400, "email", words="pending")
    deleted = served.admin.invites.delete(made.id)
    openapi.validate("InviteDeleteResponse", deleted.to_dict())
    assert served.last_entries(1)[0].type == "invite.deleted"
    assert served.admin.invites.create(email="bob@example.com", role="owner").status == "pending"


def test_an_invite_expires(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    made = served.admin.invites.create(email="late@example.com", role="owner")
    later = clock.now() + LIFE_SECONDS + 1
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        assert served.admin.invites.retrieve(made.id).status == "expired"
        with served.nothing_changes():
            refused(served.ask("POST", f"/v1/homeport/invites/{made.id}/accept"), 400, "invite_id", words="expired")
        again = served.admin.invites.create(email="late@example.com", role="owner")
        assert again.status == "pending"
    assert served.admin.invites.delete(made.id).deleted


def test_an_invite_to_a_project_that_was_archived_meanwhile(served: Served, project: str) -> None:
    asked: Any = {"email": "slow@example.com", "role": "owner", "projects": [{"id": project, "role": "member"}]}
    made = served.admin.invites.create(**asked)
    served.admin.projects.archive(project)
    assert served.make("POST", f"/v1/homeport/invites/{made.id}/accept")["status"] == "accepted"
    assert served.rows(sa.select(project_users).where(project_users.c.project_id == project)) == []
    with served.nothing_changes():
        answer = served.ask("POST", "/v1/organization/invites", {**asked, "email": "slower@example.com"})
    refused(answer, 400, "projects[0].id")


def test_a_user_from_the_first_role_to_the_end(served: Served, project: str) -> None:
    user = served.make_user("grace@example.com", role="reader")
    openapi.validate("User", user)
    assert user["name"] is None
    changed = served.admin.users.update(user["id"], role="owner")
    openapi.validate("User", changed.to_dict())
    assert changed.role == "owner"
    with served.nothing_changes():
        assert served.admin.users.update(user["id"]) == changed
    served.admin.projects.users.create(project, user_id=user["id"], role="member")
    path = f"/v1/homeport/projects/{project}/api_keys"
    key = served.make("POST", path, {"name": "hers", "user_id": user["id"]})
    deleted = served.admin.users.delete(user["id"])
    openapi.validate("UserDeleteResponse", deleted.to_dict())
    assert served.admin.projects.users.list(project).data == []
    assert served.admin.projects.api_keys.list(project).data == []
    revoked, ended = served.last_entries(2)
    assert (revoked.type, revoked.resource_id, revoked.project_id) == ("api_key.deleted", key["id"], project)
    assert (ended.type, ended.resource_id) == ("user.deleted", user["id"])
    with pytest.raises(openai.NotFoundError) as caught:
        served.admin.users.retrieve(user["id"])
    assert caught.value.param == "user_id"


def test_users_by_address(served: Served) -> None:
    names = ["Ärger@example.com", "straße@example.com", "three@example.com"]
    made = [make_user(served, name) for name in names]
    found = served.admin.users.list(emails=[*names[:2], "nobody@example.com"])
    assert [user.id for user in found] == made[:2]
    assert [user.id for user in served.admin.users.list(emails=["THREE@example.com"])] == [made[2]]


def make_user(served: Served, email: str) -> str:
    """Of an address that a URL cannot hold as it is."""
    invite = served.make("POST", "/v1/organization/invites", {"email": email, "role": "owner"})
    served.make("POST", f"/v1/homeport/invites/{invite['id']}/accept", {})
    added, _ = served.last_entries(2)
    return str(added.resource_id)


def test_a_user_in_a_project(served: Served, project: str) -> None:
    user = served.make_user("member@example.com", name="M")
    users = served.admin.projects.users
    added = users.create(project, email="MEMBER@example.com", role="member")
    openapi.validate("ProjectUser", added.to_dict())
    assert (added.id, added.name, added.email) == (user["id"], "M", "member@example.com")
    assert users.retrieve(user["id"], project_id=project) == added
    openapi.validate("ProjectUserListResponse", served.make("GET", f"/v1/organization/projects/{project}/users"))
    with served.nothing_changes():
        path = f"/v1/organization/projects/{project}/users"
        refused(served.ask("POST", path, {"role": "owner", "user_id": user["id"]}), 400, "user_id", words="already")
        refused(served.ask("POST", path, {"role": "owner", "email": "member@example.com"}), 400, "email")
        assert users.update(user["id"], project_id=project) == added
    changed = users.update(user["id"], project_id=project, role="owner")
    openapi.validate("ProjectUser", changed.to_dict())
    assert changed.role == "owner"
    deleted = users.delete(user["id"], project_id=project)
    openapi.validate("ProjectUserDeleteResponse", deleted.to_dict())
    entries = served.last_entries(3)
    assert [entry.type for entry in entries] == ["user.added", "user.updated", "user.deleted"]
    assert {(entry.resource_id, entry.project_id) for entry in entries} == {(user["id"], project)}
    assert served.admin.users.retrieve(user["id"]).id == user["id"]


def test_only_users_of_the_organization_join_a_project(served: Served, project: str) -> None:
    path = f"/v1/organization/projects/{project}/users"
    with served.nothing_changes():
        refused(served.ask("POST", path, {"role": "owner", "user_id": "user-nobody"}), 400, "user_id")
        refused(served.ask("POST", path, {"role": "owner", "email": "nobody@example.com"}), 400, "email")
