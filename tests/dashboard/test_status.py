"""How the server is, as somebody sees it who looks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import model_files
from tests.api import owners, raw
from tests.dashboard.site import signed_in
from tests.fake_upstream import FakeUpstream, dead_port, fake_upstream
from tests.server import KEY, Running, running


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as made:
        yield made


@pytest.fixture(scope="module")
def server(fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings: dict[str, Any] = {
        "models": {
            "echo": {"engine": "echo"},
            "minilm": {"engine": "onnx", "path": str(model_files.minilm())},
            "unpulled": {},
        },
        "upstreams": {
            "far": {"base_url": fake.base_url, "models": ["there"]},
            "nobody": {
                "base_url": f"http://127.0.0.1:{dead_port()}/v1",
                "models": ["gone"],
                "retries": 0,
                "failures": 0,
            },
        },
        "aliases": {"either": ["gone", "echo"]},
    }
    with running(tmp_path_factory.mktemp("status-page"), settings) as made:
        yield made


def ask(server: Running, model: str) -> int:
    return raw.ask(server, body={**raw.HELLO, "model": model}).status


def test_from_everything_works_to_what_does_not_without_a_reload(page: Page, server: Running) -> None:
    site = signed_in(page, server.url, KEY)
    site.open("/status")
    health = page.locator("#health")
    expect(health.get_by_role("heading")).to_have_text("Everything works.")
    models = page.get_by_role("group", name="Models of this machine")
    expect(models.get_by_role("row", name="echo")).to_contain_text("ready")
    expect(models.get_by_role("row", name="unpulled")).to_contain_text("homeport pull unpulled")
    memory = re.compile(r"onnx\s*\d+(\.\d+)? [kM]?B\s*weights 2\d\.\d MB")
    expect(models.get_by_role("row", name="minilm")).to_contain_text(memory)
    upstreams = page.get_by_role("group", name="Upstreams")
    expect(upstreams.get_by_role("row", name=re.compile("^nobody"))).to_contain_text("Nobody has asked it")
    expect(page.locator("#incidents")).to_contain_text("Nothing failed")

    assert [ask(server, "either"), ask(server, "gone"), ask(server, "there")] == [200, 503, 200]
    expect(health).to_contain_text("One thing does not work as it should.")
    expect(health).to_contain_text("The upstream nobody does not answer")
    expect(upstreams.get_by_role("row", name=re.compile("^nobody"))).to_contain_text("down")
    expect(upstreams.get_by_role("row", name=re.compile("^far"))).to_contain_text("up")
    incidents = page.get_by_role("group", name="What failed of late")
    expect(incidents.get_by_role("row", name=re.compile("gone"))).to_contain_text("cannot be reached")
    expect(page.locator("#figures")).to_contain_text(re.compile(r"Requests\s*3"))
    expect(page.locator("main")).to_contain_text("then echo")  # where `either` leads


def test_a_projects_key_sees_less_and_is_told_so(page: Page, server: Running) -> None:
    key = owners.new_key(server, owners.new_project(server, "looks"), models=["echo"])
    site = signed_in(page, server.url, key)
    site.open("/status")
    expect(page.locator("main")).to_contain_text("An admin key adds")
    models = page.get_by_role("group", name="Models of this machine")
    expect(models.get_by_role("row", name="echo")).to_be_visible()
    expect(models.get_by_role("row", name="unpulled")).to_have_count(0)
    expect(page.locator("#incidents")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("127.0.0.1")


def test_it_fits_a_phone(page: Page, server: Running) -> None:
    site = signed_in(page, server.url, KEY)
    page.set_viewport_size({"width": 375, "height": 800})
    site.open("/status")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
