"""What fine-tuning has made: checkpoints, models that are deleted, and who else may use them."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from homeport.store.tables import checkpoint_permissions, fine_tuned_models, revision
from tests import openapi
from tests.api import raw
from tests.api.owners import client_of, new_key, new_project
from tests.api.test_fine_tuning import at_once, url
from tests.control import databases
from tests.fine_tuning import begin, create, exists, made, settings, trained
from tests.server import KEY, Running, running
from tests.store.servers import PostgresServer
from tests.stores import rows


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("models")
    chosen = settings(folder)
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        chosen["database_url"] = postgres.create("fine_tuned_models")
    with running(folder, chosen) as made:
        yield made


@pytest.fixture(scope="module")
def mine(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def strangers(server: Running) -> str:
    return new_project(server, "strangers")


@pytest.fixture(scope="module")
def theirs(server: Running, strangers: str) -> Iterator[openai.OpenAI]:
    with client_of(server, new_key(server, strangers)) as made:
        yield made


@pytest.fixture
def model(server: Running, mine: openai.OpenAI) -> str:
    name = trained(server, mine).fine_tuned_model
    assert name is not None
    return name


def there(server: Running, name: str) -> list[Any]:
    return [*rows(url(server), sa.select(fine_tuned_models).where(fine_tuned_models.c.name == name))]


def path(name: str) -> str:
    return f"/v1/fine_tuning/checkpoints/{name}/permissions"


# Checkpoints


def test_checkpoints_the_newest_first(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    assert mine.fine_tuning.jobs.checkpoints.list(job).data == []
    begin(server, job)
    name = f"ft:house:homeport::{job[-8:]}"
    for number in range(10, 40, 10):
        made(server, job, f"{name}:ckpt-step-{number}", step=number, content=b"%d" % number)
    made(server, job, name)
    page = mine.fine_tuning.jobs.checkpoints.list(job, limit=2)
    assert ([one.step_number for one in page.data], page.has_more) == ([30, 20], True)
    first = page.data[0]
    assert first.id.startswith("ftckpt_")
    assert (first.fine_tuned_model_checkpoint, first.fine_tuning_job_id) == (f"{name}:ckpt-step-30", job)
    assert first.metrics.model_dump(exclude_none=True) == {"step": 30, "full_valid_loss": 0.25}
    assert [one.step_number for one in page.get_next_page()] == [10]
    body = raw.ask(server, "GET", f"/v1/fine_tuning/jobs/{job}/checkpoints").json
    assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][2]["id"])


# Deleting


def test_a_model_is_deleted(server: Running, mine: openai.OpenAI) -> None:
    job = trained(server, mine)
    model = job.fine_tuned_model
    assert model is not None
    (kept,) = there(server, model)
    assert exists(server, kept["digest"])
    before = rows(url(server), sa.select(revision))[0]["value"]
    deleted = mine.models.delete(model)
    assert (deleted.id, deleted.object, deleted.deleted) == (model, "model", True)
    assert there(server, model) == []
    assert not exists(server, kept["digest"])
    assert rows(url(server), sa.select(revision))[0]["value"] > before, "every replica looks again"
    assert mine.fine_tuning.jobs.retrieve(job.id) == job, "its job stays as it was"
    with pytest.raises(openai.NotFoundError) as gone:
        mine.models.delete(model)
    assert gone.value.code == "model_not_found"


def test_a_checkpoint_is_deleted_by_itself(server: Running, mine: openai.OpenAI) -> None:
    job = create(mine).id
    begin(server, job)
    name = f"ft:house:homeport::{job[-8:]}"
    checkpoint = f"{name}:ckpt-step-5"
    digest = made(server, job, checkpoint, step=5, content=b"the same")
    assert made(server, job, name, content=b"the same") == digest
    mine.models.delete(checkpoint)
    assert mine.fine_tuning.jobs.checkpoints.list(job).data == []
    assert len(there(server, name)) == 1
    assert exists(server, digest), "somebody else has the same bytes"
    mine.models.delete(name)
    assert not exists(server, digest)


def test_what_starts_from_a_deleted_model_keeps_its_bytes(server: Running, mine: openai.OpenAI, model: str) -> None:
    (kept,) = there(server, model)
    job = create(mine, model=model)
    mine.models.delete(model)
    assert exists(server, kept["digest"])
    mine.fine_tuning.jobs.cancel(job.id)
    assert not exists(server, kept["digest"])


def test_only_its_project_deletes_a_model(
    server: Running, mine: openai.OpenAI, theirs: openai.OpenAI, strangers: str, model: str
) -> None:
    with pytest.raises(openai.NotFoundError) as hidden:
        theirs.models.delete(model)
    assert hidden.value.code == "model_not_found"
    mine.fine_tuning.checkpoints.permissions.create(model, project_ids=[strangers])
    with pytest.raises(openai.PermissionDeniedError) as shared:
        theirs.models.delete(model)
    assert "belongs to another" in shared.value.message
    assert len(there(server, model)) == 1


def test_what_nobody_has_tuned_is_not_deleted(mine: openai.OpenAI) -> None:
    for name in ("house", "echo", "gpt-4o-mini"):
        with pytest.raises(openai.PermissionDeniedError) as refusal:
            mine.models.delete(name)
        assert "is no fine-tuned model" in refusal.value.message
    for name in ("nothing", "ft:house:homeport::unknown0"):
        with pytest.raises(openai.NotFoundError) as unknown:
            mine.models.delete(name)
        assert unknown.value.code == "model_not_found"


def test_a_model_is_deleted_once(server: Running, mine: openai.OpenAI, model: str) -> None:
    outcomes: list[int] = []
    at_once(*[lambda: outcomes.append(raw.ask(server, "DELETE", f"/v1/models/{model}").status)] * 4)
    assert sorted(outcomes) == [200, 404, 404, 404]


def test_azure_deletes_it_at_its_own_address(server: Running, model: str) -> None:
    address = f"/openai/models/{model}"
    headers: dict[str, str | None] = {"api-key": KEY, "Authorization": None}
    assert raw.ask(server, "DELETE", address, headers=headers).status == 404, "api-version is missing"
    answer = raw.ask(server, "DELETE", f"{address}?api-version=2024-10-21", headers=headers)
    assert (answer.status, answer.json) == (200, {"object": "model", "id": model, "deleted": True})
    again = raw.ask(server, "DELETE", f"{address}?api-version=2024-10-21", headers=headers)
    assert (again.status, again.error["code"]) == (404, "DeploymentNotFound")


def test_the_description_knows_what_is_answered(server: Running, model: str, strangers: str) -> None:
    granted = raw.ask(server, "POST", path(model), {"project_ids": [strangers]}).json
    openapi.validate("ListFineTuningCheckpointPermissionResponse", granted)
    listed = raw.ask(server, "GET", path(model)).json
    openapi.validate("ListFineTuningCheckpointPermissionResponse", listed)
    assert listed["data"] == granted["data"]
    gone = raw.ask(server, "DELETE", f"{path(model)}/{granted['data'][0]['id']}").json
    openapi.validate("DeleteFineTuningCheckpointPermissionResponse", gone)
    openapi.validate("DeleteModelResponse", raw.ask(server, "DELETE", f"/v1/models/{model}").json)


# Sharing


def test_a_model_is_shared_and_no_longer(server: Running, mine: openai.OpenAI, model: str, strangers: str) -> None:
    permissions = mine.fine_tuning.checkpoints.permissions
    others = [strangers, new_project(server, "friends")]
    granted = permissions.create(model, project_ids=[*others, strangers]).data
    assert [one.project_id for one in granted] == others
    assert all(one.id.startswith("cp_") for one in granted)
    again = permissions.create(model, project_ids=others[::-1]).data
    assert again == granted[::-1], "what is there stays"
    assert [one.id for one in permissions.list(model)] == [one.id for one in granted[::-1]]
    assert [one.id for one in permissions.list(model, order="ascending", limit=1)] == [one.id for one in granted]
    assert [one.project_id for one in permissions.list(model, project_id=strangers)] == [strangers]
    gone = permissions.delete(granted[0].id, fine_tuned_model_checkpoint=model)
    assert (gone.id, gone.object, gone.deleted) == (granted[0].id, "checkpoint.permission", True)
    assert [one.project_id for one in permissions.list(model)] == others[1:]
    with pytest.raises(openai.NotFoundError):
        permissions.delete(granted[0].id, fine_tuned_model_checkpoint=model)


def test_sharing_is_in_the_audit_log(server: Running, mine: openai.OpenAI, model: str, strangers: str) -> None:
    permissions = mine.fine_tuning.checkpoints.permissions
    (granted,) = permissions.create(model, project_ids=[strangers]).data
    permissions.create(model, project_ids=[strangers])
    permissions.delete(granted.id, fine_tuned_model_checkpoint=model)
    answer = raw.ask(server, "GET", f"/v1/organization/audit_logs?resource_ids[]={granted.id}")
    entries = answer.json["data"]
    assert [one["type"] for one in entries] == ["checkpoint.permission.deleted", "checkpoint.permission.created"]
    created = entries[1]
    data = {"project_id": strangers, "fine_tuned_model_checkpoint": model}
    assert created["checkpoint.permission.created"] == {"id": granted.id, "data": data}
    assert created["project"]["id"] == strangers


def test_a_deleted_model_is_shared_with_nobody(
    server: Running, mine: openai.OpenAI, theirs: openai.OpenAI, model: str, strangers: str
) -> None:
    mine.fine_tuning.checkpoints.permissions.create(model, project_ids=[strangers])
    assert create(theirs, model=model).model == model, "they may tune it further"
    mine.models.delete(model)
    kept = sa.select(checkpoint_permissions).where(checkpoint_permissions.c.checkpoint == model)
    assert rows(url(server), kept) == []
    with pytest.raises(openai.NotFoundError):
        mine.fine_tuning.checkpoints.permissions.list(model)


def test_who_cannot_be_shared_with(server: Running, mine: openai.OpenAI, model: str, strangers: str) -> None:
    own = there(server, model)[0]["project_id"]
    old = new_project(server, "old")
    assert raw.ask(server, "POST", f"/v1/organization/projects/{old}/archive", {}).status == 200
    for body, status in (
        ({"project_ids": [strangers, "proj_unknown"]}, 404),
        ({"project_ids": [own]}, 400),
        ({"project_ids": [old]}, 400),
        ({"project_ids": []}, 400),
        ({}, 400),
    ):
        answer = raw.ask(server, "POST", path(model), body)
        assert (answer.status, answer.error["param"]) == (status, "project_ids")
    assert raw.ask(server, "GET", path(model)).json["data"] == []
    assert raw.ask(server, "GET", f"{path(model)}?order=desc").error["param"] == "order"
    assert raw.ask(server, "POST", path("ft:x"), {"project_ids": [strangers]}).error["code"] == "model_not_found"


def test_a_projects_key_shares_nothing(server: Running, theirs: openai.OpenAI, model: str, strangers: str) -> None:
    key = theirs.api_key
    for method, address in (("GET", path(model)), ("POST", path(model)), ("DELETE", f"{path(model)}/cp_1")):
        answer = raw.ask(server, method, address, {"project_ids": [strangers]}, key=key)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope")


def test_two_who_share_the_same_share_it_once(server: Running, model: str, strangers: str) -> None:
    answers: list[Any] = []
    at_once(*[lambda: answers.append(raw.ask(server, "POST", path(model), {"project_ids": [strangers]}).json)] * 4)
    assert len({one["data"][0]["id"] for one in answers}) == 1
    assert len(raw.ask(server, "GET", path(model)).json["data"]) == 1


def test_a_wrong_method_is_told_the_right_ones(server: Running) -> None:
    answer = raw.ask(server, "PUT", "/v1/models/house")
    assert (answer.status, answer.error["code"]) == (405, "method_not_supported")
    assert sorted(answer.headers["allow"].split(", ")) == ["DELETE", "GET", "HEAD"]
    assert raw.ask(server, "GET", "/v1/models/house").json["id"] == "house"
    assert raw.ask(server, "HEAD", "/v1/models/house").status == 200


def test_shared_and_deleted_at_once(server: Running, mine: openai.OpenAI, strangers: str) -> None:
    """Neither waits for the other for ever, and nothing is left of a model that is gone."""
    for _ in range(3):
        model = trained(server, mine).fine_tuned_model
        assert model is not None
        statuses: list[int] = []

        def share(model: str = model, statuses: list[int] = statuses) -> None:
            statuses.append(raw.ask(server, "POST", path(model), {"project_ids": [strangers]}).status)

        def delete(model: str = model, statuses: list[int] = statuses) -> None:
            statuses.append(raw.ask(server, "DELETE", f"/v1/models/{model}").status)

        at_once(share, delete, share)
        assert set(statuses) <= {200, 404}
        assert there(server, model) == []
        kept = sa.select(checkpoint_permissions).where(checkpoint_permissions.c.checkpoint == model)
        assert rows(url(server), kept) == []
