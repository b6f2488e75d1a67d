"""What holds for every page: accessible (axe-core's rules for WCAG 2.1 AA, contrast among them), readable on a phone,
light and dark, nothing from elsewhere, and light enough."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from homeport.dashboard.pages import PAGES
from tests.dashboard.conftest import PATIENCE
from tests.dashboard.site import Site, signed_in
from tests.server import KEY, Running

#: Pages that need no id of something.
SIMPLE = [page for page in PAGES if "{" not in page.path]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 740}
#: Bytes of the first page, and all that comes with it, unpacked.
LARGEST_FIRST = 200_000


@pytest.fixture(scope="module", params=["light, wide", "dark, phone"])
def visitor(request: pytest.FixtureRequest, browser: Browser, shared: Running) -> Iterator[BrowserContext]:
    scheme, size = request.param.split(", ")
    context = browser.new_context(viewport=WIDE if size == "wide" else PHONE, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    Site(page, shared.url).sign_in(KEY)
    page.close()
    yield context
    context.close()


def settled(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("path", [page.path for page in SIMPLE])
def test_a_page(visitor: BrowserContext, shared: Running, path: str) -> None:
    page = visitor.new_page()
    elsewhere: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((shared.url, "data:", "blob:")):
            elsewhere.append(request.url)

    wrong: list[str] = []
    page.on("request", asked)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    settled(page, f"{shared.url}/dashboard{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    found = Axe().run(page, options=RULES)
    told = [
        (violation["id"], violation["help"], [node["html"][:160] for node in violation["nodes"][:3]])
        for violation in found.response["violations"]
    ]
    assert told == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    assert (elsewhere, wrong) == ([], [])
    page.close()


def test_the_door(browser: Browser, shared: Running) -> None:
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=PHONE, color_scheme=scheme)  # type: ignore[arg-type]
        settled(page, f"{shared.url}/dashboard/sign-in")
        assert Axe().run(page, options=RULES).response["violations"] == []
        page.close()


def test_the_first_page_is_light(browser: Browser, shared: Running) -> None:
    context = browser.new_context()
    page = context.new_page()
    Site(page, shared.url).sign_in(KEY)
    page.wait_for_load_state("networkidle")
    sizes: dict[str, int] = page.evaluate(
        """() => Object.fromEntries(
            [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
                .map((one) => [one.name, one.decodedBodySize]))"""
    )
    assert len(sizes) > 5
    assert sum(sizes.values()) < LARGEST_FIRST, sizes
    context.close()


def test_the_theme_is_chosen_and_kept(site: Site) -> None:
    page = site.page
    page.emulate_media(color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name=re.compile("Theme"))
    button.click()
    button.click()
    expect(button).to_contain_text("dark")
    assert page.evaluate(ground) != light
    page.reload()
    expect(button).to_contain_text("dark")
    assert page.evaluate(ground) != light
    button.click()
    expect(button).to_contain_text("system")
    assert page.evaluate(ground) == light


def test_the_keyboard_alone(site: Site) -> None:
    """Past the navigation, and through it to another page."""
    page = site.open("/files")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.reload()
    wanted = page.get_by_role("link", name="Vector stores")
    for _ in range(30):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    page.keyboard.press("Enter")
    expect(site.heading).to_have_text("Vector stores")


def test_the_menu_on_a_phone(browser: Browser, shared: Running) -> None:
    page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
    site = signed_in(page, shared.url, KEY)
    menu: Any = page.get_by_role("button", name="Menu")
    expect(page.get_by_role("link", name="Files")).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.get_by_role("link", name="Files").click()
    expect(site.heading).to_have_text("Files")
    page.close()
