"""What axe-core finds wrong with a page as it is now: with its dialogs open, its answers there."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.dashboard.test_every_page import RULES


def faults(page: Page) -> list[str]:
    violations = Axe().run(page, options=RULES).response["violations"]
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in violations]
