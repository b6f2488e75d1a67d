"""The Admin API in the whole server: what it changes holds for the next request."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.server import KEY, Running, running

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("whole")) as made:
        yield made


@pytest.fixture(scope="module")
def owner(server: Running) -> Iterator[openai.OpenAI]:
    """The operator's key opens both."""
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as client:
        yield client


def ask(server: Running, key: str) -> str | None:
    with openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0) as client:
        return client.chat.completions.create(model="echo", messages=HELLO).choices[0].message.content


def within_a_second(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 1.0
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def refused(server: Running, key: str, error: type[Exception]) -> bool:
    try:
        ask(server, key)
    except error:
        return True
    return False


def test_a_service_accounts_key_works_until_it_is_deleted(server: Running, owner: openai.OpenAI) -> None:
    projects = owner.admin.organization.projects
    project = projects.create(name="Blue").id
    account = projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    key = account.api_key.value
    within_a_second(lambda: not refused(server, key, openai.AuthenticationError))
    assert ask(server, key)
    with openai.OpenAI(base_url=server.base_url, api_key="x", admin_api_key=key, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError):  # it is no admin key
            client.admin.organization.projects.list()
    projects.service_accounts.delete(account.id, project_id=project)
    within_a_second(lambda: refused(server, key, openai.AuthenticationError))


def test_an_archived_projects_keys_stop(server: Running, owner: openai.OpenAI) -> None:
    projects = owner.admin.organization.projects
    project = projects.create(name="Green").id
    account = projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    key = account.api_key.value
    within_a_second(lambda: not refused(server, key, openai.AuthenticationError))
    projects.archive(project)
    within_a_second(lambda: refused(server, key, openai.AuthenticationError))


def test_an_admin_key_is_for_the_admin_api_alone(server: Running, owner: openai.OpenAI) -> None:
    made = owner.admin.organization.admin_api_keys.create(name="CI")
    with openai.OpenAI(base_url=server.base_url, api_key=made.value, admin_api_key=made.value, max_retries=0) as client:

        def listed() -> bool:
            try:
                return bool(client.admin.organization.projects.list().data)
            except openai.AuthenticationError:
                return False

        within_a_second(listed)
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="echo", messages=HELLO)
        (entry,) = client.admin.organization.audit_logs.list(resource_ids=[made.id])
        assert entry.type == "api_key.created"
        owner.admin.organization.admin_api_keys.delete(made.id)
        within_a_second(lambda: not listed())


def test_rate_limits_of_a_project(server: Running, owner: openai.OpenAI) -> None:
    projects = owner.admin.organization.projects
    project = projects.create(name="Red").id
    account = projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    key = account.api_key.value
    assert "rl-echo" in {limit.id for limit in projects.rate_limits.list_rate_limits(project)}
    projects.rate_limits.update_rate_limit("rl-echo", project_id=project, max_requests_per_1_minute=1)
    within_a_second(lambda: not refused(server, key, openai.AuthenticationError))
    within_a_second(lambda: refused(server, key, openai.RateLimitError))
