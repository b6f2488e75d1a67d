"""Signing in and out, and what others may not do in one's name."""

import http.client
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from starlette.routing import Route

from tests.dashboard.site import Site
from tests.server import KEY, Running


def ask(server: Running, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        return answer
    finally:
        connection.close()


def cookie_of(server: Running, key: str = KEY) -> str:
    headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    answer = ask(server, "POST", "/dashboard/sign-in", headers, f"key={key}")
    assert answer.status == 303
    return str(answer.getheader("set-cookie"))


def test_signing_in_and_out(site: Site) -> None:
    expect(site.heading).to_have_text("Chat")
    site.page.get_by_role("button", name="Sign out").click()
    expect(site.page.get_by_label("API key")).to_be_visible()
    site.open("/chat")
    assert re.search(r"/sign-in\?next=", site.page.url)


def test_a_wrong_key(shared: Running, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{shared.url}/dashboard/chat")
    page.get_by_label("API key").fill("sk-nobody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no key of this server")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/chat")
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/dashboard")
    assert KEY not in cookie["value"]
    context.close()


def test_a_browser_at_the_root_comes_to_the_dashboard_and_a_client_does_not(shared: Running) -> None:
    browser = ask(shared, "GET", "/", {"accept": "text/html,*/*"})
    assert (browser.status, browser.getheader("location")) == (303, "/dashboard")
    client = ask(shared, "GET", "/", {"accept": "*/*"})
    assert client.status == 200
    assert '"name":"homeport"' in client.text.replace(" ", "")


def test_no_page_is_shown_without_a_session(shared: Running) -> None:
    dashboard: Any = shared.app.asgi
    open_to_all = {"/dashboard", "/dashboard/sign-in", "/dashboard/sign-out", "/dashboard/session"}
    routes = [one for one in dashboard._router.routes if isinstance(one, Route) and one.path not in open_to_all]
    assert routes
    for route in routes:
        answer = ask(shared, "GET", re.sub(r"\{\w+\}", "x", route.path))
        assert answer.status == 303, route.path
        assert answer.getheader("location").startswith("/dashboard/sign-in?next="), route.path


def test_no_way_through_without_a_session(shared: Running) -> None:
    answer = ask(shared, "GET", "/dashboard/v1/models")
    assert answer.status == 401
    assert "signed_out" in answer.text
    assert ask(shared, "GET", "/dashboard/v1/models", {"cookie": "homeport_session=made-up"}).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "x-homeport-dashboard": "1"}, 200),
        ({"sec-fetch-site": "same-origin"}, 403),
        ({"sec-fetch-site": "cross-site", "x-homeport-dashboard": "1"}, 403),
        ({"sec-fetch-site": "same-site", "x-homeport-dashboard": "1"}, 403),
        ({"origin": "http://evil.example", "x-homeport-dashboard": "1"}, 403),
        ({"x-homeport-dashboard": "1"}, 403),
        ({"origin": "http://127.0.0.1:{port}", "x-homeport-dashboard": "1"}, 200),
    ],
)
def test_other_sites_do_nothing_in_ones_name(shared: Running, headers: dict[str, str], status: int) -> None:
    cookie = cookie_of(shared).partition(";")[0]
    given = {name: value.format(port=shared.port) for name, value in headers.items()}
    given |= {"cookie": cookie, "content-type": "application/json"}
    body = '{"model": "echo", "messages": [{"role": "user", "content": "hello"}]}'
    assert ask(shared, "POST", "/dashboard/v1/chat/completions", given, body).status == status


def test_another_site_does_not_sign_one_in_or_out(shared: Running) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"}
    assert ask(shared, "POST", "/dashboard/sign-in", form, f"key={KEY}").status == 403
    cookie = cookie_of(shared).partition(";")[0]
    ask(shared, "POST", "/dashboard/sign-out", {"cookie": cookie, "sec-fetch-site": "cross-site"})
    assert '"signed_in":true' in ask(shared, "GET", "/dashboard/session", {"cookie": cookie}).text
    ask(shared, "POST", "/dashboard/sign-out", {"cookie": cookie, "sec-fetch-site": "same-origin"})
    assert '"signed_in":false' in ask(shared, "GET", "/dashboard/session", {"cookie": cookie}).text


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "/dashboard//evil"])
def test_nobody_is_led_elsewhere(shared: Running, wanted: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    answer = ask(shared, "POST", f"/dashboard/sign-in?next={wanted}", headers, f"key={KEY}")
    assert answer.getheader("location") == "/dashboard"


def test_pages_let_nothing_in_from_elsewhere(shared: Running) -> None:
    answer = ask(shared, "GET", "/dashboard/sign-in")
    policy = answer.getheader("content-security-policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", answer.text)


def test_what_users_have_uploaded_runs_nothing(shared: Running) -> None:
    cookie = cookie_of(shared).partition(";")[0]
    answer = ask(shared, "GET", "/dashboard/v1/models", {"cookie": cookie})
    assert answer.getheader("content-security-policy") == "default-src 'none'; sandbox"
    assert answer.getheader("x-content-type-options") == "nosniff"
