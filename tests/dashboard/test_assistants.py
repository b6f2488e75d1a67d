"""Assistants in the playground: over a scripted upstream that calls tools; files are searched and code is run for
real."""

import base64
import re
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.assistants import DEPRECATED
from tests.api.searched import new_store
from tests.dashboard.accessible import faults
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, whole
from tests.sandbox.conftest import needs_bubblewrap
from tests.server import KEY
from tests.talkers import answer, call, outputs, says, then, turns
from tests.upstreams.homeports import Relay, relaying

pytestmark = DEPRECATED
NOTICE = "The notice period is three months."
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CODE = f"""
import base64
table = open('/mnt/data/numbers.csv').read()
open('/mnt/data/sum.txt', 'w').write(str(sum(map(int, table.split(',')))))
open('/mnt/data/dot.png', 'wb').write(base64.b64decode('{PNG}'))
print('summed up')
"""


def cites(visit: Visit) -> Any:
    markers = re.findall("^【.*】$", outputs(visit)[-1], re.MULTILINE)
    return says("It is **three** months", *markers, ".")


def fails(visit: Visit) -> None:
    visit.send(whole(b'{"error": {"message": "That is no prompt of mine.", "type": "invalid_request_error"}}', 400))


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    settings = {
        "jobs": {"poll_seconds": 0.1},
        "vector_stores": {"embedding_model": "echo"},
        "code_interpreter": {"seconds": 300},
    }
    with relaying(tmp_path_factory.mktemp("assistants"), settings, models=["*", "searcher"]) as made:
        made.fake.by_model["searcher"] = turns(says(call("file_search", {"queries": ["notice"]})), then(cites))
        made.fake.by_model["coder"] = turns(
            says(call("code_interpreter", {"code": CODE})), says("Here is [the sum](sandbox:/mnt/data/sum.txt).")
        )
        made.fake.by_model["caller"] = turns(says(call("weather", {"city": "Rome"})), says("It is sunny."))
        made.fake.by_model["broken"] = fails
        yield made


@pytest.fixture(scope="module")
def client(relay: Relay) -> Iterator[openai.OpenAI]:
    with relay.client() as made:
        yield made


@pytest.fixture
def site(relay: Relay, page: Page) -> Site:
    return signed_in(page, relay.homeport.url, KEY)


def talk(site: Site, assistant: str, text: str) -> Locator:
    """Say something in a new thread. Returns what is said in it."""
    page = site.open(f"/assistants?assistant={assistant}")
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")
    return page.locator("#said")


def test_an_assistant_is_made_talks_is_changed_and_goes(site: Site) -> None:
    page = site.open("/assistants")
    page.get_by_role("button", name="New assistant").first.click()
    editor = page.get_by_role("dialog", name="New assistant")
    editor.get_by_label("Name").fill("Parrot")
    editor.get_by_label("Model").select_option("echo")
    editor.get_by_label("Instructions").fill("Say it again.")
    editor.get_by_label("Functions, as JSON").fill("[{")
    editor.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Functions: this is no JSON.")).to_be_visible()
    editor.get_by_role("button", name="Insert an example").click()
    editor.get_by_label("File search").check()
    assert faults(page) == []
    editor.get_by_label("File search").uncheck()
    editor.get_by_role("button", name="Save").click()
    expect(page.get_by_text("weather()")).to_be_visible()
    expect(page.get_by_text("Say it again.")).to_be_visible()

    page.get_by_role("button", name="Edit").click()
    editor = page.get_by_role("dialog", name="Edit assistant")
    expect(editor.get_by_label("Functions, as JSON")).to_have_value(re.compile("The weather of a city"))
    editor.get_by_label("Functions, as JSON").fill("")
    editor.get_by_label("Instructions").fill("")
    editor.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Say it again.")).to_have_count(0)
    expect(page.get_by_text("weather()")).to_have_count(0)

    page.get_by_label("Message").fill("What a fine day")
    page.get_by_role("button", name="Send").click()
    said = page.locator("#said")
    expect(said.get_by_role("article").last).to_contain_text("Parrot")
    expect(said.get_by_text(re.compile(r"echo, \d+ \+ \d+ tokens"))).to_be_visible()
    expect(page.get_by_role("heading", name="What a fine day")).to_be_visible()
    answer = said.get_by_role("article").last.inner_text()
    page.reload()
    expect(said.get_by_role("article")).to_have_count(2)
    expect(said.get_by_role("article").last).to_contain_text(answer.split("\n")[-1])
    expect(page.locator("#threads").get_by_role("link", name="What a fine day")).to_have_attribute(
        "aria-current", "true"
    )

    page.get_by_role("button", name="Delete thread").click()
    page.get_by_role("button", name="Delete", exact=True).last.click()
    expect(page.get_by_role("heading", name="New thread")).to_be_visible()
    expect(page.locator("#threads").get_by_text("What a fine day")).to_have_count(0)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete", exact=True).last.click()
    expect(page.get_by_role("option", name="Parrot (echo)")).to_have_count(0)


