"""The embeddings page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.site import Site
from tests.server import KEY, Running, running

TEXTS = ["the cat sleeps", "the cat sleeps", "the cat purrs", "unpaid invoices"]


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"prices": {"echo": {"input": 1}}}
    with running(tmp_path_factory.mktemp("embeddings"), settings) as server:
        yield server


@pytest.fixture
def embeddings(embedding: Running, page: Page) -> Site:
    opened = Site(page, embedding.url)
    opened.sign_in(KEY)
    opened.open("/embeddings")
    return opened


def test_how_near_texts_are(embeddings: Site) -> None:
    page = embeddings.page
    page.get_by_label("Texts, one in a line").fill("\n".join([*TEXTS[:2], "", *TEXTS[2:]]))
    expect(page.get_by_text("4 texts")).to_be_visible()
    page.get_by_role("button", name="Compare").click()
    matrix = page.get_by_role("region", name="Similarity of all texts")
    rows = matrix.locator("tbody tr")
    expect(rows).to_have_count(4)
    first = rows.first.get_by_role("cell").all_inner_texts()
    assert first[:2] == ["1.000", "1.000"]
    assert 1 > float(first[2]) > float(first[3])
    figures = page.get_by_role("region", name="Similarity", exact=True).locator(".figures")
    expect(figures).to_contain_text("256 dimensions")
    expect(figures).to_contain_text(f"{sum(map(len, TEXTS))} tokens")
    expect(figures.get_by_role("link")).to_have_text("$0.000056")

    near = page.get_by_role("region", name="Nearest").get_by_role("listitem")
    page.get_by_label("To the text").select_option("2")
    expect(near.first).to_contain_text("the cat sleeps")
    expect(near.last).to_contain_text("unpaid invoices")
    page.get_by_text("Vectors", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert Path(saved.value.path()).read_text().count('"embedding"') == 4

    page.get_by_label("Dimensions").fill("16")
    page.get_by_role("button", name="Compare").click()
    expect(figures).to_contain_text("16 dimensions")
    page.reload()
    expect(page.get_by_label("Dimensions")).to_have_value("16")
    expect(page.get_by_text("4 texts")).to_be_visible()


def test_what_the_api_refuses_is_said_at_the_field(embeddings: Site) -> None:
    page = embeddings.page
    page.get_by_label("Texts, one in a line").fill("one")
    page.get_by_label("Dimensions").fill("9999")
    embeddings.expects(400)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".field .wrong")).to_contain_text("dimensions")
    expect(page.get_by_label("Dimensions")).to_be_focused()


def test_a_phone(embeddings: Site) -> None:
    page = embeddings.page
    page.set_viewport_size({"width": 375, "height": 700})
    page.get_by_role("button", name="Insert an example").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("region", name="Nearest")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_there_is_no_model(tmp_path_factory: pytest.TempPathFactory, page: Page) -> None:
    with running(tmp_path_factory.mktemp("none"), {"models": {"kokoro": {}}}) as server:
        site = Site(page, server.url)
        site.sign_in(KEY)
        site.open("/embeddings")
        expect(page.get_by_text("homeport pull all-minilm-l6-v2")).to_be_visible()
        site.open("/chat")
        expect(page.get_by_text("homeport pull smollm2-135m-instruct")).to_be_visible()
