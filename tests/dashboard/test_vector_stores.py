"""Vector stores: made, filled by dropping documents, searched."""

from collections.abc import Iterator

import openai
import pytest
from playwright.sync_api import Page, expect

from tests import model_files
from tests.api.owners import client_of
from tests.dashboard.site import Site, signed_in
from tests.server import ECHO, KEY, Running, running

DOCUMENTS = {
    "ferry.txt": "The ferry to the island leaves at nine in the morning, and comes back at six.",
    "bread.txt": "The baker sells rye bread, and cakes on Sundays.",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = {"engine": "onnx", "path": str(model_files.minilm()), "threads": 1}
    settings = {"models": {**ECHO["models"], "all-minilm-l6-v2": model}, "jobs": {"poll_seconds": 0.1}}
    with running(tmp_path_factory.mktemp("stores"), settings) as made:
        yield made


def test_documents_are_put_in_and_found(server: Running, page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = signed_in(page, server.url, KEY)
    site.open("/vector-stores")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Name").fill("Town")
    page.get_by_label("Expires when not used for").fill("30")
    page.get_by_role("dialog").get_by_role("button", name="Create").click()
    expect(site.heading).to_have_text("Town")
    page.wait_for_load_state()  # a click before a page's modules are there is lost
    folder = tmp_path_factory.mktemp("documents")
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    page.get_by_label("Add documents").set_input_files([folder / name for name in (*DOCUMENTS, "broken.pdf")])
    expect(page.locator("#files .badge.good")).to_have_count(2)  # the section renews itself
    expect(page.locator("#files .badge.bad")).to_have_count(1)

    page.get_by_label("What is looked for").fill("When does the boat go?")
    page.keyboard.press("Enter")
    first = page.locator(".hits > li").first
    expect(first).to_contain_text("ferry.txt")
    expect(first).to_contain_text("leaves at nine")

    page.locator("#files tr", has_text="bread.txt").get_by_role("button", name="Attributes").click()
    page.get_by_label("What searches may filter by").fill('{"shop": true}')
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#files tr", has_text="bread.txt")).to_contain_text("shop: True")
    page.get_by_text("Options").click()
    page.get_by_label("Filter, as JSON").fill('{"type": "eq", "key": "shop", "value": true}')
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".hits > li")).to_have_count(1)
    expect(page.locator(".hits > li")).to_contain_text("bread.txt")

    page.locator("#files tr", has_text="ferry.txt").get_by_role("button", name="Text").click()
    expect(page.get_by_role("dialog")).to_contain_text("comes back at six")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove bread.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator("#files tr", has_text="bread.txt")).to_have_count(0)

    with client_of(server) as client:
        (store,) = client.vector_stores.list()
        assert (store.name, store.expires_after and store.expires_after.days) == ("Town", 30)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/dashboard/vector-stores")
    expect(page.get_by_text("No vector stores")).to_be_visible()


def test_a_filter_that_is_none(server: Running, page: Page) -> None:
    with client_of(server) as client:
        store = client.vector_stores.create(name="empty")
        site = Site(page, server.url)
        site.sign_in(KEY)
        site.open(f"/vector-stores/{store.id}")
        page.get_by_label("What is looked for").fill("anything")
        page.get_by_text("Options").click()
        page.get_by_label("Filter, as JSON").fill("{no json")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("status")).to_contain_text("JSON")
        assert isinstance(client, openai.OpenAI)
        client.vector_stores.delete(store.id)
