"""A model is trained before one's eyes: a true job, of a model of a few thousand numbers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.owners import client_of, new_project
from tests.dashboard.accessible import faults as faults_of
from tests.dashboard.accessible import on_a_phone
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import until
from tests.server import KEY, Running, running
from tests.training.text import tiny

PATIENCE = 180_000
EXAMPLES = 12
#: So many that somebody who watches sees it under way, and may stop it.
EPOCHS = 25
STEPS = EXAMPLES * EPOCHS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    pytest.importorskip("xllamacpp")
    folder = tmp_path_factory.mktemp("fine-tuning")
    model = {
        "path": str(tiny.write(folder / "tiny.gguf", spells=True)),
        "engine": "llama_cpp",
        "threads": 1,
        "context_length": 256,
    }
    settings = {"models": {"tiny": model}, "fine_tuning": {"threads": 1, "nice": 0, "learning_rate": 0.01}}
    with running(folder / "data", settings) as made:
        yield made


@pytest.fixture
def site(server: Running, page: Page) -> Site:
    return signed_in(page, server.url, KEY)


def line(question: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "quiet."}]
    return json.dumps({"messages": messages})


def steps(page: Page) -> int:
    """Rows of the table beneath the curve of the loss."""
    return page.locator("#loss tbody tr").count()


def status(page: Page) -> Locator:
    return page.locator("#state .badge")


def test_a_job_is_made_watched_paused_and_comes_to_its_end(server: Running, site: Site) -> None:
    page = site.open("/jobs?show=fine-tuning")
    page.get_by_role("button", name="New fine-tuning job").first.click()
    dialog = page.get_by_role("dialog", name="New fine-tuning job")
    lines = "\n".join(line(f"How is number {number}?") for number in range(EXAMPLES)).encode()
    file: Any = {"name": "quiet.jsonl", "mimeType": "application/jsonl", "buffer": lines}
    dialog.get_by_label("Upload: training file").set_input_files(file)
    expect(dialog.get_by_text("quiet.jsonl is uploaded.")).to_be_visible()
    dialog.get_by_label("Upload: validation file").set_input_files(file)
    expect(dialog.get_by_text("quiet.jsonl is uploaded.")).to_have_count(2)
    dialog.get_by_role("spinbutton", name="Epochs").fill(str(EPOCHS))
    dialog.get_by_label("Suffix").fill("quiet")
    assert faults_of(page) == []
    dialog.get_by_label("Seed").fill("3")
    dialog.get_by_label("Base model").fill("nothing")
    site.expects(400)
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog.locator(".wrong")).to_contain_text("not available for fine-tuning")
    dialog.get_by_label("Base model").fill("tiny")
    dialog.get_by_role("button", name="Create job").click()
    page.wait_for_url("**/dashboard/fine-tuning/ftjob-*")
    job_id = page.url.rpartition("/")[2]

    table = page.locator("#loss").get_by_text("As a table")
    table.click(timeout=PATIENCE)
    assert until(lambda: steps(page) >= 2, PATIENCE / 1000), "the table gets rows"
    seen = steps(page)
    assert until(lambda: steps(page) > seen, PATIENCE / 1000), "and more, without anybody doing anything"
    page.get_by_role("button", name="Pause").click()
    expect(status(page)).to_have_text("paused", timeout=PATIENCE)
    with client_of(server) as client:
        assert client.fine_tuning.jobs.retrieve(job_id).finished_at is None
        assert 2 <= seen < STEPS
    page.get_by_role("button", name="Resume").click()
    expect(status(page)).to_have_text("succeeded", timeout=PATIENCE)
    expect(page.get_by_role("status").filter(has_text="Fine-tuning job: succeeded")).to_be_attached()
    expect(page.locator("#loss tbody tr")).to_have_count(STEPS)
    last = page.locator("#loss tbody tr").last.locator("td")
    assert float(last.nth(1).inner_text()) < 0.1, "it has learnt"
    expect(page.locator("#accuracy canvas")).to_be_visible()
    expect(page.get_by_text(f"Step {STEPS} of {STEPS}")).to_be_visible()
    events = page.get_by_role("list", name="Events").get_by_role("listitem")
    expect(events.first).to_contain_text("successfully completed")
    expect(events.filter(has_text=f"Step {STEPS}/{STEPS}")).to_be_hidden()
    page.get_by_label("Each step, too").check()
    expect(events.filter(has_text=f"Step {STEPS}/{STEPS}")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"\.csv"))).to_be_visible()

    assert faults_of(page) == []

    with client_of(server) as client:
        model = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
        assert model is not None
        expect(page.locator("#state").get_by_role("link", name="Try it in chat")).to_have_attribute(
            "href", f"/dashboard/chat?model={model.replace(':', '%3A')}"
        )
        _share(server, page, model)
        _delete(site, page, f"{model}:ckpt-step-{STEPS - EXAMPLES}")
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job_id).data
        assert {one.step_number for one in checkpoints} == {STEPS, STEPS - 2 * EXAMPLES}
    on_a_phone(page)
    site.open("/jobs?show=fine-tuning")
    expect(page.get_by_role("row").filter(has_text=model)).to_contain_text("succeeded")


def _share(server: Running, page: Page, model: str) -> None:
    """Which needs the admin's key, and not the project's."""
    project = new_project(server, "neighbours")
    page.get_by_role("button", name=f"Share {model}", exact=True).click()
    dialog = page.get_by_role("dialog", name=f"Who may use {model}")
    expect(dialog.get_by_text("Only the project that made it.")).to_be_visible()
    dialog.get_by_label("Another project").select_option(project)
    dialog.get_by_role("button", name="Share").click()
    dialog.get_by_role("button", name="Take it from neighbours").click()
    expect(dialog.get_by_text("Only the project that made it.")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def _delete(site: Site, page: Page, checkpoint: str) -> None:
    page.get_by_role("button", name=f"Delete {checkpoint}", exact=True).click()
    page.get_by_role("dialog", name=f"Delete {checkpoint}?").get_by_role("button", name="Delete the checkpoint").click()
    expect(page.get_by_text("The checkpoint is deleted.")).to_be_visible()
    expect(page.locator("#checkpoints tbody tr")).to_have_count(2)


def test_a_job_of_pairs_and_a_file_that_is_not_what_it_must_be(server: Running, site: Site) -> None:
    with client_of(server) as client:
        file = client.files.create(file=("short.jsonl", line("Alone?").encode()), purpose="fine-tune").id
    page = site.open("/jobs?show=fine-tuning")
    page.get_by_role("button", name="New fine-tuning job").first.click()
    page.get_by_label("Base model").fill("tiny")
    page.get_by_label("Training file", exact=True).select_option(file)
    page.get_by_label("Method").select_option("dpo")
    page.get_by_label("Beta").fill("0.2")
    page.get_by_role("button", name="Create job").click()
    page.wait_for_url("**/dashboard/fine-tuning/ftjob-*")
    expect(status(page)).to_have_text("failed", timeout=PATIENCE)
    expect(page.get_by_role("alert")).to_contain_text("invalid_training_file")
    expect(page.get_by_text("It has not come to a first step.")).to_be_visible()
    expect(page.locator("#settings")).to_contain_text("0.2")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
