"""The dashboard's first page in Chromium: what it weighs, and how long until somebody can type into it.

A browser that has nothing in its cache signs in and opens the playground, on loopback; then it opens it again, with
what it has kept. Until the cursor is in the message's field: the page's modules have run by then.
"""

import shutil
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench.report import Goal, table
from tests.server import KEY, running

_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
_SINCE = "performance.now()"
_READY = "document.activeElement?.tagName === 'TEXTAREA'"


@dataclass
class First:
    """bytes: of the page and all that comes with it, unpacked. cold, warm: seconds until it is ready, one a round."""

    bytes: int = 0
    requests: int = 0
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            ["weighs", f"{self.bytes / 1000:.0f} KB in {self.requests} requests"],
            ["ready, nothing cached", f"{statistics.median(self.cold) * 1e3:.0f} ms"],
            ["ready, again", f"{statistics.median(self.warm) * 1e3:.0f} ms"],
        ]
        return "the dashboard's first page, in Chromium\n" + table(["", "median"], rows)

    def goals(self) -> list[Goal]:
        return [
            Goal("first page of the dashboard", self.bytes / 1000, 200, 150, 100, unit=" KB"),
            Goal("first page ready, nothing cached", statistics.median(self.cold), 1.0, 0.5, 0.25, unit=" s"),
        ]


def run(folder: Path, *, rounds: int) -> First:
    """Needs Chromium."""
    found = First()
    with running(folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_ARGUMENTS)
        for _ in range(rounds):
            context = browser.new_context(bypass_csp=True)  # for what is asked here, not for the page
            page = context.new_page()
            page.goto(f"{server.url}/dashboard/sign-in")
            page.get_by_label("API key").fill(KEY)
            page.get_by_role("button", name="Sign in").click()
            found.cold.append(_ready(page))
            found.bytes = page.evaluate(_WEIGHT)
            found.requests = 1 + page.evaluate("performance.getEntriesByType('resource').length")
            page.goto(f"{server.url}/dashboard/chat")
            found.warm.append(_ready(page))
            context.close()
        browser.close()
    return found


def _ready(page: Page) -> float:
    page.wait_for_url("**/dashboard/chat")
    page.wait_for_function(_READY, polling="raf")
    return float(page.evaluate(_SINCE)) / 1000
