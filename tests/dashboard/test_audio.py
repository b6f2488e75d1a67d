"""Audio in the playground: spoken by hibari, heard by Whisper, recorded from Chromium's microphone, which beeps."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import model_files
from tests.dashboard.accessible import faults
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import until
from tests.server import KEY, Running, running

TEXT = "Hello there. This was said by a computer at home."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {
        "hibari": {"engine": "hibari"},
        "kokoro": {},
        "whisper-base": {"path": str(model_files.whisper())},
    }
    settings = {"models": models, "prices": {"hibari": {"per_million_characters": "1000"}}}
    with running(tmp_path_factory.mktemp("audio"), settings) as one:
        assert until(lambda: {"hibari": "ready", "whisper-base": "ready"}.items() <= states(one).items())
        yield one


def states(server: Running) -> dict[str, str]:
    return {name: held.state for name, held in server.app.held.items()}


@pytest.fixture
def audio(server: Running, page: Page) -> Site:
    site = signed_in(page, server.url, KEY)
    site.open("/audio")
    return site


def downloaded(page: Page, link: str) -> bytes:
    with page.expect_download() as found:
        page.get_by_role("link", name=link).first.click()
    return Path(found.value.path()).read_bytes()


def test_a_text_is_spoken_and_plays(audio: Site) -> None:
    page = audio.page
    page.get_by_label("Text", exact=True).fill(TEXT)
    expect(page.get_by_text(f"{len(TEXT)} of 4,096 characters.")).to_be_visible()
    expect(page.get_by_text("This model has one voice")).to_be_visible()
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_text("Said.", exact=True)).to_be_visible()
    assert until(lambda: page.evaluate("document.querySelector('.takes audio').currentTime > 0.1"))
    expect(page.get_by_role("link", name=f"${len(TEXT) / 1000:.2f}")).to_be_visible()
    assert downloaded(page, "Download")[:2] in (b"\xff\xfb", b"\xff\xf3", b"ID")
    for name, begin in (("wav", b"RIFF"), ("flac", b"fLaC"), ("opus", b"OggS"), ("pcm", b"")):
        page.get_by_label("Format").select_option(name)
        page.get_by_role("button", name="Speak", exact=True).click()
        expect(page.get_by_role("listitem").get_by_text(f"{name}, ")).to_be_visible()
        assert until(lambda: page.evaluate("document.querySelector('.takes audio').currentTime > 0.05"))
        assert downloaded(page, "Download").startswith(begin)
    assert faults(page) == []
    page.get_by_role("button", name="Code").first.click()
    expect(page.get_by_role("dialog", name="The same in code")).to_contain_text("speech.pcm")


def test_what_has_come_is_heard_before_the_rest_is_said(
    audio: Site, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: Any = server.app.held["hibari"]
    engine = held._backends[0]._engine
    says, goes_on = engine._say, threading.Event()

    def say(sentence: str, speed: float) -> Any:
        assert "Later" not in sentence or goes_on.wait(60)
        return says(sentence, speed)

    monkeypatch.setattr(engine, "_say", say)
    page = audio.page
    try:
        page.get_by_label("Text", exact=True).fill(f"{TEXT} Later there is more to say.")
        page.get_by_role("button", name="Speak", exact=True).click()
        assert until(lambda: page.evaluate("document.querySelector('.takes audio')?.currentTime > 0.5"))
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped.")).to_be_visible()
        expect(page.get_by_text("Nothing said yet")).to_be_visible()
    finally:
        goes_on.set()


def test_a_model_that_was_not_pulled_says_how_it_is(audio: Site) -> None:
    audio.expects(503)
    page = audio.page
    page.get_by_label("Model").first.select_option("kokoro")
    expect(page.get_by_text("Run `homeport pull kokoro`.")).to_be_visible()
    page.get_by_label("Voice").select_option("nova")
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("homeport pull kokoro")


def test_a_recording_is_written_down(audio: Site) -> None:
    page = audio.page
    page.get_by_role("tab", name="Transcription").click()
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_text("Record something, or choose a file.")).to_be_visible()
    page.get_by_label("Choose a file").set_input_files(model_files.recording("jfk"))
    expect(page.get_by_text("jfk.wav, 352 KB")).to_be_visible()
    page.get_by_label("Times of words").check()
    page.get_by_role("button", name="Write it down").click()
    segments = page.get_by_role("list", name="Segments").get_by_role("button")
    expect(segments.first).to_contain_text("fellow Americans")
    page.get_by_text("22 words").click()
    assert faults(page) == []
    page.get_by_role("button", name="country", exact=True).last.click()
    assert until(lambda: page.evaluate("document.querySelector('#sound').currentTime > 8"))
    subtitles = downloaded(page, ".srt").decode()
    assert subtitles.startswith("1\n00:00:0")
    assert "fellow Americans" in subtitles
    assert downloaded(page, ".vtt").startswith(b"WEBVTT\n\n00:00:0")

    page.get_by_label("Answer").select_option("json")
    expect(page.get_by_label("Show it as it is heard")).to_be_checked()
    page.get_by_label("Language").fill("en")
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_role("status").last).to_contain_text("Written down.")
    expect(page.locator("#heard")).to_contain_text("ask what you can do for your country")
    page.get_by_role("button", name="Code").last.click()
    code = page.get_by_role("dialog", name="The same in code")
    expect(code).to_contain_text("jfk.wav")
    page.keyboard.press("Escape")
    page.get_by_label("Task").select_option("translations")
    expect(page.get_by_label("Language")).to_be_hidden()
    page.get_by_label("Answer").select_option("vtt")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator("#heard pre")).to_contain_text("WEBVTT")


def test_from_the_microphone(audio: Site) -> None:
    page = audio.page
    page.set_viewport_size({"width": 375, "height": 700})
    page.get_by_role("tab", name="Transcription").click()
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_text("Recording …")).to_be_visible()
    assert until(lambda: page.evaluate("document.querySelector('#level').value > 0.3"))
    expect(page.get_by_role("timer")).not_to_have_text("0:00")
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_text("recording.webm, ")).to_be_visible()
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_role("status").last).to_contain_text("Written down.")
    assert page.evaluate("document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize(
    ("error", "told"), [("NotAllowedError", "Allow it beside the address"), ("NotFoundError", "There is no microphone")]
)
def test_no_microphone(audio: Site, error: str, told: str) -> None:
    page = audio.page
    refuses = (
        f"() => {{ navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{error}') }} }}"
    )
    page.evaluate(refuses)
    page.get_by_role("tab", name="Transcription").click()
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(told)


def test_without_models_of_sound(site: Site) -> None:
    site.open("/audio")
    expect(site.page.get_by_text("homeport pull kokoro").first).to_be_visible()
    site.page.get_by_role("tab", name="Transcription").click()
    expect(site.page.get_by_text("homeport pull whisper-base").first).to_be_visible()
