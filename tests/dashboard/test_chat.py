"""The chat playground."""

import base64
import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.raw import ask
from tests.dashboard.site import Site
from tests.fake_upstream import FakeUpstream, Visit, event, fake_upstream, png, stream, whole
from tests.server import KEY, Running, running


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with fake_upstream() as found:
        yield found


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> Iterator[Running]:
    """echo; slow, which takes its time for each word; and an upstream, whose models can be told what to say."""
    settings = {
        "models": {"echo": {"engine": "echo"}, "slow": {"engine": "echo", "delay": 0.25}, "kokoro": {}},
        "upstreams": {"far": {"base_url": fake.base_url, "api_key": "k", "models": ["far-1", "far-embed"]}},
        "prices": {"echo": {"input": 1, "output": 2}},
    }
    with running(tmp_path_factory.mktemp("chat"), settings) as server:
        yield server


@pytest.fixture
def chat(talking: Running, page: Page) -> Site:
    opened = Site(page, talking.url)
    opened.sign_in(KEY)
    opened.open("/chat")
    expect(page.locator(".chat[data-ready]")).to_be_visible()
    return opened


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Assistant's message")


def settled(page: Page) -> None:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def choose(page: Page, model: str) -> None:
    page.get_by_label("Model", exact=True).first.select_option(model)


def test_a_conversation(chat: Site) -> None:
    page = chat.page
    expect(page.get_by_label("Model", exact=True)).to_have_value("echo")
    assert "kokoro" not in page.get_by_label("Model", exact=True).inner_text()
    say(page, "**Hello** and\n\n```python\nprint(1)\n```")
    answer = answers(page)
    expect(answer.locator("strong")).to_have_text("Hello")
    expect(answer.locator("pre .hljs-number")).to_have_text("1")
    expect(answer.locator(".figures")).to_contain_text("37 + 37 tokens")
    expect(answer.locator(".figures")).to_contain_text("first token")
    cost = answer.get_by_role("link", name="$0.000111")
    assert re.search(r"/dashboard/requests/req_\w+$", cost.get_attribute("href") or "")

    say(page, "one more")
    expect(answers(page).nth(1)).to_contain_text("one more")
    settled(page)
    page.reload()
    expect(answers(page)).to_have_count(2)
    expect(answers(page).first.get_by_role("link", name="$0.000111")).to_be_visible()

    mine = page.get_by_role("article", name="User's message").first
    mine.get_by_role("button", name="Edit").click()
    page.get_by_label("Text of the message").fill("said anew")
    page.get_by_role("button", name="Save and answer").click()
    expect(answers(page)).to_have_count(1)
    expect(answers(page)).to_contain_text("said anew")
    settled(page)
    answers(page).get_by_role("button", name="Edit").click()
    page.get_by_label("Role", exact=True).first.select_option("user")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("article", name="User's message")).to_have_count(2)
    page.get_by_role("button", name="Delete").last.click()
    page.get_by_role("button", name="Answer from here").click()
    expect(answers(page)).to_contain_text("said anew")
    settled(page)

    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_text("Nothing has been said yet")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Nothing has been said yet")).to_be_visible()


def test_it_is_stopped(chat: Site, talking: Running) -> None:
    page = chat.page
    choose(page, "slow")
    words = " ".join(f"word{number}" for number in range(200))
    say(page, words)
    expect(answers(page)).to_contain_text("word1")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).locator(".figures")).to_contain_text("stopped")
    assert "word199" not in answers(page).inner_text()
    link = answers(page).locator(".cost a")
    expect(link).not_to_have_text("…")
    request = (link.get_attribute("href") or "").rpartition("/")[2]
    receipt = ask(talking, "GET", f"/v1/homeport/receipts/{request}").json
    assert receipt["outcome"] == "left"
    assert receipt["usage"]["output_tokens"] < len(words)

    say(page, words)
    expect(answers(page).nth(1)).to_contain_text("word1")
    page.keyboard.press("Escape")
    expect(answers(page).nth(1).locator(".figures")).to_contain_text("stopped")
    page.reload()
    expect(answers(page)).to_have_count(2)
    settled(page)


