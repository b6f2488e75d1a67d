"""How full the limits and budgets are: what the headers say, and nothing is taken by whoever looks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.api import raw
from tests.api.owners import new_key, new_project
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.store.servers import redis_server

PATH = "/v1/homeport/limits"
DAILY = "max_requests_per_1_day"


@pytest.fixture(scope="module", params=["memory", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings: dict[str, Any] = {
        "prices": {"echo": {"input": "1", "output": "1"}},
        "models": {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.2}},
        # A day of requests, a million tokens: what is used a moment ago is still used when a slow machine looks.
        "tiers": {"slow": {"default": {DAILY: 10, "max_tokens_per_1_day": 1_000_000, "max_concurrent_requests": 5}}},
        "limits": {"tier": "slow"},
    }
    folder = tmp_path_factory.mktemp("limits")
    if request.param == "memory":
        with running(folder, settings) as made:
            yield made
        return
    with redis_server() as redis, running(folder, {**settings, "redis_url": redis.url}) as made:
        yield made


def told(server: Running, query: str = "", *, key: str = KEY) -> list[dict[str, Any]]:
    answer = raw.ask(server, "GET", f"{PATH}?{query}", key=key)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["data"]
    return found


def limit(project: dict[str, Any], name: str, key: str | None = None, model: str = "echo") -> dict[str, Any]:
    (found,) = [
        one for one in project["rate_limits"] if (one["name"], one["model"], one["api_key_id"]) == (name, model, key)
    ]
    return dict(found)


def made_key(server: Running, project: str, **settings: Any) -> tuple[str, str]:
    """Its id, and the key once the gateway knows it."""
    made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "k", **settings}).json
    assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 200)
    return made["id"], made["value"]


def test_it_says_what_the_headers_say_and_takes_nothing(server: Running) -> None:
    project = new_project(server, "full")
    key = new_key(server, project)
    assert limit(told(server, key=key)[0], DAILY)["remaining"] == 10
    for _ in range(3):
        answer = raw.ask(server, key=key)
        assert answer.status == 200
    assert answer.headers["x-ratelimit-remaining-requests"] == "7"
    for _ in range(12):  # more than the limit lets through
        (mine,) = told(server, key=key)
    assert mine["id"] == project
    requests = limit(mine, DAILY)
    assert (requests["limit"], requests["remaining"]) == (10, 7)
    assert 2.5 < requests["used"] <= 3
    assert 0.25 * 86_400 < requests["reset_seconds"] <= 0.3 * 86_400
    tokens = limit(mine, "max_tokens_per_1_day")
    assert (tokens["limit"], tokens["used"] > 0) == (1_000_000, True)
    assert limit(mine, DAILY, model="slow")["used"] == 0
    assert raw.ask(server, key=key).headers["x-ratelimit-remaining-requests"] == "6"


def test_what_is_held_until_it_ends(server: Running) -> None:
    key = new_key(server, new_project(server, "held"))
    with openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0) as client:
        words: Any = [{"role": "user", "content": "word " * 50}]
        stream: Any = client.chat.completions.create(model="slow", messages=words, stream=True)
        next(iter(stream))
        (mine,) = told(server, "models=slow", key=key)
        places = limit(mine, "max_concurrent_requests", model="slow")
        assert (places["used"], places["remaining"], places["reset_seconds"]) == (1, 4, None)
        assert {one["model"] for one in mine["rate_limits"]} == {"slow"}
        stream.close()
    assert until(lambda: limit(told(server, key=key)[0], "max_concurrent_requests", model="slow")["used"] == 0)


def test_a_projects_limits_and_a_keys_own(server: Running) -> None:
    project = new_project(server, "own")
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as client:
        limits = client.admin.organization.projects.rate_limits
        limits.update_rate_limit("rl-echo", project_id=project, max_requests_per_1_minute=77)
        limits.update_rate_limit("rl-echo", project_id=project, batch_1_day_max_input_tokens=5000)
    key_id, key = made_key(server, project, rate_limits={DAILY: 4})
    (mine,) = told(server, key=key)
    assert limit(mine, "max_requests_per_1_minute")["limit"] == 77
    assert limit(mine, DAILY, key_id)["limit"] == 4
    batches = limit(mine, "batch_1_day_max_input_tokens")
    assert (batches["limit"], batches["used"], batches["remaining"], batches["reset_seconds"]) == (5000, 0, 5000, None)
    raw.ask(server, key=key)
    (mine,) = told(server, key=key)
    assert (limit(mine, DAILY)["remaining"], limit(mine, DAILY, key_id)["remaining"]) == (9, 3)


def test_budgets(server: Running) -> None:
    project = new_project(server, "spending")
    key_id, key = made_key(server, project)
    path = f"/v1/homeport/projects/{project}"
    dollar = {"threshold_amount": 100, "currency": "USD"}
    for where, interval in ((path, "month"), (f"{path}/api_keys/{key_id}", "total")):
        made = raw.ask(server, "POST", f"{where}/spend_limit", {**dollar, "interval": interval})
        assert made.status == 200, made.body

    def budgets(key: str = key) -> dict[str, Any]:
        return {one["scope"]: one for one in told(server, f"project_ids={project}", key=key)[0]["budgets"]}

    assert until(lambda: set(budgets()) == {"project", "key"})
    assert {one["spent"]["value"] for one in budgets().values()} == {0}
    cost = Decimal(raw.ask(server, key=key).headers["x-homeport-cost"])
    assert cost > 0

    def spent() -> bool:
        return {Decimal(str(one["spent"]["value"])) for one in budgets().values()} == {cost}

    assert until(spent)
    monthly, own = budgets()["project"], budgets()["key"]
    assert (monthly["interval"], own["interval"], own["api_key_id"]) == ("month", "total", key_id)
    assert Decimal(str(own["remaining"]["value"])) == 1 - cost
    assert own["begins_anew"] is None
    anew = datetime.fromtimestamp(monthly["begins_anew"], UTC)
    assert (anew.day, anew.hour, anew > datetime.now(UTC)) == (1, 0, True)


def test_budgets_of_the_organization_are_for_admins(server: Running) -> None:
    project = new_project(server, "of many")
    key = new_key(server, project)
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as client:
        client.admin.organization.spend_limit.update(threshold_amount=10_000, currency="USD", interval="month")
    try:

        def scopes(asking: str) -> list[str]:
            (found,) = told(server, f"project_ids={project}", key=asking)
            return [one["scope"] for one in found["budgets"]]

        assert until(lambda: scopes(KEY) == ["organization"])
        assert scopes(key) == []
    finally:
        assert raw.ask(server, "DELETE", "/v1/organization/spend_limit").status == 200


def test_whose_they_are(server: Running) -> None:
    mine, others = new_project(server, "mine"), new_project(server, "others")
    key, _ = new_key(server, mine), new_key(server, others)
    assert [one["id"] for one in told(server, key=key)] == [mine]
    assert told(server, f"project_ids={others}", key=key) == []
    assert {mine, others} <= {one["id"] for one in told(server, "limit=100")}
    found, after = [], ""
    while True:
        page = raw.ask(server, "GET", f"{PATH}?limit=1{after}").json
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert found == [one["id"] for one in told(server, "limit=100")]
    narrow = new_key(server, mine, scopes=["model.request"])
    refused = raw.ask(server, "GET", PATH, key=narrow)
    assert (refused.status, refused.error["code"]) == (403, "missing_scope")
    reader = new_key(server, mine, scopes=["usage.read"])
    assert [one["id"] for one in told(server, key=reader)] == [mine]
    for query, param in (("limit=0", "limit"), ("after=proj_nobody", "after"), ("when=now", "when")):
        wrong = raw.ask(server, "GET", f"{PATH}?{query}")
        assert (wrong.status, wrong.error["param"]) == (400, param)
