"""What is supported, searched and opened, with modules and without."""

from playwright.sync_api import Browser, expect

from tests.dashboard.conftest import PATIENCE
from tests.dashboard.site import Site
from tests.server import KEY, Running


def test_searching_and_opening(site: Site) -> None:
    page = site.open("/conformance")
    expect(site.heading).to_have_text("Conformance")
    every = int((page.get_by_role("status").inner_text()).split()[0])
    assert every > 288

    page.get_by_label("Search").fill("web_search_options")
    expect(page.get_by_role("status")).to_have_text("1 operation")
    summary = page.locator("summary", has_text="/v1/chat/completions").filter(visible=True)
    summary.press("Enter")
    row = page.get_by_role("row", name="web_search_options")
    expect(row).to_contain_text("refused")
    expect(row).to_contain_text("passed on")
    expect(row).to_contain_text("It cannot search the web.")
    expect(row).to_contain_text("400, unsupported_parameter")

    page.get_by_label("Search").fill("")
    page.get_by_label("Resource").select_option("Videos")
    expect(page.get_by_role("status")).to_have_text("10 operations")
    page.get_by_label("Show").select_option("supported")
    expect(page.get_by_role("status")).to_have_text("0 operations")
    page.get_by_label("Show").select_option("missing")
    page.locator("summary", has_text="/v1/videos").filter(visible=True).first.click()
    expect(page.get_by_text("No model here makes videos.").filter(visible=True)).to_be_visible()

    page.reload()  # what was looked for is in the address
    expect(page.get_by_role("status")).to_have_text("10 operations")
    expect(page.get_by_label("Resource")).to_have_value("Videos")
    with page.expect_response("**/dashboard/v1/homeport/conformance") as answered:
        page.get_by_role("link", name="as JSON").click()
    assert answered.value.json()["object"] == "homeport.conformance"


def test_without_modules(browser: Browser, shared: Running) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 800})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    Site(page, shared.url).sign_in(KEY)
    page.goto(f"{shared.url}/dashboard/conformance")
    page.get_by_label("Search").fill("rerank")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("status")).to_have_text("1 operation")
    page.locator("summary", has_text="/v1/rerank").click()
    expect(page.get_by_text("models that can rerank")).to_be_visible()
    expect(page.locator("summary", has_text="/v1/chat/completions").first).to_be_hidden()
    context.close()