def test_two_side_by_side(chat: Site, fake: FakeUpstream) -> None:
    page = chat.page
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_role("button", name="Compare").click()
    second = page.get_by_role("region", name="Conversation 2")
    second.get_by_label("Model", exact=True).select_option("far-1")
    second.get_by_text("System prompt, parameters, tools").click()
    second.get_by_label("Temperature", exact=True).fill("1.5")
    say(page, "to both")
    first = page.get_by_role("region", name="Conversation 1")
    expect(first.get_by_role("article", name="Assistant's message")).to_contain_text("to both")
    expect(second.get_by_role("article", name="Assistant's message")).to_contain_text("Grüße")
    expect(second.get_by_role("article", name="Assistant's message")).to_contain_text("11 (3 cached) + 7 tokens")
    expect(second.get_by_role("article", name="Assistant's message")).to_contain_text("far-1-2024")
    body = fake.received_for("far-1")[-1].json
    assert body["temperature"] == 1.5
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    settled(page)
    page.reload()
    expect(page.get_by_role("article", name="Assistant's message")).to_have_count(2)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("article", name="Assistant's message")).to_have_count(1)


def test_tools(chat: Site) -> None:
    """echo calls the first tool with the least that its parameters admit, and says what it gave back."""
    page = chat.page
    page.locator("summary", has_text="Tools").last.click()
    page.locator("[data-example=tools]").click()
    expect(page.locator("[data-part=tools] .note")).to_have_text("get_weather")
    page.get_by_label("Tool choice").select_option("get_weather")
    say(page, "How is the weather?")
    call = answers(page).locator(".call")
    expect(call).to_contain_text("get_weather")
    expect(call).to_contain_text('"city"')
    expect(answers(page).locator(".figures .badge")).to_be_visible()
    page.get_by_label("Tool choice").select_option("none")
    page.get_by_label("Output of get_weather").fill('{"celsius": 21}')
    page.get_by_role("button", name="Send output").click()
    expect(page.get_by_role("heading", name="Tool: get_weather")).to_be_visible()
    expect(answers(page).nth(1)).to_contain_text('{"celsius": 21}')
    expect(page.get_by_label("Output of get_weather")).to_have_count(0)


def test_answers_in_json(chat: Site) -> None:
    page = chat.page
    page.locator("summary", has_text="Response format").click()
    page.get_by_label("Format", exact=True).select_option("json_schema")
    schema = page.get_by_label("Schema, with its name")
    schema.fill('{"name": "recipe"')
    expect(page.get_by_text("This is no JSON")).to_be_visible()
    say(page, "A recipe")
    expect(schema).to_be_focused()
    expect(page.get_by_label("Message", exact=True)).to_have_value("A recipe")
    page.locator("[data-example=schema]").click()
    expect(page.get_by_text("This is no JSON")).to_have_count(0)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answers(page).get_by_text("valid JSON", exact=True)).to_be_visible()
    assert set(json.loads(answers(page).locator("pre").inner_text())) == {"title", "minutes", "ingredients"}
    settled(page)
    schema.fill("{")
    answers(page).get_by_role("button", name="Answer again").click()
    expect(schema).to_be_focused()
    expect(answers(page)).to_contain_text("ingredients")


def delta(visit: Visit, *, finish: str | None = None, index: int = 0, **delta: object) -> bytes:
    chunk = {"id": "fake-1", "object": "chat.completion.chunk", "created": 1, "model": visit.json["model"]}
    return event({**chunk, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def test_what_else_models_say(chat: Site, fake: FakeUpstream) -> None:
    page = chat.page
    choose(page, "far-1")

    def think(visit: Visit) -> None:
        pieces = [delta(visit, reasoning_content="Let me see."), delta(visit, content="Here: 4")]
        second = [delta(visit, index=1, content="Or 5"), delta(visit, index=1, finish="stop")]
        stream(visit, [*pieces, delta(visit, finish="length"), *second, b"data: [DONE]\n\n"])

    fake.script.append(think)
    say(page, "What is 2 and 2?")
    expect(answers(page)).to_contain_text("Here: 4")
    expect(answers(page)).to_contain_text("cut off")
    thought = answers(page).get_by_text("Let me see.")
    expect(thought).to_be_hidden()
    answers(page).get_by_text("Reasoning").click()
    expect(thought).to_be_visible()
    answers(page).get_by_role("button", name="The next choice").click()
    expect(answers(page)).to_contain_text("Or 5")

    def refuse(visit: Visit) -> None:
        assert visit.json["messages"][1] == {"role": "assistant", "content": "Or 5"}
        stream(visit, [delta(visit, refusal="I will not."), delta(visit, finish="stop"), b"data: [DONE]\n\n"])

    fake.script.append(refuse)
    say(page, "And now something bad")
    expect(answers(page).nth(1)).to_contain_text("Refusal. I will not.")
    settled(page)

    error = {
        "message": "The 'colour' is wrong.",
        "type": "invalid_request_error",
        "param": "colour",
        "code": "bad_colour",
    }
    fake.script.append(lambda visit: visit.send(whole(json.dumps({"error": error}).encode(), 400)))
    chat.expects(400)
    say(page, "Wrong")
    expect(page.get_by_role("alert")).to_contain_text("The 'colour' is wrong.")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page).nth(2)).to_contain_text("Grüße")


