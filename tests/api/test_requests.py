"""The latest requests, the newest first: whose, which of them, page by page."""

import asyncio
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from homeport.store.usage_row import UsageRow
from tests.api import raw
from tests.api.owners import new_key, new_project
from tests.fake_upstream import until
from tests.server import KEY, Running
from tests.store import made_usage

PATH = "/v1/homeport/requests"
COUNT = 130


@dataclass
class Told:
    """A server whose ledger has rows of which everything is known."""

    server: Running
    rows: list[UsageRow]

    def ask(self, query: str = "", *, key: str = KEY) -> raw.Answer:
        return raw.ask(self.server, "GET", f"{PATH}?{query}", key=key)

    def ids(self, query: str = "", *, key: str = KEY) -> list[str]:
        return [one["id"] for one in self.ask(query, key=key).json["data"]]

    def expected(self, **only: Any) -> list[str]:
        chosen = made_usage.between(self.rows, 0, float("inf"), **only)
        return [one.request_id for one in chosen]


@pytest.fixture(scope="module")
def told(owning: Running) -> Told:
    rows = made_usage.rows(COUNT)
    work = owning.begin(owning.app.books.rows.write(rows))
    work.result(timeout=60)
    newest = sorted(enumerate(rows), key=lambda one: (one[1].started_at, one[0]), reverse=True)
    return Told(owning, [row for _, row in newest])


WINDOW = f"end_time={made_usage.START + 3 * made_usage.DAY}"  # what other tests ask of the server is not in it


def test_the_newest_come_first_page_by_page(told: Told) -> None:
    found: list[str] = []
    after = ""
    while True:
        page = told.ask(f"{WINDOW}&limit=40{after}").json
        data = page["data"]
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", data[0]["id"], data[-1]["id"])
        found += [one["id"] for one in data]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert found == told.expected()
    assert len(told.ids(WINDOW)) == 20
    same = told.ask(f"{WINDOW}&limit=1").json["data"][0]
    assert same == raw.ask(told.server, "GET", f"/v1/homeport/receipts/{same['id']}").json


@pytest.mark.parametrize(
    ("query", "only"),
    [
        ("project_ids[]=proj_blue", {"project_id": "proj_blue"}),
        ("api_key_ids=key_b", {"key_id": "key_b"}),
        ("models[]=gpt-4o-mini", {"model": "gpt-4o-mini"}),
        ("endpoints[]=embeddings", {"endpoint": "embeddings"}),
        ("outcomes[]=failed", {"outcome": "failed"}),
        ("outcomes=left&models=gpt-4o", {"outcome": "left", "model": "gpt-4o"}),
        ("models=nobody", {"model": "nobody"}),
    ],
)
def test_some_of_them(told: Told, query: str, only: dict[str, Any]) -> None:
    assert told.ids(f"{WINDOW}&limit=100&{query}") == told.expected(**only)[:100]


def test_a_span_of_time(told: Told) -> None:
    start, end = made_usage.START + made_usage.HOUR, made_usage.START + 20 * made_usage.HOUR
    wanted = [one.request_id for one in told.rows if start <= one.started_at < end]
    assert told.ids(f"limit=100&start_time={start}&end_time={end}") == wanted[:100]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("outcomes=lost", "outcomes"),
        ("after=req_nobody", "after"),
        ("start_time=-1", "start_time"),
        ("colour=blue", "colour"),
    ],
)
def test_what_is_refused(told: Told, query: str, param: str) -> None:
    answer = told.ask(query)
    assert answer.status == 400
    assert answer.error["param"].startswith(param)


def test_a_project_sees_its_own(told: Told) -> None:
    project = new_project(told.server, "modest")
    key = new_key(told.server, project)
    assert until(lambda: raw.ask(told.server, key=key).status == 200)
    answer = raw.ask(told.server, key=key)
    request_id = answer.headers["x-request-id"]
    assert until(lambda: request_id in told.ids(key=key))
    mine = told.ask("limit=100", key=key).json["data"]
    assert {one["project_id"] for one in mine} == {project}
    assert told.ids("project_ids=proj_blue", key=key) == []
    stranger = told.rows[0].request_id
    assert told.ask(f"after={stranger}", key=key).status == 400
    assert request_id in told.ids(f"project_ids={project}")
    (one,) = [one for one in mine if one["id"] == request_id]
    assert (one["outcome"], one["status"], one["model"], one["tries"], one["listed"]) == (
        *("completed", 200, "echo"),
        *(0, None),
    )
    assert one["total_ms"] >= one["first_ms"] >= 0


def test_what_a_key_needs(told: Told) -> None:
    project = new_project(told.server, "narrow")
    path = f"/v1/homeport/projects/{project}/api_keys"
    narrow, reader = (
        raw.ask(told.server, "POST", path, {"name": "k", "scopes": [scope]}).json["value"]
        for scope in ("model.request", "usage.read")
    )
    assert until(lambda: told.ask(key=reader).status == 200)
    refused = told.ask(key=narrow)
    assert (refused.status, refused.error["code"]) == (403, "missing_scope")
    assert raw.ask(told.server, key=reader).status == 403
    with openai.OpenAI(base_url=told.server.base_url, api_key=KEY, admin_api_key=KEY, max_retries=0) as client:
        admin = client.admin.organization.admin_api_keys.create(name="watcher").value
    assert until(lambda: told.ask(key=admin).status == 200)
    assert told.ids(WINDOW, key=admin) == told.expected()[:20]


def test_rows_that_are_passed_over_are_not_read(told: Told) -> None:
    """Whatever is chosen, the index alone says which rows it is."""
    from sqlalchemy import text

    database = told.server.app.books.usage_database
    if not database.sqlite:
        pytest.skip("PostgreSQL chooses by the size of the table: bench/usage_page.py measures it")

    async def plan() -> str:
        query = (
            "EXPLAIN QUERY PLAN SELECT seq FROM usage WHERE outcome IN ('failed') AND project_id IN ('p') "
            "ORDER BY started_at DESC, seq DESC LIMIT 21"
        )
        async with database.read() as connection:
            return " ".join(str(row) for row in await connection.execute(text(query)))

    assert "COVERING INDEX ix_usage_newest" in asyncio.run_coroutine_threadsafe(plan(), told.server.loop).result(60)  # type: ignore[arg-type]