def test_what_is_cited_stands_below_with_its_words(site: Site, relay: Relay, client: openai.OpenAI) -> None:
    store = new_store(relay.homeport, client, handbook=[NOTICE])
    resources: Any = {"file_search": {"vector_store_ids": [store]}}
    tools: Any = [{"type": "file_search"}]
    assistant = client.beta.assistants.create(model="searcher", name="Book", tools=tools, tool_resources=resources)
    said = talk(site, assistant.id, "How long is the notice period?")
    for _ in ("as it comes", "read again"):
        answer = said.get_by_role("article").last
        expect(answer).to_contain_text("It is three months1.")
        source = answer.get_by_role("list", name="Sources").get_by_role("listitem")
        expect(source).to_contain_text("handbook.txt")
        expect(source).to_contain_text(NOTICE)
        expect(answer.get_by_role("link", name="Source 1")).to_have_attribute("href", re.compile("#source-"))
        site.page.reload()
    site.page.get_by_text("What it did").click()
    expect(said.get_by_text("Searched files: 1 passages")).to_be_visible()
    assert faults(site.page) == []


def test_a_function_is_called_and_answered(site: Site, client: openai.OpenAI, relay: Relay) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    assistant = client.beta.assistants.create(model="caller", name="Weather", tools=tools)
    said = talk(site, assistant.id, "What is the weather in Rome?")
    page = site.page
    field = page.get_by_label("Output of weather")
    expect(field).to_be_focused()
    expect(page.get_by_text("requires action")).to_be_visible()
    assert faults(page) == []
    page.reload()  # the run goes on without us, and is found again
    expect(said.get_by_text('"city": "Rome"').first).to_be_visible()
    field.fill('{"sky": "clear"}')
    page.get_by_role("button", name="Submit outputs").click()
    expect(said.get_by_role("article").last).to_contain_text("It is sunny.")
    expect(page.get_by_role("status").first).to_have_text("completed")
    tool = [one for one in relay.fake.received_for("caller")[-1].json["messages"] if one["role"] == "tool"]
    assert [one["content"] for one in tool] == ['{"sky": "clear"}']

    page.get_by_label("Message").fill("And in Paris?")
    page.get_by_role("button", name="Send").click()
    expect(field).to_be_visible()
    page.get_by_role("button", name="Cancel run").click()
    expect(field).to_have_count(0)
    expect(said.get_by_text("The run is cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel run")).to_be_hidden()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_a_run_is_cancelled_while_it_talks(site: Site, client: openai.OpenAI, relay: Relay) -> None:
    goes_on = threading.Event()

    def talks(visit: Visit) -> None:
        visit.send(STREAM_HEAD + chunked(answer(visit, ["Half of"])[0]))
        assert goes_on.wait(60)

    relay.fake.by_model["talker"] = talks
    assistant = client.beta.assistants.create(model="talker", name="Talker")
    said = talk(site, assistant.id, "Talk to me")
    try:
        expect(said.get_by_role("article").last).to_contain_text("Half of")
        site.page.get_by_role("button", name="Cancel run").click()
        expect(said.get_by_text("The run is cancelled")).to_be_visible()
    finally:
        goes_on.set()
    expect(said.get_by_role("article").last).to_contain_text("incomplete: run cancelled")


