"""The dashboard as somebody sees it who looks for words and buttons."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=60_000)


@dataclass
class Site:
    page: Page
    url: str

    def sign_in(self, key: str) -> None:
        self.page.goto(f"{self.url}/dashboard/sign-in")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "sign-in" not in url)

    def open(self, path: str) -> Page:
        """path: below `/dashboard`."""
        self.page.goto(f"{self.url}/dashboard{path}")
        return self.page

    def expects(self, status: int) -> None:
        """Chromium's console tells of each answer that is an error: this one is meant."""
        self.page.expected_errors.append(f"status of {status}")  # type: ignore[attr-defined]

    @property
    def heading(self) -> Locator:
        return self.page.get_by_role("heading", level=1)


def signed_in(page: Page, url: str, key: str) -> Site:
    """At the first page."""
    opened = Site(page, url)
    opened.sign_in(key)
    return opened
