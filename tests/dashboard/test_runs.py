"""Runs on the dashboard: their steps as they come, the outputs that they want, and an end to them."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.beta.threads import Run
from playwright.sync_api import Page, expect

from tests.api.assistants import DEPRECATED
from tests.api.searched import new_store
from tests.dashboard.accessible import faults as faults_of
from tests.dashboard.accessible import on_a_phone
from tests.dashboard.site import Site, signed_in
from tests.sandbox.conftest import needs_bubblewrap
from tests.server import KEY
from tests.talkers import call, outputs, says, then, turns
from tests.upstreams import faults
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "jobs": {"poll_seconds": 0.1},
        "assistants": {"poll_after_ms": 20},
        "vector_stores": {"embedding_model": "echo"},
        "code_interpreter": {"seconds": 300},
    }
    with relaying(tmp_path_factory.mktemp("runs"), settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


@pytest.fixture
def site(relay: Relay, page: Page) -> Site:
    return signed_in(page, relay.homeport.url, KEY)


def ran(client: openai.OpenAI, model: str, **more: Any) -> Run:
    """As far as it comes."""
    assistant = client.beta.assistants.create(model=model, name=f"The {model}", instructions="Be brief.", **more)
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "How is it in Rome?"}])
    return client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)


def test_a_run_wants_an_output_and_goes_on_before_ones_eyes(relay: Relay, client: openai.OpenAI, site: Site) -> None:
    relay.fake.by_model["clerk"] = turns(
        says(call("file_search", {"queries": ["quick fox"]})),
        says(call("weather", {"city": "Rome"})),
        then(lambda visit: says(f"It is **{json.loads(outputs(visit)[-1])['sky']}** in Rome.")),
    )
    store = new_store(relay.homeport, client, foxes=["the quick brown fox jumps over the fence"])
    resources: Any = {"file_search": {"vector_store_ids": [store]}}
    run = ran(client, "clerk", tools=[WEATHER, {"type": "file_search"}], tool_resources=resources)
    assert run.status == "requires_action", run.last_error

    page = site.open("/jobs?show=runs")
    row = page.get_by_role("row").filter(has_text=run.id)
    expect(row).to_contain_text("The clerk")
    expect(row).to_contain_text("requires action")
    row.get_by_role("link").click()
    page.wait_for_url("**/dashboard/runs/**")
    steps = page.locator("#steps .timeline > li")
    expect(steps).to_have_count(2)
    steps.first.get_by_text("foxes.txt").click()
    expect(steps.first.get_by_text("jumps over the fence")).to_be_visible()
    expect(steps.nth(1)).to_contain_text("Its output is wanted.")

    field = page.get_by_label("weather")
    field.fill('{"sky": "clear"}')
    page.get_by_role("heading", level=1).click()
    for _ in range(2):  # the page renews itself meanwhile, and yet what was typed stays
        with page.expect_response(page.url):
            pass
    expect(field).to_have_value('{"sky": "clear"}')
    assert faults_of(page) == []
    page.get_by_role("button", name="Submit output").click()
    expect(page.locator("#run .badge")).to_have_text("completed")
    expect(page.get_by_role("status").filter(has_text="Run: completed")).to_be_attached()
    expect(steps).to_have_count(3)
    expect(steps.nth(1)).to_contain_text('"sky": "clear"')
    expect(steps.nth(2).get_by_text("clear", exact=True)).to_have_js_property("tagName", "STRONG")
    expect(steps.first.get_by_text("jumps over the fence")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("90")
    on_a_phone(page)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_run_that_waits_is_cancelled(relay: Relay, client: openai.OpenAI, site: Site) -> None:
    relay.fake.by_model["waiting"] = turns(says(call("weather", {"city": "Rome"})))
    run = ran(client, "waiting", tools=[WEATHER])
    page = site.open(f"/runs/{run.thread_id}/{run.id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run .badge")).to_have_text("cancelled")
    expect(page.get_by_role("heading", name="Outputs are wanted")).to_have_count(0)
    assert client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id).status == "cancelled"


@needs_bubblewrap
def test_code_of_a_run_and_what_it_has_printed(relay: Relay, client: openai.OpenAI, site: Site) -> None:
    code = "for n in range(3):\n    print(n * 7, '<b>bold</b>')"
    relay.fake.by_model["coder"] = turns(says(call("code_interpreter", {"code": code})), says("Done."))
    run = ran(client, "coder", tools=[{"type": "code_interpreter"}])
    assert run.status == "completed", run.last_error
    page = site.open(f"/runs/{run.thread_id}/{run.id}")
    step = page.locator("#steps .timeline > li").first
    expect(step.locator(".hljs-built_in", has_text="print")).to_be_visible()
    expect(step).to_contain_text("14 <b>bold</b>")
    expect(page.locator("#steps .timeline > li").nth(1)).to_contain_text("Done.")


def test_a_run_that_has_failed_says_why(relay: Relay, client: openai.OpenAI, site: Site) -> None:
    relay.fake.by_model["broken"] = faults.status(400, {"message": "Not with me."})
    run = ran(client, "broken")
    assert run.status == "failed"
    page = site.open(f"/runs/{run.thread_id}/{run.id}")
    expect(page.get_by_role("alert")).to_contain_text("Not with me.")
    expect(page.locator("#run .badge")).to_have_text("failed")
    site.expects(404)
    page = site.open(f"/runs/{run.thread_id}/run_none")
    expect(page.get_by_role("alert")).to_contain_text("No run found")