def test_every_setting_is_in_the_request(chat: Site, fake: FakeUpstream) -> None:
    page = chat.page
    page.get_by_label("Model", exact=True).select_option("far-1")
    page.get_by_label("System prompt").fill("Be brief.")
    given = {"Temperature": "0.5", "Top p": "0.9", "Max tokens": "40", "Seed": "7", "Frequency penalty": "-0.5"}
    for label, value in {**given, "Presence penalty": "0.25", "Choices (n)": "2"}.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Reasoning effort").select_option("low")
    page.get_by_label("Stop sequences").fill("END\n\\n\\n")
    page.locator("summary", has_text="More").click()
    page.get_by_label("Log probabilities").check()
    page.get_by_label("Alternatives of each token").fill("3")
    page.get_by_label("Stream the answer").uncheck()
    page.get_by_label("More parameters, as JSON").fill('{"verbosity": "low", "metadata": {"a": "b"}}')
    page.get_by_label("Pictures to attach").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    expect(page.get_by_role("img", name="Picture 1")).to_be_visible()
    say(page, "What is this?")
    expect(answers(page)).to_contain_text("Grüße")
    address = "data:image/png;base64," + base64.b64encode(png()).decode()
    asked = fake.received_for("far-1")[-1].json
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": address}}]
    assert asked == {
        "model": "far-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 40,
        "seed": 7,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.25,
        "n": 2,
        "reasoning_effort": "low",
        "stop": ["END", "\n\n"],
        "logprobs": True,
        "top_logprobs": 3,
        "verbosity": "low",
        "metadata": {"a": "b"},
    }
    page.reload()
    expect(page.get_by_label("Temperature", exact=True)).to_have_value("0.5")
    expect(page.get_by_role("article", name="User's message").get_by_role("img")).to_be_visible()
    page.get_by_role("button", name="Reset the settings").click()
    expect(page.get_by_label("Temperature", exact=True)).to_have_value("")
    expect(page.get_by_label("Model", exact=True)).to_have_value("far-1")


def test_log_probabilities_and_a_training_example(chat: Site) -> None:
    page = chat.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("summary", has_text="More").click()
    page.get_by_label("Log probabilities").check()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Role", exact=True).select_option("assistant")
    page.get_by_label("Message", exact=True).fill("How can I help?")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Role", exact=True).select_option("user")
    say(page, "ab")
    answers(page).nth(1).get_by_text("Log probabilities").click()
    expect(answers(page).nth(1).get_by_role("row")).to_have_count(3)
    expect(answers(page).nth(1).get_by_role("cell", name="100.0 %")).to_have_count(2)
    page.get_by_role("button", name="Training example").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    said = [("system", "Be brief."), ("assistant", "How can I help?"), ("user", "ab"), ("assistant", "ab")]
    assert copied == {"messages": [{"role": role, "content": content} for role, content in said]}


def test_a_link_chooses_the_model(chat: Site) -> None:
    page = chat.open("/chat?model=ft:mine:1")
    expect(page.get_by_label("Name of the model")).to_have_value("ft:mine:1")
    chat.open("/chat?model=slow")
    expect(page.get_by_label("Model", exact=True)).to_have_value("slow")


def test_a_phone(chat: Site) -> None:
    page = chat.page
    page.set_viewport_size({"width": 375, "height": 700})
    page.reload()
    say(page, "a " + "very" * 60 + " long word\n\n```\n" + "code " * 60 + "\n```")
    expect(answers(page).locator("pre")).to_be_visible()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
