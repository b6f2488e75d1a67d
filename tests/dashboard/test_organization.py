"""The organization's admin keys, people and budget, by hand."""

from collections.abc import Iterator

import openai
import pytest
from playwright.sync_api import Page, expect

from homeport.dashboard import client
from tests.api import raw
from tests.dashboard.site import Site, signed_in
from tests.server import KEY, Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of its own: what the organization may spend, others would feel."""
    prices = {"prices": {"echo": {"input": "1000", "output": "1000"}}}
    with running(tmp_path_factory.mktemp("organization"), prices) as made:
        yield made


@pytest.fixture
def site(server: Running, page: Page) -> Site:
    return signed_in(page, server.url, KEY)


def test_an_admin_key_is_made_used_and_deleted(site: Site, server: Running) -> None:
    page = site.open("/organization")
    page.get_by_role("button", name="Create admin key").click()
    page.get_by_role("dialog").get_by_label("Name").fill("terraform")
    page.get_by_role("dialog").get_by_role("button", name="Create key").click()
    secret = page.get_by_role("dialog", name="Copy the key now")
    value = secret.locator("#secret-value").inner_text()
    assert f"OPENAI_ADMIN_KEY={value}" in secret.locator("pre").inner_text()
    secret.get_by_role("button", name="Use this key in this session").click()
    made = page.get_by_role("row").filter(has_text="terraform")
    expect(made).to_contain_text("this session's")
    page.wait_for_load_state()
    assert raw.ask(server, "GET", "/v1/organization/users", key=value).status == 200
    page.get_by_role("button", name="Delete terraform").click()
    expect(page.get_by_role("dialog")).to_contain_text("You are signed in with it here.")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    site.sign_in(KEY)
    site.open("/organization")
    page.get_by_role("button", name="Delete terraform").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(made).to_have_count(0)
    assert raw.ask(server, "GET", "/v1/organization/users", key=value).status == 401


def test_people_come_and_go(site: Site) -> None:
    page = site.open("/organization")
    page.get_by_role("button", name="Invite").first.click()
    inviting = page.get_by_role("dialog", name="Invite somebody")
    inviting.get_by_label("E-mail address").fill("ann@example.com")
    inviting.get_by_label("Projects").select_option(label="Default project")
    inviting.get_by_role("button", name="Invite").click()
    expect(page.get_by_role("row").filter(has_text="ann@example.com")).to_contain_text("pending")
    page.get_by_role("button", name="Invite").first.click()
    site.expects(400)
    inviting.get_by_label("E-mail address").fill("ann@example.com")
    inviting.get_by_role("button", name="Invite").click()
    expect(inviting).to_contain_text("has an invite that is pending")
    inviting.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Invite").first.click()
    expect(inviting).not_to_contain_text("has an invite that is pending")
    inviting.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Accept for ann@example.com").click()
    page.get_by_label("What the user is called").fill("Ann")
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    expect(page.get_by_role("row").filter(has_text="pending")).to_have_count(0)
    page.get_by_label("Role of Ann").select_option("owner")
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Role of Ann")).to_have_value("owner")
    page.get_by_role("button", name="Remove Ann").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No users")).to_be_visible()


def test_everybody_is_shown_however_many_there_are(
    site: Site, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PAGE", 2)
    many = [f"{number}@example.com" for number in range(5)]
    invites = "/v1/organization/invites"
    made = [raw.ask(server, "POST", invites, {"email": address, "role": "reader"}).json["id"] for address in many]
    page = site.open("/organization")
    shown = page.locator("[data-invite]").evaluate_all("rows => rows.map(row => row.dataset.email)")
    assert sorted(shown) == many
    for one in made:
        assert raw.ask(server, "DELETE", f"{invites}/{one}").status == 200


def test_what_all_projects_may_spend(site: Site, server: Running) -> None:
    page = site.open("/organization")
    budget = page.get_by_role("region", name="Budget of this month")
    budget.get_by_label("Limit in US dollars").fill("0.01")
    budget.get_by_role("button", name="Save").click()
    expect(budget).to_contain_text("of $0.01 spent")
    with (
        openai.OpenAI(api_key=KEY, base_url=server.base_url, max_retries=0) as client,
        pytest.raises(openai.RateLimitError, match="quota"),
    ):
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}], max_tokens=99)
    budget.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(budget).to_contain_text("without a limit")
    assert raw.ask(server).status == 200
    page.get_by_role("button", name="Add an alert").click()
    page.get_by_label("US dollars in a month").fill("50")
    page.get_by_label("E-mail addresses").fill("ann@example.com")
    page.get_by_label("Subject begins with").fill("[home]")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="$50.00")).to_contain_text("[home]")
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
