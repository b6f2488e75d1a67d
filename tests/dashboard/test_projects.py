"""Projects, from the first key to the last: by hand, and what a program with such a key sees of it."""

import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api import raw
from tests.dashboard.site import Site, signed_in
from tests.server import KEY, Running, running

HELLO: Any = [{"role": "user", "content": "hello"}]
#: So that an answer costs a few cents.
PRICES = {"prices": {"echo": {"input": "1000", "output": "1000"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("homeport.gateway.accounts.LAST_USED_SECONDS", 0.0)
        with running(tmp_path_factory.mktemp("projects"), PRICES) as made:
            yield made


@pytest.fixture
def site(server: Running, page: Page) -> Site:
    return signed_in(page, server.url, KEY)


@pytest.fixture(scope="module")
def admin(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(admin_api_key=KEY, api_key=KEY, base_url=server.base_url, max_retries=0) as made:
        yield made


@pytest.fixture
def project(admin: openai.OpenAI, request: pytest.FixtureRequest) -> str:
    made: str = admin.admin.organization.projects.create(name=f"Of {request.node.name}").id
    return made


def chat(server: Running, key: str) -> None:
    with openai.OpenAI(api_key=key, base_url=server.base_url, max_retries=0) as client:
        client.chat.completions.create(model="echo", messages=HELLO, max_tokens=16)


def several(server: Running, key: str) -> None:
    for _ in range(3):
        chat(server, key)


def row(page: Page, words: str) -> Locator:
    return page.get_by_role("row").filter(has_text=words)


def soon(page: Page, shown: Locator, words: str | re.Pattern[str]) -> None:
    """It is on the page once what happens beside it has happened."""
    for _ in range(200):
        if re.search(words, shown.inner_text()) if isinstance(words, re.Pattern) else words in shown.inner_text():
            return
        page.reload()
    raise AssertionError(f"{words} never came: {shown.inner_text()}")


def follow(page: Page, name: str) -> None:
    """A link, until what it leads to does what it is told."""
    page.get_by_role("link", name=name).click()
    page.wait_for_load_state()


def take(page: Page) -> str:
    """The key that is shown, and the dialog away."""
    secret = page.get_by_role("dialog", name="Copy the key now")
    value = secret.locator("#secret-value").inner_text()
    assert value in secret.locator("pre").inner_text()
    secret.get_by_role("button", name="Done").click()
    expect(page.locator("#secret-value")).to_have_text("")  # it does not stay in the page
    assert value not in page.content()
    return value


def test_a_project_and_the_life_of_its_key(site: Site, server: Running) -> None:
    page = site.open("/projects")
    page.get_by_role("button", name="Create project").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Blue")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(site.heading).to_have_text("Blue")
    page.wait_for_load_state()
    expect(page.get_by_text("No API keys")).to_be_visible()

    page.get_by_role("button", name="Create API key").first.click()
    making = page.get_by_role("dialog", name="Create an API key")
    making.get_by_label("Name").fill("website")
    making.get_by_label("Ends").select_option(label="In 30 days")
    making.get_by_text("Only these").click()
    making.get_by_label("model.request").check()
    making.get_by_label("Models").fill("echo, gpt-4o")
    making.get_by_text("Rate limits of its own").click()
    making.get_by_label("Requests at once").fill("3")
    making.get_by_text("Budget of its own").click()
    making.get_by_label("In a month").fill("5.00")
    making.get_by_role("button", name="Create key").click()
    first = take(page)
    made = row(page, "website")
    for words in ("model.request", "models: echo, gpt-4o", "3 requests at once", "of $5.00", "never"):
        expect(made).to_contain_text(words)

    chat(server, first)
    with pytest.raises(openai.PermissionDeniedError), openai.OpenAI(api_key=first, base_url=server.base_url) as client:
        client.models.list()
    soon(page, made, re.compile(r"\$0\.0[1-9] of \$5\.00"))
    soon(page, made.get_by_role("cell").nth(3), re.compile(r"\d{4}"))

    follow(page, "Rate limits")
    page.get_by_role("button", name="Edit the limits of echo").click()
    limits = page.get_by_role("dialog", name="Limits of echo")
    expect(limits.get_by_label("Requests a minute")).to_have_attribute("placeholder", "10,000")
    limits.get_by_label("Requests a minute").fill("1")
    limits.get_by_role("button", name="Save").click()
    expect(row(page, "echo").locator("strong")).to_have_text("1")
    with pytest.raises(openai.RateLimitError, match="requests per min"):
        several(server, first)
    page.get_by_role("button", name="Reset the limits of echo").click()
    expect(row(page, "echo").locator("strong")).to_have_count(0)
    chat(server, first)

    follow(page, "API keys")
    page.get_by_role("button", name="Rotate website").click()
    page.get_by_label("The old key ends").select_option(label="In an hour")
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    second = take(page)
    assert second != first
    expect(row(page, "website")).to_have_count(2)
    expect(page.get_by_role("button", name="Rotate website")).to_have_count(1)
    chat(server, first)
    chat(server, second)
    row(page, "rotated").get_by_role("button", name="Revoke website").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row(page, "website")).to_have_count(1)
    with pytest.raises(openai.AuthenticationError):
        chat(server, first)
    chat(server, second)

    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Navy")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(site.heading).to_have_text("Navy")
    page.wait_for_load_state()
    page.get_by_role("button", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive").click()
    expect(page.get_by_text("Its keys are refused")).to_be_visible()
    with pytest.raises(openai.AuthenticationError):
        chat(server, second)
    site.open("/projects")
    expect(page.get_by_role("link", name="Navy")).to_have_count(0)
    page.get_by_role("link", name="Show archived").click()
    expect(row(page, "Navy")).to_contain_text("archived")


def focus(page: Page, name: str) -> None:
    """By Tab alone."""
    for _ in range(80):
        page.keyboard.press("Tab")
        said = page.evaluate(
            "(() => { const one = document.activeElement;"
            " return one.getAttribute('aria-label') || one.labels?.[0]?.innerText || one.innerText || '' })()"
        )
        if said.strip() == name:
            return
    raise AssertionError(f"Tab never comes to {name!r}")


def test_by_keyboard_alone(site: Site, server: Running) -> None:
    page = site.open("/projects")
    focus(page, "Create project")
    page.keyboard.press("Enter")
    page.keyboard.type("Red")
    page.keyboard.press("Enter")
    expect(site.heading).to_have_text("Red")
    page.wait_for_load_state()
    focus(page, "Create API key")
    page.keyboard.press("Enter")
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    secret = page.get_by_role("dialog", name="Copy the key now")
    expect(secret.get_by_role("button", name="Copy")).to_be_focused()
    value = secret.locator("#secret-value").inner_text()
    focus(page, "Done")
    page.keyboard.press("Enter")
    expect(row(page, "typed")).to_have_count(1)
    chat(server, value)
    focus(page, "Revoke typed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    focus(page, "Revoke")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No API keys")).to_be_visible()
    with pytest.raises(openai.AuthenticationError):
        chat(server, value)


def test_a_key_is_changed_and_used_here(site: Site, server: Running, project: str) -> None:
    made = raw.ask(server, path=f"/v1/homeport/projects/{project}/api_keys", body={"name": "plain"}).json
    page = site.open(f"/projects/{project}")
    page.get_by_role("button", name="Edit plain").click()
    changing = page.get_by_role("dialog", name="Edit “plain”")
    changing.get_by_label("Name").fill("narrow")
    changing.get_by_label("Models").fill("nothing-else")
    changing.get_by_text("Budget of its own").click()
    changing.get_by_label("Ever", exact=True).fill("12.34")
    changing.get_by_role("button", name="Save").click()
    expect(row(page, "narrow")).to_contain_text("models: nothing-else")
    expect(row(page, "narrow")).to_contain_text("$0.00 of $12.34 ever")
    with pytest.raises(openai.PermissionDeniedError):
        chat(server, made["value"])
    page.get_by_role("button", name="Edit narrow").click()
    changing = page.get_by_role("dialog", name="Edit “narrow”")
    expect(changing.get_by_label("Models")).to_have_value("nothing-else")
    expect(changing.get_by_label("Ever", exact=True)).to_have_value("12.34")
    changing.get_by_label("Models").fill("")
    changing.get_by_label("Ever", exact=True).fill("")
    changing.get_by_role("button", name="Save").click()
    expect(row(page, "narrow")).not_to_contain_text("$12.34")
    chat(server, made["value"])

    page.get_by_role("button", name="Create API key").click()
    page.get_by_role("dialog", name="Create an API key").get_by_label("Name").fill("mine")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Use this key in this session").click()
    expect(row(page, "mine")).to_contain_text("this session's")
    page.wait_for_load_state()
    page.get_by_role("button", name="Revoke mine").click()
    expect(page.get_by_role("dialog")).to_contain_text("You are signed in with it here.")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row(page, "mine")).to_have_count(0)
    expect(site.heading).to_be_visible()  # the admin key is there still


def test_who_is_in_a_project(site: Site, server: Running, admin: openai.OpenAI, project: str) -> None:
    organization = admin.admin.organization
    invite = organization.invites.create(email="ann@example.com", role="reader", projects=[])
    raw.ask(server, path=f"/v1/homeport/invites/{invite.id}/accept", body={"name": "Ann"})
    page = site.open(f"/projects/{project}/members")
    page.get_by_role("button", name="Add a user").click()
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    page.get_by_label("Role of Ann").select_option("owner")
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert [(one.email, one.role) for one in organization.projects.users.list(project)] == [
        ("ann@example.com", "owner")
    ]

    page.get_by_role("button", name="Create service account").first.click()
    page.get_by_role("dialog").get_by_label("Name").fill("nightly")
    page.get_by_role("dialog").get_by_role("button", name="Create").click()
    first = take(page)
    page.get_by_role("button", name="Create a key for nightly").click()
    page.get_by_role("dialog").get_by_label("Name").fill("second")
    page.get_by_role("dialog").get_by_role("button", name="Create key").click()
    second = take(page)
    expect(row(page, "nightly").get_by_role("cell").nth(2)).to_have_text("2")
    for key in (first, second):
        chat(server, key)

    follow(page, "API keys")
    page.get_by_role("button", name="Create API key").click()
    making = page.get_by_role("dialog", name="Create an API key")
    making.get_by_label("Name").fill("hers")
    making.get_by_label("Owner").select_option(label="Ann")
    making.get_by_role("button", name="Create key").click()
    hers = take(page)
    chat(server, hers)
    expect(row(page, "hers")).to_contain_text("of Ann")
    expect(row(page, "second")).to_contain_text("of nightly, a service account")

    follow(page, "Members")
    page.get_by_role("button", name="Delete nightly").click()
    expect(page.get_by_role("dialog")).to_contain_text("Its 2 keys are revoked.")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No service accounts")).to_be_visible()
    page.get_by_role("button", name="Remove Ann").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No users")).to_be_visible()
    for key in (first, second, hers):
        with pytest.raises(openai.AuthenticationError):
            chat(server, key)


def test_limits_budget_and_models(site: Site, server: Running, admin: openai.OpenAI, project: str) -> None:
    key = raw.ask(server, path=f"/v1/homeport/projects/{project}/api_keys", body={"name": "app"}).json["value"]
    projects = admin.admin.organization.projects
    page = site.open(f"/projects/{project}/limits")
    page.get_by_role("combobox", name="Tier").select_option("trial")
    page.get_by_role("button", name="Save").click()
    expect(row(page, "echo").get_by_role("cell").nth(1)).to_have_text("3")
    page.get_by_label("Find a model").fill("gpt-4o-mini")
    expect(row(page, "echo")).to_be_hidden()
    page.get_by_role("button", name="Another model").click()
    site.expects(404)
    other = page.get_by_role("dialog", name="Limits of another model")
    other.get_by_label("Model", exact=True).fill("nobody/has-it")
    other.get_by_label("Tokens a day").fill("5")
    other.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("No rate limit found with id 'rl-nobody/has-it'")

    site.open(f"/projects/{project}/budget")
    month = page.get_by_role("region", name="This month")
    month.get_by_label("Limit in US dollars").fill("0.01")
    month.get_by_role("button", name="Save").click()
    expect(month).to_contain_text("$0.00")
    expect(month).to_contain_text("of $0.01 spent")
    with pytest.raises(openai.RateLimitError, match="quota"):
        chat(server, key)
    month.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(month).to_contain_text("without a limit")
    chat(server, key)
    page.get_by_role("button", name="Add an alert").click()
    page.get_by_label("US dollars in a month").fill("15")
    page.get_by_label("E-mail addresses").fill("ann@example.com, bob@example.com")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, "$15.00")).to_contain_text("ann@example.com, bob@example.com")
    page.get_by_role("button", name="Edit the alert at $15.00").click()
    page.get_by_label("US dollars in a month").fill("17.50")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, "$17.50")).to_be_visible()
    assert [one.threshold_amount for one in projects.spend_alerts.list(project)] == [1750]
    page.get_by_role("button", name="Delete the alert at $17.50").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No alerts")).to_be_visible()

    site.open(f"/projects/{project}/models")
    page.get_by_label("Every model but those of the list").check()
    page.get_by_role("button", name="Add echo").click()
    models = page.get_by_role("region", name="Which models")
    models.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    with pytest.raises(openai.PermissionDeniedError):
        chat(server, key)
    models.get_by_label("Every model", exact=True).check()
    models.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_have_count(2)
    chat(server, key)
    moderation = page.get_by_role("region", name="Moderation")
    moderation.get_by_label("What is asked").check()
    moderation.get_by_label("Score from").fill("0.5")
    moderation.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_have_count(3)
    told = raw.ask(server, "GET", f"/v1/homeport/projects/{project}/moderation").json
    assert (told["policy"], told["threshold"]) == ({"input": {"mode": "block"}, "output": None}, 0.5)
    moderation.get_by_role("button", name="As the settings say").click()
    expect(moderation.get_by_label("What is asked")).not_to_be_checked()


def test_whose_key_is_revoked_comes_to_the_door(page: Page, server: Running, project: str) -> None:
    path = f"/v1/homeport/projects/{project}/api_keys"
    made = raw.ask(server, path=path, body={"name": "gone soon"}).json
    site = Site(page, server.url)
    site.sign_in(made["value"])
    site.open("/projects")
    expect(page.get_by_text("An admin key is needed")).to_be_visible()
    site.expects(403)
    assert raw.ask(server, "DELETE", f"{path}/{made['id']}").status == 200
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Chat").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert "next=/dashboard/chat" in page.url


def test_nothing_is_wider_than_a_phone(site: Site, project: str) -> None:
    site.page.set_viewport_size({"width": 375, "height": 800})
    for path in ("", *(f"/{project}{part}" for part in ("", "/members", "/limits", "/budget", "/models"))):
        site.open(f"/projects{path}")
        assert site.page.evaluate("document.documentElement.scrollWidth") <= 375, path
