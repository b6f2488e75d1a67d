"""Usage and costs through the official SDK: buckets, groups, filters and pages, compared with plain Python."""

import asyncio
import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openai
import pytest
import uvicorn
from starlette.requests import Request
from starlette.routing import Router

from homeport.api import admin_usage
from homeport.api.middleware import Envelope
from homeport.control.usage import Usage
from homeport.control.usage_pages import PAGES
from homeport.errors import InvalidKey
from homeport.store.database import Database
from homeport.store.tables import vector_store_usage
from homeport.store.usage_rows import UsageRow, UsageRows
from homeport.store.usage_sums import UsageSums
from homeport.store.vector_store_usage import VectorStoreUsage
from homeport.wire import admin_usage as wire
from tests import openapi
from tests.store import made_usage
from tests.store.made_usage import DAY, HOUR, START, between
from tests.store.servers import PostgresServer, postgres_server

KEY = "sk-admin-0123456789abcdef"
ORGANIZATION, HOMEPORT = "/v1/organization", "/v1/homeport"
DAYS = 3
ROWS = made_usage.rows(900, days=DAYS)
END = START + DAYS * DAY
PATHS = [*(f"usage/{page.name}" for page in PAGES), "costs"]
WIDTHS = {"1m": 60, "1h": HOUR, "1d": DAY}
SOURCES = {
    "images.generations": "image.generation",
    "images.edits": "image.edit",
    "images.variations": "image.variation",
}
TEXT = ("input_tokens", "cached_tokens", "cache_write_tokens")
MORE = ("input_audio_tokens", "input_image_tokens")
#: Page -> what its description calls a result, and what of the rows is in it.
RESULTS: dict[str, tuple[str, dict[str, Sequence[str]]]] = {
    "completions": (
        "UsageCompletionsResult",
        {
            "input_tokens": (*TEXT, "input_audio_tokens", "input_image_tokens"),
            "input_cached_tokens": ("cached_tokens",),
            "input_cache_write_tokens": ("cache_write_tokens",),
            "input_uncached_tokens": ("input_tokens", "input_audio_tokens", "input_image_tokens"),
            "output_tokens": ("output_tokens", "output_audio_tokens", "output_image_tokens"),
            "input_text_tokens": ("input_tokens",),
            "output_text_tokens": ("output_tokens",),
            "input_cached_text_tokens": ("cached_tokens",),
            "input_audio_tokens": ("input_audio_tokens",),
            "input_cached_audio_tokens": (),
            "output_audio_tokens": ("output_audio_tokens",),
            "input_image_tokens": ("input_image_tokens",),
            "input_cached_image_tokens": (),
            "output_image_tokens": ("output_image_tokens",),
        },
    ),
    "embeddings": ("UsageEmbeddingsResult", {"input_tokens": TEXT}),
    "moderations": ("UsageModerationsResult", {"input_tokens": (*TEXT, "input_image_tokens")}),
    "images": ("UsageImagesResult", {"images": ("images",)}),
    "audio_speeches": ("UsageAudioSpeechesResult", {"characters": ("characters",)}),
    "audio_transcriptions": ("UsageAudioTranscriptionsResult", {"seconds": ("milliseconds",)}),
}
#: What a result is grouped by, and what of a row that is.
GROUPS: dict[str, Any] = {
    "project_id": lambda row: row.project_id,
    "user_id": lambda row: row.user_id or None,
    "api_key_id": lambda row: row.key_id,
    "model": lambda row: row.ran,
    "batch": lambda row: row.batch,
    "service_tier": lambda row: row.service_tier,
    "size": lambda row: row.size.rpartition(" ")[2],
    "source": lambda row: SOURCES[row.endpoint],
    "api_source": lambda row: "unlabeled",
}


