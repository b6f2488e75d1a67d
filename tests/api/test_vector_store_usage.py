"""How much vector stores have, by the hour and project: the page of it, of a server whose clock is moved."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import openai
import pytest

from homeport import clock, durable
from tests import openapi
from tests.api.owners import client_of, new_key, new_project
from tests.control import databases
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.stores import prose, put

HOUR, DAY = 3600, 86_400

Move = Callable[[int], None]
Width = Literal["1m", "1h", "1d"]


@pytest.fixture(scope="module", params=databases.KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that looks all the time."""
    settings = {}
    if request.param == "postgresql":
        settings = {"database_url": request.getfixturevalue("postgres").create("stored")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "USAGE_SECONDS", 0.05)
        patch.setattr(durable, "SWEEP_SECONDS", 1e9)  # for a clock that is ahead, what is written now is long forgotten
        with running(tmp_path_factory.mktemp("stored"), settings) as made:
            yield made


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Sets the clock."""
    now = clock.now

    def to(second: int) -> None:
        ahead = second - now()
        monkeypatch.setattr(clock, "now", lambda: now() + ahead)

    return to


def told(server: Running, width: Width, start: int, end: int, **query: Any) -> list[dict[str | None, int]]:
    """Of each bucket, project -> bytes."""
    with openai.OpenAI(base_url=server.base_url, api_key="none", admin_api_key=KEY, max_retries=0) as client:
        page = client.admin.organization.usage.with_raw_response.vector_stores(
            start_time=start, end_time=end, bucket_width=width, **query
        )
        page.parse()
    body: Mapping[str, Any] = page.http_response.json()
    openapi.validate("UsageResponse", body)
    for bucket in body["data"]:
        assert {one["object"] for one in bucket["results"]} <= {"organization.usage.vector_stores.result"}
    return [{one["project_id"]: one["usage_bytes"] for one in bucket["results"]} for bucket in body["data"]]


def test_what_stores_have_by_the_hour(server: Running, move: Move) -> None:
    day = int(clock.now()) // DAY * DAY + DAY
    at_three = day + 3 * HOUR
    projects = [new_project(server, name) for name in ("blue", "red")]
    with (
        client_of(server, new_key(server, projects[0])) as ours,
        client_of(server, new_key(server, projects[1])) as his,
    ):
        grouped: dict[str, Any] = {"group_by": ["project_id"], "project_ids": projects}

        def shows(hour: int, expected: dict[str, int]) -> bool:
            return until(lambda: told(server, "1h", hour, hour + HOUR, **grouped) == [expected])

        move(at_three + 600)
        mine, theirs = ours.vector_stores.create().id, his.vector_stores.create().id
        put(ours, mine, prose(2000))
        put(his, theirs, "hello there")
        first, second = (c.vector_stores.retrieve(s).usage_bytes for c, s in ((ours, mine), (his, theirs)))
        assert first > second > 0
        blue, red = projects
        assert shows(at_three, {blue: first, red: second})

        move(at_three + HOUR + 600)
        put(ours, mine, prose(500))
        more = ours.vector_stores.retrieve(mine).usage_bytes
        assert more > first
        assert shows(at_three + HOUR, {blue: more, red: second})

        move(at_three + 2 * HOUR + 600)
        his.vector_stores.delete(theirs)
        assert shows(at_three + 2 * HOUR, {blue: more})

    hours = [{}, {blue: first, red: second}, {blue: more, red: second}, {blue: more}]
    assert told(server, "1h", at_three - HOUR, at_three + 3 * HOUR, **grouped) == hours
    together = [{None: first + second}, {None: more + second}, {None: more}]
    assert told(server, "1h", at_three, at_three + 3 * HOUR, project_ids=projects) == together
    assert told(server, "1h", at_three, at_three + HOUR, project_ids=[red]) == [{None: second}]
    # a day is worth its newest hour, or that of the part of it that is asked for; a minute is worth its hour
    assert told(server, "1d", day, day + DAY, **grouped) == [{blue: more}]
    assert told(server, "1d", day, at_three + 2 * HOUR - 60, **grouped) == [{blue: more, red: second}]
    minutes = told(server, "1m", at_three + HOUR - 120, at_three + HOUR + 120, project_ids=projects)
    assert minutes == [{None: first + second}] * 2 + [{None: more + second}] * 2


def test_who_has_nothing_is_not_told_of(server: Running) -> None:
    project = new_project(server, "empty")
    start = int(clock.now()) // HOUR * HOUR
    assert told(server, "1h", start, start + HOUR, project_ids=[project]) == [{}]


def test_what_is_long_ago_is_forgotten(server: Running, move: Move) -> None:
    project = new_project(server, "old")
    hour = int(clock.now()) // HOUR * HOUR + 10 * DAY
    chosen: dict[str, Any] = {"group_by": ["project_id"], "project_ids": [project]}
    move(hour + 600)
    with client_of(server, new_key(server, project)) as client:
        store = client.vector_stores.create().id
        put(client, store, "hello there")
        size = client.vector_stores.retrieve(store).usage_bytes
    assert until(lambda: told(server, "1h", hour, hour + HOUR, **chosen) == [{project: size}])
    later = hour + 401 * DAY
    move(later + 600)
    assert until(lambda: told(server, "1h", later, later + HOUR, **chosen) == [{project: size}])
    assert told(server, "1h", hour, hour + HOUR, **chosen) == [{}]
