"""The pages of usage, requests and limits, as somebody sees them who watches a house."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from homeport import clock
from homeport.dashboard.pages import requests
from homeport.gateway.endpoints import ENDPOINTS
from homeport.gateway.training_bills import ENDPOINT as TRAINING
from homeport.store.usage_row import UsageRow
from tests.api import raw
from tests.api.owners import new_key, new_project
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.store import made_usage

SETTINGS: dict[str, Any] = {
    "models": {"echo": {"engine": "echo"}, "gpt-4o": {"engine": "echo"}},
    "prices": {"echo": {"input": "2.5", "output": "10"}},
    "tiers": {"slow": {"default": {"max_requests_per_1_day": 20, "max_concurrent_requests": 4}}},
    "limits": {"tier": "slow"},
}


@dataclass
class House:
    server: Running
    project: str
    key_id: str
    key: str
    rows: list[UsageRow]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Three rows of which everything is known, an hour ago, and a request that is asked now."""
    with running(tmp_path_factory.mktemp("usage"), SETTINGS) as server:
        project = new_project(server, "Blue")
        made = raw.ask(server, "POST", f"/v1/homeport/projects/{project}/api_keys", {"name": "laptop"}).json
        assert until(lambda: raw.ask(server, "GET", "/v1/models", key=made["value"]).status == 200)
        mine = {"project_id": project, "key_id": made["id"], "started_at": clock.now() - 3600.0}
        nothing, own = {"price_lines": None}, {"ran": "house", "model": "house"}
        rows = [
            made_usage.row(1, **mine, list_pico=350_000_000, tries=1, backend="openai", total_ms=1500, first_ms=120),
            made_usage.row(2, **mine, **nothing, cache_hit=True, cost_pico=0, saved_pico=10**12, list_pico=10**12),
            made_usage.row(3, **mine, **nothing, **own, outcome="failed", status=502, cost_pico=None),
        ]
        server.begin(server.app.books.rows.write(rows)).result(timeout=60)
        yield House(server, project, made["id"], made["value"], rows)


@pytest.fixture
def admin(house: House, page: Page) -> Site:
    return signed_in(page, house.server.url, KEY)


def cells(page: Page, name: str) -> list[str]:
    """Of the row that begins with it."""
    return page.get_by_role("row", name=re.compile(f"^{name}")).get_by_role("cell").all_inner_texts()


def figure(page: Page, name: str) -> Any:
    return page.locator(".figure").filter(has_text=re.compile(f"^{name}"))


def test_usage_by_model_project_and_key(house: House, admin: Site, tmp_path: Path) -> None:
    page = admin.open("/usage?range=24h")
    expect(figure(page, "Requests")).to_contain_text("3")
    expect(figure(page, "Tokens in")).to_contain_text("300")
    expect(figure(page, "Cost")).to_contain_text("$0.00035")
    expect(figure(page, "Cost")).to_contain_text("1 requests of a model without a price")
    expect(figure(page, "Saved by cache")).to_contain_text("$1.00")
    expect(figure(page, "At list price")).to_contain_text("$1.00")
    assert cells(page, "gpt-4o-2024-08-06") == [
        *("gpt-4o-2024-08-06", "2", "200", "20"),
        *("$0.00035", "$1.00", "$1.00"),
    ]
    assert cells(page, "house") == ["house", "1", "100", "10", "–", "$0.00", "–"]
    for name in ("Cost", "At list price", "Tokens", "Requests"):
        chart = page.get_by_role("figure", name=name, exact=True)
        expect(chart.locator("canvas")).to_be_visible()
        expect(chart.get_by_text("gpt-4o-2024-08-06").first).to_be_visible()
    tokens = page.get_by_role("figure", name="Tokens", exact=True)
    tokens.get_by_text("As a table").click()
    expect(tokens.get_by_role("cell", name="220")).to_be_visible()

    page.get_by_role("button", name="Requests").click()
    rows = page.locator("table.sorts tbody tr")
    expect(rows.first).to_contain_text("gpt-4o")
    page.get_by_role("button", name="Requests").click()
    expect(rows.first).to_contain_text("house")
    expect(page.get_by_role("columnheader", name="Requests")).to_have_attribute("aria-sort", "ascending")

    page.get_by_role("link", name="By project").click()
    expect(page.get_by_role("link", name="By project")).to_have_attribute("aria-current", "true")
    assert cells(page, "Blue")[:2] == ["Blue", "3"]
    page.get_by_role("link", name="By key").click()
    assert cells(page, "laptop")[:2] == ["laptop · Blue", "3"]
    with page.expect_download() as told:
        page.get_by_role("button", name="CSV").click()
    file = tmp_path / "usage.csv"
    told.value.save_as(file)
    with file.open(newline="") as lines:
        (line,) = csv.DictReader(lines)
    assert (line["api_key_id"], line["requests"], line["input_tokens"], line["output_tokens"]) == (
        *(house.key_id, "3"),
        *("300", "30"),
    )
    assert (line["cost_usd"], line["saved_usd"], line["list_price_usd"]) == ("0.00035", "1", "1.00035")
    page.get_by_role("link", name="3", exact=True).click()
    expect(admin.heading).to_have_text("Requests")
    expect(page.get_by_text("Key laptop")).to_be_visible()