@dataclass(frozen=True)
class Served:
    port: int
    client: openai.OpenAI

    def page(self, page: str, /, **query: Any) -> dict[str, Any]:
        """By the SDK; the answer is what the description says."""
        usage = self.client.admin.organization.usage.with_raw_response
        answer = getattr(usage, page)(**query)
        answer.parse()
        body: dict[str, Any] = json.loads(answer.http_response.content)
        openapi.validate("UsageResponse", body)
        return body

    def ask(self, path: str, *, key: str = KEY, method: str = "GET", under: str = ORGANIZATION) -> tuple[int, Any]:
        """By hand. path: with its query."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"{under}/{path}", headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def serving(url: str, rows: Sequence[UsageRow]) -> Iterator[Served]:
    """The pages alone, in a thread, over a database with these rows. url: of an empty one."""

    async def authorize(request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise InvalidKey("Incorrect API key provided.")

    servers: list[uvicorn.Server] = []

    async def main() -> None:
        database = Database(url, synchronous="NORMAL")
        store = UsageRows(database)
        await store.create()
        await store.write(rows)
        await store.close()
        async with database.write() as connection:
            await connection.run_sync(vector_store_usage.create)
        routes = admin_usage.routes(Usage(UsageSums(database), VectorStoreUsage(database)), authorize)
        app = Envelope(Router(routes, redirect_slashes=False), organization="test")
        servers.append(uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off")))
        await servers[0].serve()
        await database.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="usage-under-test")
    thread.start()
    while thread.is_alive() and not (servers and servers[0].started):
        time.sleep(0.01)
    try:
        port = servers[0].servers[0].sockets[0].getsockname()[1]
        base_url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(base_url=base_url, api_key="none", admin_api_key=KEY, max_retries=0) as client:
            yield Served(port, client)
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = f"sqlite:///{tmp_path_factory.mktemp('admin-usage') / 'usage.db'}"
    url = file if request.param == "sqlite" else request.getfixturevalue("postgres").create("usage")
    with serving(url, ROWS) as made:
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Without any usage."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('no-usage') / 'usage.db'}", []) as made:
        yield made


def buckets_of(start: int, end: int, width: int) -> list[tuple[int, int]]:
    begin, found = start - start % 60, []
    while begin < end:
        found.append((begin, min(begin - begin % width + width, end)))
        begin = found[-1][1]
    return found


def expected(page: str, rows: Sequence[UsageRow], group_by: Sequence[str]) -> list[dict[str, Any]]:
    """The results of a bucket with these rows."""
    schema, members = RESULTS[page]
    groups: dict[tuple[Any, ...], list[UsageRow]] = {}
    for row in rows:
        groups.setdefault(tuple(GROUPS[name](row) for name in group_by), []).append(row)
    found = []
    for group, those in groups.items():
        sums = {name: sum(getattr(row, count) for row in those for count in counts) for name, counts in members.items()}
        if "seconds" in sums:
            sums["seconds"] = int(sums["seconds"] / 1000 + 0.5)
        nulls = dict.fromkeys(openapi.properties(schema) - {*sums, "object", "num_model_requests"})
        found.append(
            {
                "object": f"organization.usage.{page}.result",
                "num_model_requests": len(those),
                **nulls,
                **sums,
                **dict(zip(group_by, group, strict=True)),
            }
        )
    return found


def by_group(results: Sequence[Mapping[str, Any]], group_by: Sequence[str]) -> list[Mapping[str, Any]]:
    return sorted(results, key=lambda result: repr([result[name] for name in group_by]))


def check(page: str, body: Mapping[str, Any], start: int, end: int, width: str, group_by: Sequence[str] = ()) -> None:
    """All buckets of the page, in order, and in each of them what the rows add up to."""
    found = body["data"]
    wanted = buckets_of(start, end, WIDTHS[width])
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in found] == wanted
    for bucket in found:
        rows = between(ROWS, bucket["start_time"], bucket["end_time"], page=page)
        assert by_group(bucket["results"], group_by) == by_group(expected(page, rows, group_by), group_by)


@pytest.mark.parametrize("page", RESULTS)
def test_days(served: Served, page: str) -> None:
    body = served.page(page, start_time=START, end_time=END)
    assert (body["has_more"], body["next_page"]) == (False, None)
    check(page, body, START, END, "1d")
    assert all(bucket["results"] for bucket in body["data"])


@pytest.mark.parametrize("page", RESULTS)
def test_hours(served: Served, page: str) -> None:
    body = served.page(page, start_time=START, end_time=END, bucket_width="1h", limit=168)
    check(page, body, START, END, "1h")


@pytest.mark.parametrize("page", ["completions", "images"])
def test_minutes(served: Served, page: str) -> None:
    start = START + 5 * HOUR
    body = served.page(page, start_time=start, end_time=start + 3 * HOUR, bucket_width="1m", limit=1440)
    check(page, body, start, start + 3 * HOUR, "1m")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(START + 4321, START + 2 * DAY + 5432, id="within hours"),
        pytest.param(START + 7 * HOUR, START + 9 * HOUR, id="on hours"),
        pytest.param(START + 100, START + 101, id="a second"),
        pytest.param(START - 2 * DAY, START - DAY, id="nothing"),
    ],
)
def test_spans_that_begin_and_end_anywhere(served: Served, start: int, end: int, width: str) -> None:
    """The first bucket begins at the minute, the last one ends where it was said."""
    wanted = buckets_of(start, end, WIDTHS[width])
    data: list[Any] = []
    page = None
    while len(data) < len(wanted) and len(data) < 1500:
        query = {"start_time": start, "end_time": end, "bucket_width": width}
        body = served.page("completions", **query, **({"page": page} if page else {}))
        data += body["data"]
        page = body["next_page"]
        assert body["has_more"] == (page is not None)
        if page is None:
            break
    end = min(end, data[-1]["end_time"])
    check("completions", {"data": data}, start, end, width)


@pytest.mark.parametrize(
    ("page", "group_by"),
    [
        *((page, [name]) for page in RESULTS for name in ("project_id", "user_id", "api_key_id", "model")),
        ("completions", ["batch"]),
        ("completions", ["service_tier"]),
        ("completions", ["api_source"]),
        ("completions", ["model", "project_id", "user_id", "api_key_id", "batch", "service_tier", "api_source"]),
        ("images", ["size"]),
        ("images", ["source"]),
        ("images", ["size", "source", "model", "project_id"]),
    ],
    ids=str,
)
def test_groups(served: Served, page: str, group_by: list[str]) -> None:
    start, end = START + 1234, END - 4321
    body = served.page(page, start_time=start, end_time=end, group_by=group_by)
    check(page, body, start, end, "1d", group_by)
    again = served.page(page, start_time=start, end_time=end, group_by=[*group_by, *group_by])
    assert again == body


FILTERS: list[tuple[str, dict[str, Any], Any]] = [
    ("completions", {"project_ids": ["proj_blue"]}, lambda row: row.project_id == "proj_blue"),
    ("completions", {"project_ids": ["proj_blue", "proj_red"]}, lambda row: True),
    ("completions", {"user_ids": ["user-ann"]}, lambda row: row.user_id == "user-ann"),
    ("completions", {"api_key_ids": ["key_b", "key_d"]}, lambda row: row.key_id in ("key_b", "key_d")),
    ("completions", {"models": ["gpt-4o-2024-08-06"]}, lambda row: row.ran == "gpt-4o-2024-08-06"),
    ("completions", {"models": ["gpt-4o"]}, lambda row: False),
    ("completions", {"batch": True}, lambda row: row.batch),
    ("completions", {"batch": False}, lambda row: not row.batch),
    (
        "completions",
        {"project_ids": ["proj_red"], "user_ids": ["user-ann"], "batch": True},
        lambda row: row.key_id == "key_c" and row.batch,
    ),
    ("images", {"sizes": ["1024x1024"]}, lambda row: row.size.endswith("1024x1024")),
    ("images", {"sizes": ["1024x1792", "256x256"]}, lambda row: row.size == "1024x1792"),
    (
        "images",
        {"sources": ["image.edit", "image.variation"]},
        lambda row: row.endpoint in ("images.edits", "images.variations"),
    ),
    ("embeddings", {"models": ["it's%odd"]}, lambda row: False),
]


@pytest.mark.parametrize(("page", "only", "chosen"), FILTERS, ids=[f"{page} {only}" for page, only, _ in FILTERS])
@pytest.mark.parametrize("width", ["1d", "1m"])
def test_filters(served: Served, page: str, only: dict[str, Any], chosen: Any, width: str) -> None:
    """From the hours, and from the rows."""
    start, end = START + 500, START + (2 * DAY if width == "1d" else 12 * HOUR)
    limit = {"limit": 1440} if width == "1m" else {}
    body = served.page(page, start_time=start, end_time=end, bucket_width=width, **limit, **only)
    for bucket in body["data"]:
        rows = between(ROWS, bucket["start_time"], bucket["end_time"], page=page)
        assert bucket["results"] == expected(page, [row for row in rows if chosen(row)], [])


@pytest.mark.parametrize("page", [page.name for page in PAGES if page.result is None])
def test_pages_of_which_nothing_is_recorded_are_empty(served: Served, page: str) -> None:
    query = {"start_time": START, "end_time": END, "bucket_width": "1h", "limit": 10, "project_ids": ["proj_blue"]}
    body = served.page(page, **query, group_by=["project_id"])
    assert [bucket["results"] for bucket in body["data"]] == [[]] * 10
    assert body["has_more"]


@pytest.mark.parametrize(
    "query",
    [
        "project_ids[]=proj_blue&project_ids[]=proj_red&group_by[]=model&group_by[]=batch",
        "project_ids=proj_blue&project_ids=proj_red&group_by=model&group_by=batch",
        "project_ids%5B%5D=proj_blue&project_ids=proj_red&group_by=model,batch",
    ],
)
def test_lists_in_any_spelling(served: Served, query: str) -> None:
    status, body = served.ask(f"usage/completions?start_time={START}&end_time={END}&{query}")
    assert status == 200, body
    check("completions", body, START, END, "1d", ["model", "batch"])


# Costs beside list prices


def listed(rows: Sequence[UsageRow]) -> dict[str, Any]:
    """As a result of /v1/homeport/costs says it of these rows."""

    def dollars(name: str) -> Decimal:
        return sum((Decimal(getattr(row, name) or 0) for row in rows), Decimal()).scaleb(-12)

    return {
        "amount": dollars("cost_pico"),
        "saved": dollars("saved_pico"),
        "listed": dollars("list_pico"),
        "num_model_requests": len(rows),
        "num_unpriced_requests": [row.cost_pico for row in rows].count(None),
        "num_unlisted_requests": [row.list_pico for row in rows].count(None),
        "input_tokens": sum(getattr(row, name) for row in rows for name in (*TEXT, *MORE)),
        "output_tokens": sum(row.output_tokens + row.output_audio_tokens + row.output_image_tokens for row in rows),
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("group", ["project_id", "api_key_id", "model", "user_id"])
def test_costs_beside_list_prices(served: Served, width: str, group: str) -> None:
    """From the hours and from the rows."""
    start, end = START + 500, START + (12 * HOUR if width == "1m" else 2 * DAY)
    query = f"start_time={start}&end_time={end}&bucket_width={width}&limit={ {'1m': 1440, '1h': 168, '1d': 31}[width] }"
    status, body = served.ask(f"costs?{query}&group_by={group}".replace(" ", ""), under=HOMEPORT)
    assert status == 200, body
    wanted = buckets_of(start, end, WIDTHS[width])
    assert [(one["start_time"], one["end_time"]) for one in body["data"]] == wanted
    for bucket in body["data"]:
        groups: dict[Any, list[UsageRow]] = {}
        for row in between(ROWS, bucket["start_time"], bucket["end_time"]):
            groups.setdefault(GROUPS[group](row), []).append(row)
        found = {}
        for result in bucket["results"]:
            assert result["object"] == "homeport.costs.result"
            money = {name: Decimal(str(result[name]["value"])) for name in ("amount", "saved", "listed")}
            counts = {name: result[name] for name in result if name.startswith("num_") or name.endswith("_tokens")}
            found[result[group]] = money | counts
        assert found == {name: listed(rows) for name, rows in groups.items()}


def test_costs_beside_list_prices_of_some(served: Served) -> None:
    query = f"start_time={START}&end_time={START + DAY}&project_ids=proj_blue&models=gpt-4o-2024-08-06"
    status, body = served.ask(f"costs?{query}", under=HOMEPORT)
    assert status == 200
    rows = between(ROWS, START, START + DAY, project_id="proj_blue", ran="gpt-4o-2024-08-06")
    (result,) = body["data"][0]["results"]
    assert result["num_model_requests"] == len(rows)
    refused(served.ask("costs?start_time=0&group_by=line_item", under=HOMEPORT), "group_by[0]", "line_item")


# Pages


@pytest.mark.parametrize(("width", "default", "most"), [("1d", 7, 31), ("1h", 24, 168), ("1m", 60, 1440)])
def test_how_many_buckets_a_page_has(served: Served, width: str, default: int, most: int) -> None:
    query: dict[str, Any] = {"start_time": START, "end_time": START + 40 * DAY, "bucket_width": width}
    assert len(served.page("moderations", **query)["data"]) == default
    assert len(served.page("moderations", **query, limit=most)["data"]) == most
    assert len(served.page("moderations", **query, limit=1)["data"]) == 1
    refused(served.ask(f"usage/moderations?start_time=0&bucket_width={width}&limit={most + 1}"), "limit", str(most))


def test_pages_give_every_bucket_once(served: Served) -> None:
    query: dict[str, Any] = {"start_time": START + 70, "end_time": START + 30 * HOUR + 7, "bucket_width": "1h"}
    query["group_by"] = ["model"]
    whole = served.page("completions", **query, limit=168)
    data: list[Any] = []
    body = served.page("completions", **query, limit=7)
    data += body["data"]
    while body["has_more"]:
        body = served.page("completions", **query, limit=7, page=body["next_page"])
        data += body["data"]
    assert body["next_page"] is None
    assert data == whole["data"]
    assert len(data) == 31


def test_without_an_end_the_last_bucket_ends_now(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """And on the later pages now is what it was on the first."""
    now = START + DAY + 5 * HOUR + 0.7
    seen = [row for row in ROWS if row.started_at < START + DAY + 6 * HOUR]
    monkeypatch.setattr("homeport.clock.now", lambda: now)
    body = served.page("completions", start_time=START + 20 * HOUR)
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in body["data"]] == [
        (START + 20 * HOUR, START + DAY),
        (START + DAY, START + DAY + 5 * HOUR + 1),
    ]
    rows = between(seen, START + DAY, START + 2 * DAY, page="completions")
    assert body["data"][1]["results"] == expected("completions", rows, [])
    first = served.page("completions", start_time=START + 20 * HOUR, limit=1)
    monkeypatch.setattr("homeport.clock.now", lambda: now + 3 * DAY)
    later = served.page("completions", start_time=START + 20 * HOUR, page=first["next_page"])
    assert [bucket["end_time"] for bucket in later["data"]] == [START + DAY + 5 * HOUR + 1]
    assert not later["has_more"]
    assert served.page("completions", start_time=int(now) + 9 * DAY) == {
        "object": "page",
        "data": [],
        "has_more": False,
        "next_page": None,
    }


def changed(page: str, place: int) -> str:
    """The cursor with one byte of it another."""
    raw = bytearray(base64.urlsafe_b64decode(page.removeprefix("page_")))
    raw[place] ^= 1
    return "page_" + base64.urlsafe_b64encode(raw).decode()


def test_a_cursor_is_good_for_its_own_question_alone(served: Served) -> None:
    query = f"start_time={START}&end_time={END}&bucket_width=1h"
    status, body = served.ask(f"usage/completions?{query}&limit=3")
    assert status == 200
    page = body["next_page"]
    assert page.startswith("page_")
    assert served.ask(f"usage/completions?{query}&page={page}&limit=5")[0] == 200
    words = "The page token is invalid, have you modified the query parameters?"
    for other in (
        *(f"usage/completions?{query}&page={changed(page, place)}" for place in range(0, 24, 3)),
        f"usage/completions?{query}&page={page[:-4]}",
        f"usage/completions?{query}&page={page[5:]}",
        f"usage/completions?{query}&page=page_",
        f"usage/completions?{query}&page=nonsense",
        f"usage/completions?{query}&page=",
        f"usage/embeddings?{query}&page={page}",
        f"usage/completions?{query}&page={page}&group_by=model",
        f"usage/completions?{query}&page={page}&project_ids=proj_blue",
        f"usage/completions?{query.replace('1h', '1d')}&page={page}",
        f"usage/completions?{query.replace(str(END), str(END + 1))}&page={page}",
        f"usage/completions?{query.replace(str(START), str(START + 60))}&page={page}",
    ):
        refused(served.ask(other), "page", words)


# Costs


def money(rows: Sequence[UsageRow]) -> Decimal:
    return Decimal(sum(pico for row in rows for *_, pico in row.price_lines or ())).scaleb(-12)


def exact(body: Any) -> Any:
    """Numbers as they stand in the JSON."""
    return json.loads(body, parse_float=Decimal)


def test_costs_are_exact(served: Served) -> None:
    answer = served.client.admin.organization.usage.with_raw_response.costs(start_time=START, end_time=END)
    body = exact(answer.http_response.content)
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in body["data"]] == buckets_of(START, END, DAY)
    for bucket in body["data"]:
        (result,) = bucket["results"]
        assert set(result) == openapi.properties("CostsResult")
        amount = result.pop("amount")
        assert amount == {"value": money(between(ROWS, bucket["start_time"], bucket["end_time"])), "currency": "usd"}
        assert set(result.values()) == {"organization.costs.result", None}
    (parsed,) = answer.parse().data[0].results
    assert parsed.object == "organization.costs.result"
    assert parsed.amount is not None
    assert parsed.amount.value == float(money(between(ROWS, START, START + DAY)))


def test_costs_by_line_item(served: Served) -> None:
    start, end = START + 12345, END - 54321
    body = served.page("costs", start_time=start, end_time=end, group_by=["line_item", "project_id", "api_key_id"])
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in body["data"]] == buckets_of(start, end, DAY)
    for bucket in body["data"]:
        rows = between(ROWS, bucket["start_time"], bucket["end_time"])
        by_unit = made_usage.spending(rows, lambda row, item, unit: (item, row.project_id, row.key_id, unit))
        wanted: dict[tuple[Any, ...], dict[str, tuple[int, int]]] = {}
        for (*group, unit), sums in by_unit.items():
            wanted.setdefault(tuple(group), {})[unit] = sums
        assert len(bucket["results"]) == len(wanted)
        for result in bucket["results"]:
            units = wanted[result["line_item"], result["project_id"], result["api_key_id"]]
            pico = sum(pico for _, pico in units.values())
            assert Decimal(repr(result["amount"]["value"])) == Decimal(repr(float(Decimal(pico).scaleb(-12))))
            if len(units) == 1:
                ((unit, (quantity, _)),) = units.items()
                names = {"seconds": "duration_seconds"}
                assert (result["quantity"], result["quantity_unit"]) == (quantity, names.get(unit, unit))
            else:
                assert (result["quantity"], result["quantity_unit"]) == (None, None)


def test_costs_of_some(served: Served) -> None:
    query = {"start_time": START + 5, "end_time": END}
    both = {"project_ids": ["proj_blue"], "api_key_ids": ["key_a"]}
    body = served.page("costs", **query, **both)
    for bucket in body["data"]:
        rows = between(ROWS, bucket["start_time"], bucket["end_time"], project_id="proj_blue", key_id="key_a")
        assert bucket["results"][0]["amount"]["value"] == float(money(rows))
    by_user = served.ask(
        f"costs?start_time={START}&end_time={END}&group_by=user_id,api_source&line_items=gpt-4o,%20input"
    )[1]
    openapi.validate("UsageResponse", by_user)
    results = by_user["data"][0]["results"]
    assert [result["user_id"] for result in results] == ["user-ann", "user-bob", None]
    assert {result["api_source"] for result in results} == {"unlabeled"}
    rows = between(ROWS, START, START + DAY, user_id="user-ann")
    pico = made_usage.spending(rows, lambda row, item, unit: (item,))["gpt-4o, input",][1]
    assert results[0]["amount"]["value"] == float(Decimal(pico).scaleb(-12))


def test_costs_have_at_most_180_days(served: Served) -> None:
    query: dict[str, Any] = {"start_time": START, "end_time": START + 365 * DAY}
    assert len(served.page("costs", **query)["data"]) == 7
    body = served.page("costs", **query, limit=180)
    assert len(body["data"]) == 180
    assert body["data"][100]["results"] == []
    rest = served.page("costs", **query, limit=180, page=body["next_page"])
    assert rest["data"][0]["start_time"] == START + 180 * DAY
    refused(served.ask(f"costs?start_time={START}&limit=181"), "limit", "180")
    refused(served.ask(f"costs?start_time={START}&bucket_width=1h"), "bucket_width", "'1d'")


# Savings


def saved(rows: Sequence[UsageRow]) -> Decimal:
    return Decimal(sum(row.saved_pico or 0 for row in rows)).scaleb(-12)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_the_cache_saved(served: Served, width: str) -> None:
    """In the buckets and groups of OpenAI's usage; where nothing was saved there is no result."""
    start, end = START + 4321, START + (20 * HOUR if width == "1m" else 2 * DAY + 5432)
    query = f"savings?start_time={start}&end_time={end}&bucket_width={width}&limit={31 if width == '1d' else 168}"
    only = "&project_ids=proj_blue&group_by=model,api_key_id"
    status, body = served.ask(query + only, under=HOMEPORT)
    assert status == 200, body
    wanted = buckets_of(start, end, WIDTHS[width])
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in body["data"]] == wanted[:168]
    assert any(bucket["results"] for bucket in body["data"])
    for bucket in body["data"]:
        rows = between(ROWS, bucket["start_time"], bucket["end_time"], project_id="proj_blue")
        groups: dict[tuple[str, str], list[UsageRow]] = {}
        for row in rows:
            groups.setdefault((row.ran, row.key_id), []).append(row)
        sums = {group: saved(those) for group, those in sorted(groups.items()) if saved(those)}
        assert bucket["results"] == [
            {
                "object": "homeport.savings.result",
                "amount": {"value": float(amount), "currency": "usd"},
                "project_id": None,
                "user_id": None,
                "api_key_id": key,
                "model": model,
            }
            for (model, key), amount in sums.items()
        ]


