"""The dashboard in a real browser: Debian's Chromium, headless, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.dashboard.site import Site, signed_in
from tests.server import KEY, Running, running

#: Milliseconds that a page may take for what it is told to do: machines differ.
PATIENCE = 60_000
_ARGUMENTS = [
    "--no-sandbox",  # tests may be root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of this folder alone: while Playwright is there, its event loop runs in this thread, and nobody else's can."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        assert "CI" not in os.environ, "Chromium is missing: .ci/run installs it"
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that tests of pages share; each has a project of its own, or looks at its own things alone."""
    with running(tmp_path_factory.mktemp("dashboard")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window of its own. Whatever its console says of errors, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    wrong: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"{message.text} ({message.location.get('url')})")

    opened.on("console", said)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.expected_errors = []  # type: ignore[attr-defined]
    yield opened
    expected: list[str] = opened.expected_errors  # type: ignore[attr-defined]
    context.close()
    assert [one for one in wrong if not any(word in one for word in expected)] == []


@pytest.fixture
def site(shared: Running, page: Page) -> Site:
    """Signed in with the operator's key, which may do everything."""
    return signed_in(page, shared.url, KEY)
