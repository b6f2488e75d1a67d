"""Every list in pages, through the official SDK: nothing is lost, nothing comes twice, whatever changes meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.api.admin.served import Served

MANY = 9
ALERT: Any = {
    "threshold_amount": 1,
    "currency": "USD",
    "interval": "month",
    "notification_channel": {"type": "email", "recipients": ["a@example.com"]},
}
Lister = Callable[..., Any]


def admin_api_keys(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.admin_api_keys
    return resource.list, lambda n: resource.create(name=f"n{n}").id


def projects(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.projects
    return resource.list, lambda n: resource.create(name=f"n{n}").id


def api_keys(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    path = f"/v1/homeport/projects/{project}/api_keys"
    return (
        lambda **more: served.admin.projects.api_keys.list(project, **more),
        lambda n: str(served.make("POST", path, {"name": f"n{n}"})["id"]),
    )


def service_accounts(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.projects.service_accounts
    return (lambda **more: resource.list(project, **more)), (lambda n: resource.create(project, name=f"n{n}").id)


def project_users(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.projects.users

    def make(number: int) -> str:
        user: str = served.make_user(f"{number}-{project}@example.com")["id"]
        return resource.create(project, user_id=user, role="member").id

    return (lambda **more: resource.list(project, **more)), make


def users(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    return served.admin.users.list, lambda n: str(served.make_user(f"{n}-of-{project}@example.com")["id"])


def invites(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.invites
    return resource.list, lambda n: resource.create(email=f"i{n}-{project}@example.com", role="reader").id


def spend_alerts(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.spend_alerts
    return resource.list, lambda n: resource.create(**ALERT).id


def project_spend_alerts(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.projects.spend_alerts
    return (lambda **more: resource.list(project, **more)), (lambda n: resource.create(project, **ALERT).id)


def rate_limits(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    resource = served.admin.projects.rate_limits

    def make(number: int) -> str:
        name = f"rl-local-{number:02}"
        return resource.update_rate_limit(name, project_id=project, max_requests_per_1_minute=1).id

    return (lambda **more: resource.list_rate_limits(project, **more)), make


def audit_logs(served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    def make(number: int) -> str:
        served.admin.projects.update(project, name=f"n{number}")
        return str(served.last_entries(1)[0].id)

    return (lambda **more: served.admin.audit_logs.list(project_ids=[project], **more)), make


LISTS = [
    admin_api_keys,
    projects,
    api_keys,
    service_accounts,
    project_users,
    users,
    invites,
    spend_alerts,
    project_spend_alerts,
    rate_limits,
    audit_logs,
]


@pytest.fixture(params=LISTS, ids=lambda one: one.__name__)
def resource(request: pytest.FixtureRequest, served: Served, project: str) -> tuple[Lister, Callable[[int], str]]:
    made: tuple[Lister, Callable[[int], str]] = request.param(served, project)
    return made


def pages_of(listed: Any) -> Iterator[Any]:
    yield listed
    while listed.has_next_page():
        listed = listed.get_next_page()
        yield listed


def test_every_object_comes_once(resource: tuple[Lister, Callable[[int], str]]) -> None:
    listed, make = resource
    made = [make(number) for number in range(MANY)]
    pages = [*pages_of(listed(limit=4))]
    for page in pages:
        raw = page.to_dict()
        assert set(raw) == {"object", "data", "has_more", "first_id", "last_id"}
        assert (raw["first_id"], raw["last_id"]) == (page.data[0].id, page.data[-1].id)
        assert raw["has_more"] is (page is not pages[-1])
    ids = [one.id for page in pages for one in page.data]
    assert len(ids) == len(set(ids))
    assert [one for one in ids if one in made] in (made, made[::-1])
    assert all(len(page.data) == 4 for page in pages[:-1])
    assert [one.id for one in listed(limit=100)] == ids


def test_what_is_made_meanwhile_pushes_nothing_away(resource: tuple[Lister, Callable[[int], str]]) -> None:
    listed, make = resource
    made = [make(number) for number in range(6)]
    seen = []
    for number, page in enumerate(pages_of(listed(limit=2))):
        seen += [one.id for one in page.data]
        if number < 3:
            make(20 + number)
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)


def test_both_orders(served: Served, project: str) -> None:
    for listed, make in (
        admin_api_keys(served, project),
        spend_alerts(served, project),
        project_spend_alerts(served, project),
    ):
        for number in range(5):
            make(number)
        up = [one.id for one in listed(limit=3, order="asc")]
        assert [one.id for one in listed(limit=3, order="desc")] == up[::-1]
        assert [one.id for one in listed(limit=100)] == up


def test_backwards(served: Served, project: str) -> None:
    for listed, make in (project_spend_alerts(served, project), rate_limits(served, project)):
        for number in range(7):
            make(number)
        every = [one.id for one in listed()]
        seen: list[str] = []
        place = every[-1]
        while True:
            page = listed(limit=2, before=place)
            seen = [*(one.id for one in page.data), *seen]
            if not page.has_more:
                break
            place = page.data[0].id
        assert seen == every[:-1]
        assert [one.id for one in listed(after=every[1], before=every[4])] == every[2:4]
        newest = [one.id for one in listed(limit=3, before=every[-1])]
        assert newest == every[-4:-1]


def test_an_object_that_no_longer_matches_marks_its_place(served: Served, project: str) -> None:
    first = served.admin.projects.create(name="first").id
    second = served.admin.projects.create(name="second").id
    served.admin.projects.archive(first)
    assert second in [one.id for one in served.admin.projects.list(after=first)]


def test_a_place_in_another_list_is_none(served: Served, project: str) -> None:
    other = served.admin.projects.create(name="Other").id
    key = served.make("POST", f"/v1/homeport/projects/{other}/api_keys", {"name": "x"})["id"]
    with pytest.raises(openai.BadRequestError) as caught:
        served.admin.projects.api_keys.list(project, after=key)
    assert caught.value.param == "after"