# What is refused


def refused(answer: tuple[int, Any], param: str | None, words: str = "") -> None:
    """It is OpenAI's error object, status 400."""
    status, body = answer
    assert status == 400, body
    openapi.validate("ErrorResponse", body)
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["param"] == param, body
    assert words in body["error"]["message"], body


WRONG = [
    ("", "start_time", "Missing required parameter: 'start_time'"),
    ("start_time=soon", "start_time", "expected an integer, but got a string"),
    ("start_time=1.5", "start_time", "expected an integer"),
    ("start_time=-1", "start_time", "Expected a value >= 0"),
    ("start_time=99999999999999999999", "start_time", ""),
    ("start_time=1&start_time=2", "start_time", "twice"),
    ("start_time=100&end_time=100", "end_time", "after 'start_time'"),
    ("start_time=100&end_time=50", "end_time", "after 'start_time'"),
    ("start_time=0&end_time=", "end_time", "expected an integer"),
    ("start_time=0&bucket_width=1w", "bucket_width", "'1d', '1h', and '1m'"),
    ("start_time=0&group_by=colour", "group_by[0]", "'colour'"),
    ("start_time=0&group_by[]=project_id&group_by[]=", "group_by[1]", ""),
    ("start_time=0&limit=0", "limit", ">= 1"),
    ("start_time=0&limit=-1", "limit", ">= 1"),
    ("start_time=0&limit=many", "limit", "expected an integer"),
    ("start_time=0&limit[]=3", "limit[]", "Unknown parameter"),
    ("start_time=0&page=next", "page", "invalid"),
    ("start_time=0&colour=red", "colour", "Unknown parameter"),
    ("start_time=0&project_ids[x]=a", "project_ids[x]", "Unknown parameter"),
    ("start_time=0&project_ids=%00", "project_ids", "not printable"),
    ("start_time=0&" + "&".join(["project_ids=a"] * 1001), "project_ids", "maximum length 1000"),
]