@needs_bubblewrap
def test_code_runs_over_a_file_that_was_attached(site: Site, client: openai.OpenAI) -> None:
    tools: Any = [{"type": "code_interpreter"}]
    assistant = client.beta.assistants.create(model="coder", name="Coder", tools=tools)
    page = site.open(f"/assistants?assistant={assistant.id}")
    expect(page.get_by_text("code interpreter", exact=True)).to_be_visible()
    page.get_by_label("Attach", exact=True).set_input_files(
        {"name": "numbers.csv", "mimeType": "text/csv", "buffer": b"1,2,3"}
    )
    attached = page.get_by_role("list", name="Attachments")
    expect(attached).to_contain_text("numbers.csv")
    expect(attached).not_to_contain_text("%")
    page.get_by_label("Message").fill("Sum it up")
    page.get_by_role("button", name="Send").click()
    said = page.locator("#said")
    expect(said.get_by_text("summed up", exact=True)).to_be_visible()
    expect(said.get_by_role("list", name="Attached files")).to_contain_text("numbers.csv")
    assert faults(page) == []
    answer = said.get_by_role("article").last
    expect(answer.get_by_role("img", name="A picture of this thread")).to_be_visible()
    assert answer.get_by_role("img").evaluate("one => one.decode().then(() => one.naturalWidth)") == 1
    link = answer.get_by_role("link", name="the sum")
    expect(link).to_have_attribute("download", "sum.txt")
    with page.expect_download() as downloaded:
        link.click()
    assert downloaded.value.path().read_bytes() == b"6"
    assert attached.get_by_role("listitem").count() == 0


def test_a_run_that_fails_says_why(site: Site, client: openai.OpenAI) -> None:
    assistant = client.beta.assistants.create(model="broken", name="Broken")
    said = talk(site, assistant.id, "Hello?")
    expect(said.get_by_role("alert")).to_have_text("invalid_prompt: That is no prompt of mine.")
    expect(site.page.get_by_role("button", name="Send")).to_be_enabled()
    site.page.reload()
    expect(said.get_by_role("alert")).to_contain_text("That is no prompt of mine.")


def test_a_picture_to_look_at_and_settings_of_a_run(site: Site, client: openai.OpenAI, relay: Relay) -> None:
    relay.fake.by_model["looker"] = says("A dot.")
    assistant = client.beta.assistants.create(model="looker", name="Looker", instructions="Look.")
    page = site.open(f"/assistants?assistant={assistant.id}")
    page.set_viewport_size({"width": 375, "height": 700})
    expect(page.get_by_text("Look.", exact=True)).to_be_visible()
    page.get_by_label("Attach", exact=True).set_input_files(
        {"name": "dot.png", "mimeType": "image/png", "buffer": base64.b64decode(PNG)}
    )
    attached = page.get_by_role("list", name="Attachments")
    expect(attached).to_contain_text("dot.png")
    expect(attached).not_to_contain_text("%")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Additional instructions").fill("Closely.")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Send").click()
    said = page.locator("#said")
    expect(said.get_by_role("article").last).to_contain_text("A dot.")
    expect(said.get_by_role("img", name="A picture of this thread")).to_be_visible()
    asked = relay.fake.received_for("looker")[-1].json["messages"]
    assert asked[0]["content"] == "Look.\n\nClosely."
    assert asked[-1]["content"][-1]["type"] == "image_url"
    assert page.evaluate("document.documentElement.scrollWidth") == 375
