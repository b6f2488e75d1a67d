"""Files: dropped, uploaded in parts, looked at, deleted."""

from pathlib import Path

import openai
import pytest
from playwright.sync_api import expect

from tests.api.owners import client_of
from tests.dashboard.site import Site
from tests.server import Running

#: More than is sent in one piece: js/core/upload.js.
LARGE = 70_000_000
DROP = """text => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([text], "dropped.txt", {type: "text/plain"}));
  for (const name of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(name, {dataTransfer: dropped, bubbles: true, cancelable: true}));
  }
}"""


@pytest.fixture
def client(shared: Running) -> openai.OpenAI:
    return client_of(shared)


def test_a_file_is_uploaded_read_and_deleted(site: Site, client: openai.OpenAI, tmp_path: Path) -> None:
    page = site.open("/files")
    expect(site.heading).to_have_text("Files")
    notes = tmp_path / "notes <b>.md"
    notes.write_text("# Harbours\n\nQuiet <script>alert(1)</script> water.")
    page.get_by_label("Purpose").first.select_option("user_data")
    page.get_by_label("Choose files").set_input_files(notes)
    page.get_by_role("link", name=notes.name).click()
    expect(site.heading).to_have_text(notes.name)
    page.wait_for_load_state()
    expect(page.locator("#preview")).to_contain_text("Quiet <script>alert(1)</script> water.")
    (file,) = [one for one in client.files.list() if one.filename == notes.name]
    assert (file.purpose, file.bytes) == ("user_data", notes.stat().st_size)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    assert downloading.value.path().read_bytes() == notes.read_bytes()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/dashboard/files")
    assert file.id not in [one.id for one in client.files.list()]


def test_files_are_dropped_on_the_page(site: Site, client: openai.OpenAI) -> None:
    page = site.open("/files")
    page.get_by_label("Kept").select_option("7")
    page.evaluate(DROP, "dropped words")
    page.get_by_role("link", name="dropped.txt").first.wait_for()
    (file,) = [one for one in client.files.list() if one.filename == "dropped.txt"]
    assert file.expires_at is not None
    assert file.expires_at - file.created_at == 7 * 86_400
    assert client.files.delete(file.id).deleted


def test_a_large_file_comes_in_parts(site: Site, client: openai.OpenAI, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as made:
        made.write(b"begin")
        made.truncate(LARGE)
    page = site.open("/files")
    page.get_by_label("Purpose").first.select_option("user_data")
    page.get_by_label("Choose files").set_input_files(large)
    page.get_by_role("link", name="large.bin").click()
    expect(page.locator("#preview")).to_have_text("This is no text.")
    (file,) = [one for one in client.files.list() if one.filename == "large.bin"]
    assert file.bytes == LARGE
    assert client.files.delete(file.id).deleted


def test_what_is_wrong_with_a_file_is_said(site: Site, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"custom_id": "a"}\nnot json\n')
    page = site.open("/files")
    page.get_by_label("Purpose").first.select_option("fine-tune")
    site.expects(400)
    page.get_by_label("Choose files").set_input_files(lines)
    expect(page.get_by_role("status")).to_contain_text("lines.jsonl")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".toast")).to_have_count(0)