@pytest.mark.parametrize(("query", "param", "words"), WRONG, ids=[query[:40] for query, *_ in WRONG])
def test_what_is_wrong_on_any_page(empty: Served, query: str, param: str, words: str) -> None:
    for path in PATHS:
        daily = path == "costs" and "bucket_width" in query
        refused(empty.ask(f"{path}?{query}"), param, "'1d'" if daily else words)
    refused(empty.ask(f"savings?{query}", under=HOMEPORT), param, words)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("usage/completions?start_time=0&batch=perhaps", "batch"),
        ("usage/completions?start_time=0&group_by=size", "group_by[0]"),
        ("usage/completions?start_time=0&sizes=256x256", "sizes"),
        ("usage/embeddings?start_time=0&batch=true", "batch"),
        ("usage/embeddings?start_time=0&group_by=batch", "group_by[0]"),
        ("usage/images?start_time=0&sizes=1x1", "sizes[0]"),
        ("usage/images?start_time=0&sources=image.drawing", "sources[0]"),
        ("usage/vector_stores?start_time=0&user_ids=user-ann", "user_ids"),
        ("usage/vector_stores?start_time=0&group_by=model", "group_by[0]"),
        ("usage/web_search_calls?start_time=0&context_levels=deep", "context_levels[0]"),
        ("costs?start_time=0&models=gpt-4o", "models"),
        ("costs?start_time=0&group_by=model", "group_by[0]"),
    ],
)
def test_what_is_wrong_on_one_page(empty: Served, path: str, param: str) -> None:
    refused(empty.ask(path), param)


