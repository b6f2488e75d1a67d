"""What axe-core finds wrong with a page as it is now: with its dialogs open, its answers there."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.dashboard.test_every_page import RULES


def faults(page: Page) -> list[str]:
    violations = Axe().run(page, options=RULES).response["violations"]
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in violations]


def on_a_phone(page: Page) -> None:
    """It is as wide as a phone, and nothing stands out at its side."""
    page.set_viewport_size({"width": 375, "height": 740})
    page.wait_for_function("document.documentElement.scrollWidth <= 375")