def test_days_on_which_nothing_was_asked(admin: Site) -> None:
    page = admin.open("/usage?range=90d")
    expect(figure(page, "Requests")).to_contain_text("3")
    page.get_by_text("Other days").click()
    page.get_by_label("From").fill("2024-02-01")
    page.get_by_label("to", exact=True).fill("2024-02-03")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing was asked in this time")).to_be_visible()
    expect(page.get_by_text("From 2024-02-01 to 2024-02-03")).to_be_visible()
    expect(page.get_by_role("button", name="CSV")).to_be_disabled()
    for odd in ("?range=custom&from=x", "?range=ever&group=colour", "?range=custom&from=2024-02-03&to=2020-02-01"):
        page = admin.open(f"/usage{odd}")
        expect(admin.heading).to_have_text("Usage")


def test_charts_follow_the_window_and_the_theme(admin: Site) -> None:
    page = admin.open("/usage?range=24h")
    canvas = page.get_by_role("figure", name="Cost", exact=True).locator("canvas")
    expect(canvas).to_be_visible()

    def shown() -> tuple[float, str]:
        box = canvas.bounding_box()
        colour = page.evaluate("getComputedStyle(document.querySelector('.legend .name')).getPropertyValue('--series')")
        return (box or {"width": 0.0})["width"], str(colour)

    wide, light = shown()
    page.set_viewport_size({"width": 375, "height": 800})
    assert until(lambda: 0 < shown()[0] < min(wide, 375))
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.set_viewport_size({"width": 1280, "height": 860})
    for _ in range(2):  # from the system's theme to the light, to the dark one
        page.get_by_role("button", name="Theme").click()
    assert until(lambda: shown()[1] not in ("", light))


def test_requests_and_a_receipt(house: House, admin: Site) -> None:
    first, _, failed = house.rows
    page = admin.open(f"/requests?project={house.project}")
    expect(page.get_by_role("row")).to_have_count(4)
    page.get_by_label("Outcome").select_option("failed")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row")).to_have_count(2)
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("house")
    expect(row).to_contain_text("502")
    row.get_by_role("link").click()
    expect(page.get_by_text(failed.request_id)).to_be_visible()
    expect(page.get_by_text("Nobody knows what it cost")).to_be_visible()
    admin.open("/requests?model=nobody")
    expect(page.get_by_text("No such request")).to_be_visible()

    page = admin.open(f"/requests/{first.request_id}")
    expect(page.get_by_role("row", name=re.compile("gpt-4o, input"))).to_contain_text("100 tokens")
    expect(page.get_by_role("row", name=re.compile("Total"))).to_contain_text("$0.00035")
    expect(page.get_by_text("1 failed before")).to_be_visible()
    expect(page.get_by_text("gpt-4o-2024-08-06 of openai")).to_be_visible()
    expect(page.get_by_text("began to answer after 120 ms")).to_be_visible()
    page.get_by_role("link", name="Blue").click()
    expect(page.get_by_label("Project")).to_have_value(house.project)
    admin.expects(404)
    admin.open("/requests/req_nobody")
    expect(page.get_by_role("alert")).to_contain_text("There is no receipt")


def test_older_requests(house: House, admin: Site) -> None:
    project = new_project(house.server, "Busy")
    began = clock.now() - 90_000
    rows = [made_usage.row(100 + place, project_id=project, started_at=began + place) for place in range(60)]
    house.server.begin(house.server.app.books.rows.write(rows)).result(timeout=60)
    page = admin.open(f"/requests?project={project}")
    links = page.locator("table.listed tbody a")
    expect(links).to_have_count(50)
    expect(links.first).to_have_attribute("href", f"/dashboard/requests/{rows[-1].request_id}")
    page.get_by_role("link", name="Older").click()
    expect(links).to_have_count(10)
    expect(links.last).to_have_attribute("href", f"/dashboard/requests/{rows[0].request_id}")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newest").click()
    expect(links).to_have_count(50)
    page.get_by_label("Since").select_option("day")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No such request")).to_be_visible()


def test_limits_are_told_live(house: House, admin: Site) -> None:
    project = new_project(house.server, "Limited")
    key = new_key(house.server, project)
    page = admin.open("/limits")
    card = page.get_by_role("region", name="Limited")
    summary = card.get_by_text("Nothing is in use")
    summary.click()
    echo = card.get_by_role("row", name=re.compile("^echo"))
    expect(echo).to_contain_text("20 of 20 left")
    page.locator("h1").click()
    assert raw.ask(house.server, key=key).status == 200
    expect(echo).to_contain_text("19 of 20 left, all back in")
    assert raw.ask(house.server, key=key).status == 200
    expect(echo).to_contain_text("18 of 20 left")
    expect(echo.get_by_role("progressbar", name="echo: requests a day")).to_be_visible()
    limit = {"threshold_amount": 200, "currency": "USD", "interval": "month"}
    assert raw.ask(house.server, "POST", f"/v1/organization/projects/{project}/spend_limit", limit).status == 200
    expect(card).to_contain_text(re.compile(r"Project\s+a month\s.*of \$2\.00, anew on", re.DOTALL))
    expect(card.get_by_text("gpt-4o", exact=True)).to_be_visible()  # what was opened stays open


def test_a_project_sees_its_own(house: House, page: Page) -> None:
    mine = Site(page, house.server.url)
    mine.sign_in(house.key)
    mine.open("/requests")
    expect(page.get_by_role("row")).to_have_count(4)
    expect(page.get_by_label("Project")).to_have_count(0)
    mine.open(f"/requests/{house.rows[0].request_id}")
    expect(page.get_by_text(house.key_id)).to_be_visible()
    mine.open("/limits")
    expect(page.locator("main h2")).to_have_text([house.project])
    mine.expects(403)
    mine.open("/usage")
    expect(page.get_by_role("heading", name="An admin key is needed")).to_be_visible()


def test_the_form_knows_every_endpoint() -> None:
    assert {*requests.ENDPOINTS} == {one.name for one in ENDPOINTS} | {TRAINING}
