"""Files on their way into vector stores, as the dashboard shows them."""

from collections.abc import Iterator

import openai
import pytest
from playwright.sync_api import Page, expect

from tests.api.test_ingestion import MODEL, SETTINGS, Gate
from tests.dashboard.accessible import faults as faults_of
from tests.dashboard.accessible import on_a_phone
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import answer_well
from tests.server import KEY
from tests.stores import ended, upload
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(tmp_path_factory.mktemp("ingestion"), SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


@pytest.fixture
def site(relay: Relay, page: Page) -> Site:
    return signed_in(page, relay.homeport.url, KEY)


def test_what_has_failed_is_tried_again_and_watched(relay: Relay, client: openai.OpenAI, site: Site) -> None:
    page = site.open("/jobs?show=ingestion")
    expect(page.get_by_text("Nothing is being read, and nothing has failed")).to_be_visible()

    relay.fake.by_model[MODEL] = faults.status(400, {"message": "No vectors today."})
    store = client.vector_stores.create(name="Handbook").id
    poor = client.vector_stores.files.create(store, file_id=upload(client, "Four weeks.", "handbook.md"))
    assert ended(client, store, poor.id).status == "failed"
    strange = client.vector_stores.files.create(store, file_id=upload(client, bytes(range(256)), "picture.bin"))
    assert ended(client, store, strange.id).status == "failed"
    row = page.get_by_role("row").filter(has_text="picture.bin")
    expect(row).to_contain_text("unsupported_file")
    row.get_by_role("link", name="Handbook").click()
    page.wait_for_url("**/dashboard/ingestion/*")
    expect(page.get_by_role("heading", name="Handbook", level=1)).to_be_visible()
    expect(page.get_by_text("2 of 2, 2 failed")).to_be_visible()
    assert faults_of(page) == []

    gate = Gate(relay)
    page.get_by_role("button", name="Try handbook.md again").click()
    expect(page.get_by_text("1 of 2, 1 failed")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="handbook.md")).to_contain_text("in progress")
    gate.open()
    expect(page.get_by_text("2 of 2, 1 failed")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="handbook.md")).to_contain_text("completed")
    page.get_by_role("link", name="Failed 1").click()
    expect(page.get_by_role("row").filter(has_text="picture.bin")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="handbook.md")).to_have_count(0)
    on_a_phone(page)
    site.open("/jobs?show=ingestion")
    on_a_phone(page)
    relay.fake.by_model[MODEL] = answer_well
