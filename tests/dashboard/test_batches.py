"""Batches on the dashboard: made there, watched to their end, cancelled, and what is wrong with them."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

from tests.api.owners import client_of, new_key, new_project
from tests.dashboard.accessible import faults as faults_of
from tests.dashboard.accessible import on_a_phone
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import until
from tests.server import KEY, Running, running

PATIENCE = 90.0
#: Nobody waits for `slow`: it says a word in a minute.
SETTINGS: dict[str, Any] = {
    "models": {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 60.0}},
    "jobs": {"poll_seconds": 0.1},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("batches"), SETTINGS) as made:
        yield made


@pytest.fixture
def site(server: Running, page: Page) -> Site:
    return signed_in(page, server.url, KEY)


def line(number: int, model: str = "echo", said: Any = None) -> str:
    messages = said if said is not None else [{"role": "user", "content": f"Say {number}"}]
    body = {"model": model, "messages": messages}
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})


def made(client: openai.OpenAI, *lines: str) -> str:
    file = client.files.create(file=("lines.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"team": "sales"}
    )
    return batch.id


def test_a_batch_is_made_and_watched_to_its_end(site: Site) -> None:
    page = site.open("/jobs")
    expect(page.get_by_text("No batches yet")).to_be_visible()
    page.get_by_role("button", name="New batch").first.click()
    dialog = page.get_by_role("dialog", name="New batch")
    dialog.get_by_label("Endpoint").select_option("/v1/embeddings")
    lines = "\n".join([*(line(number) for number in range(30)), line(30, said="nothing")])
    file: Any = {"name": "questions.jsonl", "mimeType": "application/jsonl", "buffer": lines.encode()}
    dialog.get_by_label("Upload: input file").set_input_files(file)
    expect(dialog.get_by_text("questions.jsonl is uploaded.")).to_be_visible()
    expect(dialog.get_by_label("Endpoint")).to_have_value("/v1/chat/completions")
    assert faults_of(page) == []
    dialog.get_by_role("button", name="Create batch").click()

    page.wait_for_url("**/dashboard/batches/batch_*")
    expect(page.locator("#batch .badge")).to_have_text("completed")
    expect(page.get_by_text("31 of 31, 1 failed")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_text("Errors, line by line").click()
    expect(page.get_by_role("row").filter(has_text="400")).to_contain_text("messages")
    page.get_by_text("Answers, line by line").click()
    expect(page.get_by_role("row").filter(has_text="Say 17")).to_contain_text("200")
    expect(page.get_by_text("The first 20 lines.")).to_be_visible()
    assert faults_of(page) == []
    on_a_phone(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="_output.jsonl").click()
    content = download.value.path().read_text()
    assert len(content.splitlines()) == 30
    assert "Say 29" in content

    site.open("/jobs")
    row = page.get_by_role("row").filter(has_text="completed")
    expect(row).to_contain_text("31 of 31, 1 failed")


def test_a_batch_is_cancelled_while_it_runs(server: Running, site: Site) -> None:
    with client_of(server) as client:
        batch = made(client, *(line(number, "slow") for number in range(3)))
        assert until(lambda: client.batches.retrieve(batch).status == "in_progress", PATIENCE)
    page = site.open("/jobs")
    expect(page.get_by_role("link", name="Batches 1 under way")).to_be_visible()
    page.get_by_role("link", name=batch).click()
    page.wait_for_url("**/dashboard/batches/*")
    expect(page.locator("#batch .badge")).to_have_text("in progress")
    expect(page.get_by_text("0 of 3")).to_be_visible()
    expect(page.get_by_text("sales")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    question = page.get_by_role("dialog", name="Cancel this batch?")
    question.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#batch .badge")).to_have_text("in progress")
    page.get_by_role("button", name="Cancel").click()
    question.get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_role("status").filter(has_text="Batch: cancelled")).to_be_attached()
    expect(page.locator("#batch .badge")).to_have_text("cancelled")


def test_what_is_wrong_with_an_input_is_said_with_its_lines(server: Running, site: Site) -> None:
    with client_of(server) as client:
        batch = made(client, line(1), "nonsense", line(1))
    page = site.open(f"/batches/{batch}")
    expect(page.locator("#batch .badge")).to_have_text("failed")
    expect(page.get_by_role("row").filter(has_text="invalid_json_line")).to_contain_text("2")
    expect(page.get_by_role("row").filter(has_text="duplicate_custom_id")).to_contain_text("3")


def test_what_the_api_refuses_is_said_in_the_form(server: Running, site: Site) -> None:
    with client_of(server) as client:
        file = client.files.create(file=("gone.jsonl", line(1).encode()), purpose="batch")
        page = site.open("/jobs?show=batches")
        page.get_by_role("button", name="New batch").first.click()
        page.get_by_label("Input file", exact=True).select_option(file.id)
        client.files.delete(file.id)
    site.expects(400)
    site.expects(404)
    page.get_by_role("button", name="Create batch").click()
    field = page.get_by_label("Input file", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".wrong")).to_contain_text(file.id)


def test_another_project_sees_none_of_it(server: Running, page: Page) -> None:
    with client_of(server) as client:
        batch = made(client, line(1))
    strangers = Site(page, server.url)
    strangers.sign_in(new_key(server, new_project(server, "strangers"), scopes=["batch.read", "model.read"]))
    strangers.expects(404)
    strangers.open(f"/batches/{batch}")
    expect(page.get_by_role("alert")).to_contain_text("404")
    strangers.open("/jobs")
    expect(page.get_by_text("No batches yet")).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("alert")).to_contain_text("threads.read")
