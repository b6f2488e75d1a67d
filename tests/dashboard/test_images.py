"""Images in the playground: drawn by scene-1, and out of noise by a tiny diffusion model."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests import diffusion_models, model_files
from tests.api.test_images_diffusion import Gate
from tests.dashboard.accessible import faults
from tests.dashboard.site import Site, signed_in
from tests.fake_upstream import until
from tests.server import KEY, Running, running

PROMPT = "three red apples and a banana on a table"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = diffusion_models.stable_diffusion(
        tmp_path_factory.mktemp("weights") / "tiny", scheduler=diffusion_models.PNDM
    )
    models = {
        "scene-1": {"engine": "scene", "path": str(model_files.scene()), "aliases": ["dall-e-3", "gpt-image-1"]},
        "tiny": {"path": str(folder), "threads": 1, "steps": 10},
    }
    upstreams = {"far": {"base_url": "http://127.0.0.1:9/v1", "api_key": "k", "models": ["far-image"]}}
    settings = {"models": models, "upstreams": upstreams, "prices": {"scene-1": {"per_image": {"512x512": "0.02"}}}}
    with running(tmp_path_factory.mktemp("server"), settings) as one:
        assert until(lambda: one.app.held["tiny"].state == "ready")
        yield one


@pytest.fixture
def images(server: Running, page: Page) -> Site:
    site = signed_in(page, server.url, KEY)
    site.open("/images")
    return site


def draw(page: Page, prompt: str = PROMPT, **fields: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for label, value in fields.items():
        page.get_by_label(label).select_option(value)
    page.get_by_role("button", name="Draw", exact=True).click()


def shown(page: Page) -> Any:
    """The pixels of the picture in the lightbox."""
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download").click()
    return np.asarray(Image.open(Path(downloaded.value.path())).convert("RGB")).astype(int)


def test_drawing_looking_editing_varying(images: Site) -> None:
    page = images.page
    expect(page.get_by_text("Composes drawings of vector art")).to_be_visible()
    expect(page.get_by_text("No pictures yet.")).to_be_visible()
    draw(page, Size="512x512")
    expect(page.get_by_role("status")).to_have_text("One picture drawn.")
    page.get_by_role("button", name=f"Show: {PROMPT}").click()
    lightbox = page.get_by_role("dialog", name="Picture")
    expect(lightbox).to_contain_text("A drawing composed of vector art: three red apples, a banana; a table.")
    expect(lightbox.get_by_text("512 × 512")).to_be_visible()
    expect(lightbox.get_by_role("link", name="$0.02")).to_have_attribute("href", re.compile("/dashboard/requests/req_"))
    assert faults(page) == []
    before = shown(page)

    lightbox.get_by_role("button", name="Edit").click()
    editor = page.get_by_role("dialog", name="Edit")
    expect(editor.get_by_text("No mask.")).to_be_visible()
    box = editor.get_by_role("img", name="Mask").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.up()
    expect(editor.get_by_text("What is painted is drawn anew.")).to_be_visible()
    editor.get_by_role("button", name="Undo").click()
    expect(editor.get_by_text("No mask.")).to_be_visible()
    editor.get_by_text("A rectangle, by numbers").click()
    for label, value in (("Left", "0"), ("Top", "0"), ("Width", "50"), ("Height", "50")):
        editor.get_by_label(f"{label}, %").fill(value)
    editor.get_by_role("button", name="Add to the mask").click()
    assert faults(page) == []
    editor.get_by_role("button", name="Invert").click()
    editor.get_by_role("button", name="Invert").click()
    editor.get_by_label("What is to be there").fill("a big owl")
    editor.get_by_role("button", name="Draw it").click()
    page.get_by_role("button", name="Show: a big owl").click()
    expect(lightbox.get_by_role("heading", name="Edited")).to_be_visible()
    after = shown(page)
    assert after.shape == before.shape
    inside = np.zeros(before.shape[:2], bool)
    inside[:256, :256] = True
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] != before[inside]).any()

    page.keyboard.press("ArrowRight")
    expect(lightbox.get_by_text("2 of 2")).to_be_visible()
    lightbox.get_by_role("button", name="Vary").click()
    expect(page.get_by_role("button", name=f"Show: {PROMPT}")).to_have_count(2)
    page.reload()
    expect(page.get_by_role("button", name="Show:")).to_have_count(3)
    page.get_by_role("button", name="Show:").first.click()
    expect(lightbox.get_by_role("heading", name="Varied")).to_be_visible()
    lightbox.get_by_role("button", name="Delete").click()
    expect(lightbox.get_by_text("1 of 2")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("No pictures yet.")).to_be_visible()


def test_what_is_not_understood_is_said_in_the_words_of_the_api(images: Site) -> None:
    images.expects(400)
    page = images.page
    draw(page, "quux theremin")
    expect(page.get_by_role("alert")).to_contain_text("There is nothing in the prompt that this model has a drawing of")
    page.get_by_label("Prompt", exact=True).fill("")
    page.get_by_role("button", name="Use the prompt").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("quux theremin")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_picture_of_ones_own(images: Site) -> None:
    images.expects(400)
    page = images.page
    to = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(to, "PNG")
    page.get_by_label("Bring a picture").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": to.getvalue()}
    )
    lightbox = page.get_by_role("dialog", name="Picture")
    expect(lightbox.get_by_role("heading", name="Brought here")).to_be_visible()
    assert shown(page).shape == (64, 64, 3)
    lightbox.get_by_role("button", name="Vary").click()
    expect(page.get_by_role("alert")).to_contain_text("This model varies pictures of its own")


def test_a_picture_in_the_making_and_stopped(images: Site, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held: Any = server.app.held["tiny"]
    network = held._backends[0]._engine._painter.network
    gate = Gate(network)
    monkeypatch.setattr(network, "run", gate)
    try:
        page = images.page
        page.get_by_label("Model").first.select_option("tiny")
        draw(page, "a red dog")
        gate.let(4)
        expect(page.get_by_role("img", name="The picture in the making")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("status").first).to_have_text("Stopped.")
        expect(page.get_by_text("No pictures yet.")).to_be_visible()
        gate.let(1000)
        draw(page, "a red cat")
        page.get_by_role("button", name="Show: a red cat").click()
        page.get_by_role("button", name="Edit").click()
        page.get_by_label("What is to be there").fill("a red dog")
        page.get_by_role("button", name="Draw it").click()
        expect(page.get_by_role("button", name="Show: a red dog")).to_be_visible()
    finally:
        gate.let(1000)


def test_each_name_is_asked_what_it_takes(images: Site) -> None:
    page = images.page
    page.get_by_text("More settings").click()
    model, size = page.get_by_label("Model").first, page.get_by_label("Size")
    expect(page.get_by_label("Seed")).to_be_visible()
    offered = model.locator("option").all_text_contents()
    assert (offered[:2], offered[-1]) == (["scene-1", "tiny"], "far-image")
    assert "dall-e-3 (scene-1)" in offered
    size.select_option("own")
    page.get_by_label("Width and height").fill("320x200")
    draw(page)
    page.get_by_role("button", name="Show:").click()
    expect(page.get_by_text("320 × 200")).to_be_visible()
    page.keyboard.press("Escape")
    model.select_option("dall-e-3")
    expect(page.get_by_label("Pictures")).to_be_disabled()
    expect(page.get_by_label("Background")).to_be_hidden()
    assert size.locator("option").all_text_contents() == ["1024x1024", "1792x1024", "1024x1792"]
    model.select_option("gpt-image-1")
    expect(page.get_by_label("Style")).to_be_hidden()
    expect(page.get_by_label("Background")).to_be_visible()
    draw(page, "an owl", Size="1024x1536", Format="webp")
    page.get_by_role("button", name="Show: an owl").click()
    expect(page.get_by_text("1024 × 1536")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_have_attribute("download", "an-owl.webp")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Code").first.click()
    code = page.get_by_role("dialog", name="The same in code")
    expect(code).to_contain_text("/v1/images/generations")
    expect(code).to_contain_text("1024x1536")


def test_on_a_phone_nothing_is_wider_than_it(images: Site) -> None:
    page = images.page
    page.set_viewport_size({"width": 375, "height": 700})
    draw(page)
    page.get_by_role("button", name="Show:").click()
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("What is to be there")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_without_a_model_that_draws(site: Site) -> None:
    site.open("/images")
    expect(site.page.get_by_text("homeport pull scene-1").first).to_be_visible()