@pytest.mark.parametrize(("under", "path"), [*((ORGANIZATION, path) for path in PATHS), (HOMEPORT, "savings")])
def test_who_may_not_ask(empty: Served, under: str, path: str) -> None:
    """Before anything is said of what was asked."""
    assert empty.ask(path, key="sk-other-0123456789", under=under)[0] == 401
    assert empty.ask(f"{path}?start_time={START}", method="POST", under=under)[0] == 405


def test_every_page_of_the_description_is_there() -> None:
    paths = {
        path.removeprefix("/organization/")
        for path in openapi.description()["paths"]
        if path.startswith(("/organization/usage/", "/organization/costs"))
    }
    assert paths == {*PATHS}


@pytest.mark.parametrize("path", PATHS)
def test_every_parameter_of_the_description_is_taken(path: str) -> None:
    """With all the values that it names."""
    described = openapi.description()["paths"][f"/organization/{path}"]["get"]["parameters"]
    words = {"string": "x", "integer": "1", "boolean": "true"}
    kind: type[wire.Parameters] = next(
        (page.parameters for page in PAGES if path == f"usage/{page.name}"), wire.CostsParameters
    )
    for parameter in described:
        schema = parameter["schema"]
        many = schema["type"] == "array"
        inner = schema["items"] if many else schema
        for value in inner.get("enum", [words[inner["type"]]]):
            query = [("start_time", "1")] * (parameter["name"] != "start_time")
            read = wire.read(kind, [*query, (parameter["name"], value)])
            assert getattr(read, parameter["name"]) is not None
