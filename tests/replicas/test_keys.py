"""What is changed through one replica, all others see: soon, and without being asked for anything else."""

from collections.abc import Callable

from tests import openapi
from tests.api.raw import Answer
from tests.fake_upstream import until
from tests.replicas.house import House
from tests.replicas.http import chat
from tests.replicas.processes import Replica


def ask(replica: Replica, key: str, model: str = "keys") -> Answer:
    return replica.ask("POST", "/v1/chat/completions", chat(model, max_tokens=1000), key=key)


def soon(replica: Replica, condition: Callable[[Answer], bool], key: str, model: str = "keys") -> Answer:
    """The answer that meets the condition."""
    answers: list[Answer] = []

    def met() -> bool:
        answers.append(ask(replica, key, model))
        return condition(answers[-1])

    assert until(met), (answers[-1].status, answers[-1].body)
    return answers[-1]


def refused(answer: Answer) -> bool:
    return answer.status == 401


def accepted(answer: Answer) -> bool:
    return answer.status == 200


def test_a_new_key_works_everywhere_and_a_revoked_one_nowhere(two: House) -> None:
    a, b = two.replicas
    project = two.new_project()
    made = two.new_key(project.id)
    soon(b, accepted, made["value"])
    a.admin.projects.api_keys.delete(made["id"], project_id=project.id)
    answer = soon(b, refused, made["value"])
    openapi.validate("ErrorResponse", answer.json)
    assert answer.error["code"] == "invalid_api_key"
    assert made["value"] not in answer.body.decode()
    assert ask(a, made["value"]).status == 401
    assert ask(b, project.key).status == 200


def test_the_key_of_a_service_account_comes_and_goes_with_it(two: House) -> None:
    a, b = two.replicas
    project = two.new_project()
    account = a.admin.projects.service_accounts.create(project.id, name="robot")
    assert account.api_key is not None
    soon(b, accepted, account.api_key.value)
    a.admin.projects.service_accounts.delete(account.id, project_id=project.id)
    soon(b, refused, account.api_key.value)


def test_the_keys_of_an_archived_project_stop(two: House) -> None:
    a, b = two.replicas
    project = two.new_project()
    assert ask(b, project.key).status == 200
    a.admin.projects.archive(project.id)
    soon(b, refused, project.key)
    assert ask(a, project.key).status == 401


def test_an_admin_key_works_everywhere_and_a_revoked_one_nowhere(two: House) -> None:
    a, b = two.replicas
    made = a.admin.admin_api_keys.create(name="ops")
    path = "/v1/organization/projects"
    assert until(lambda: b.ask("GET", path, key=made.value).status == 200)
    a.admin.admin_api_keys.delete(made.id)
    assert until(lambda: b.ask("GET", path, key=made.value).status == 401)


def test_changed_limits_hold_everywhere(two: House) -> None:
    a, b = two.replicas
    project = two.new_project()
    limits = a.admin.projects.rate_limits
    assert ask(b, project.key).headers["x-ratelimit-limit-requests"] == "10000"
    limits.update_rate_limit("rl-keys", project_id=project.id, max_requests_per_1_minute=77)
    soon(b, lambda answer: answer.headers["x-ratelimit-limit-requests"] == "77", project.key)
    a.make(f"/v1/homeport/projects/{project.id}", {"tier": "trial"})
    soon(b, lambda answer: answer.headers["x-ratelimit-limit-requests"] == "3", project.key, "other")
    a.make(f"/v1/homeport/projects/{project.id}", {"tier": None})
    soon(b, lambda answer: answer.headers["x-ratelimit-limit-requests"] == "10000", project.key, "other")
    a.admin.projects.spend_limit.update(project.id, threshold_amount=1, currency="USD", interval="month")
    answer = soon(b, lambda answer: answer.status == 429, project.key, "priced")
    assert answer.error["code"] == "insufficient_quota"


def test_a_rotated_key_overlaps_and_a_model_that_is_denied_is_denied_everywhere(two: House) -> None:
    a, b = two.replicas
    project = two.new_project()
    path = f"/v1/homeport/projects/{project.id}/api_keys/{project.key_id}/rotate"
    rotated = a.make(path, {"overlap_seconds": 3600})
    soon(b, accepted, rotated["value"])
    assert ask(b, project.key).status == 200
    a.admin.projects.model_permissions.update(project.id, mode="deny_list", model_ids=["keys"])
    soon(b, lambda answer: answer.status == 403, project.key)
