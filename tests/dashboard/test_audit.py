"""The audit log as a page: sentences, filters, pages, and who has signed in."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.api import raw
from tests.dashboard.site import Site, signed_in
from tests.server import KEY, Running, running

MONTH = {"currency": "USD", "interval": "month"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("audit")) as made:
        yield made


@pytest.fixture
def site(server: Running, page: Page) -> Site:
    return signed_in(page, server.url, KEY)


def post(server: Running, path: str, body: Any) -> Any:
    answer = raw.ask(server, path=path, body=body)
    assert answer.status == 200, answer.body
    return answer.json


def test_what_has_happened_is_told_in_sentences(site: Site, server: Running) -> None:
    blue = post(server, "/v1/organization/projects", {"name": "Blue"})["id"]
    ours = f"/v1/homeport/projects/{blue}"
    key = post(server, f"{ours}/api_keys", {"name": "website"})["id"]
    post(server, f"{ours}/api_keys/{key}", {"models": ["echo"], "scopes": ["model.request"]})
    post(server, f"{ours}/spend_limit", {"threshold_amount": 1250, **MONTH})
    post(server, f"/v1/organization/projects/{blue}/rate_limits/rl-echo", {"max_requests_per_1_minute": 1000})
    post(server, f"{ours}/api_keys/{key}/rotate", {})
    raw.ask(server, "DELETE", f"{ours}/api_keys/{key}")
    account = post(server, f"/v1/organization/projects/{blue}/service_accounts", {"name": "nightly"})["id"]
    raw.ask(server, "DELETE", f"/v1/organization/projects/{blue}/service_accounts/{account}")
    page = site.open("/audit")
    for sentence in (
        "The key “HOMEPORT_API_KEY” created the project “Blue”",
        "made the API key “website” in “Blue”",
        "changed scopes and models of the API key “website” in “Blue”",
        "set the monthly budget of “Blue” to $12.50",
        "limited echo in “Blue” to 1,000 requests a minute",
        "rotated the API key “website” in “Blue”",
        "revoked the API key “website” in “Blue”",
        "deleted the service account “nightly” in “Blue”",
        "The key “HOMEPORT_API_KEY” signed in",
        "The command line created the project “Default project”",
    ):
        expect(page.get_by_role("listitem").filter(has_text=sentence).first).to_be_visible()
    entry = page.get_by_role("listitem").filter(has_text="set the monthly budget of “Blue”")
    entry.locator("summary").press("Enter")
    expect(entry.locator("dl")).to_contain_text("project.updated")
    expect(entry.locator("dl")).to_contain_text("spend_limit.threshold_amount1250")
    expect(entry.get_by_role("link", name="Blue")).to_have_attribute("href", f"/dashboard/projects/{blue}")

    page.get_by_label("What", exact=True).select_option("API keys")
    page.get_by_label("Project").select_option("Blue")
    page.get_by_role("button", name="Show").click()
    entries = page.get_by_role("list").last.get_by_role("listitem")
    expect(entries).to_have_count(7)  # two of the service account's key
    page.get_by_label("What", exact=True).select_option("api_key.deleted")
    page.get_by_role("button", name="Show").click()
    expect(entries).to_have_count(2)
    expect(page.get_by_label("What", exact=True)).to_have_value("api_key.deleted")
    page.get_by_label("Of what").fill(key)
    page.get_by_role("button", name="Show").click()
    expect(entries).to_have_count(1)
    page.get_by_label("Who").fill("nobody@example.com")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing like that")).to_be_visible()
    page.get_by_role("link", name="Show everything").click()
    page.get_by_label("From (UTC)").fill("2001-01-01")
    page.get_by_label("To", exact=True).fill("2001-01-31")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing like that")).to_be_visible()


def test_page_after_page(site: Site, server: Running) -> None:
    project = post(server, "/v1/organization/projects", {"name": "Busy"})["id"]
    for count in range(60):
        post(server, f"/v1/organization/projects/{project}", {"name": f"Busy {count}"})
    page = site.open(f"/audit?project={project}")
    entries = page.get_by_role("region", name="Entries").get_by_role("listitem")
    expect(entries).to_have_count(50)
    expect(entries.first).to_contain_text("renamed a project to “Busy 59”")
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)
    page.get_by_role("link", name="Older").click()
    expect(entries).to_have_count(11)
    expect(entries.last).to_contain_text("created the project")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    expect(entries).to_have_count(50)
    expect(entries.first).to_contain_text("“Busy 59”")


def test_a_wrong_key_is_told_of(page: Page, server: Running) -> None:
    site = Site(page, server.url)
    page.goto(f"{server.url}/dashboard/sign-in")
    site.expects(401)
    page.get_by_label("API key").fill("sk-secret-of-another-house")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    site.sign_in(KEY)
    site.open("/audit?kind=login.failed")
    entry = page.get_by_role("region", name="Entries").get_by_role("listitem").first
    expect(entry).to_contain_text("Somebody could not sign in")
    entry.locator("summary").click()
    expect(entry).to_contain_text("127.0.0.1")
    assert "another-house" not in page.content()
