"""scene-1 through the official SDK: what a client sees of drawings that are composed."""

import base64
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy
import openai
import pytest
from PIL import Image

from homeport.backends.scene.description import Note
from tests import model_files
from tests.server import KEY, Running, running

PROMPT = "three red apples and a banana on a table"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {"scene-1": {"engine": "scene", "path": str(model_files.scene())}}
    with running(tmp_path_factory.mktemp("scene"), {"models": models}) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def image(answer: Any) -> tuple[Any, Any]:
    """The only picture: as Pillow has it, and its pixels."""
    (one,) = answer.data
    opened = Image.open(io.BytesIO(base64.b64decode(one.b64_json)))
    opened.load()
    return opened, numpy.asarray(opened.convert("RGBA")).astype(int)


def things(opened: Any) -> Counter[str]:
    note = msgspec.json.decode(str(opened.text["homeport"]), type=Note)
    return Counter(note.description.groups[one.group].art for one in note.placed)


def png(pixels: Any) -> bytes:
    to = io.BytesIO()
    Image.fromarray(pixels.astype(numpy.uint8)).save(to, "PNG")
    return to.getvalue()


def generated(client: openai.OpenAI, prompt: str = PROMPT, model: str = "scene-1", **more: Any) -> Any:
    fields: dict[str, Any] = {"size": "256x256", "response_format": "b64_json", **more}
    return client.images.generate(model=model, prompt=prompt, **fields)


def test_a_drawing_and_what_is_in_it(client: openai.OpenAI) -> None:
    answer = generated(client)
    opened, pixels = image(answer)
    assert opened.size == (256, 256)
    assert things(opened) == {"red-apple": 3, "banana": 1}
    assert "composed" in answer.data[0].revised_prompt
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 80)
    assert red.mean() > 0.05


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-1"])
def test_openais_names_are_its_own_while_nothing_else_draws(client: openai.OpenAI, model: str) -> None:
    more: dict[str, Any] = {"response_format": openai.NOT_GIVEN} if model == "gpt-image-1" else {}
    opened, _ = image(generated(client, model=model, size="1024x1024", **more))
    assert opened.size == (1024, 1024)
    assert client.models.retrieve(model).model_dump()["root"] == "scene-1"


@pytest.mark.parametrize("model", ["scene-1", "dall-e-3", "gpt-image-1"])
def test_the_list_of_models_says_that_it_composes(client: openai.OpenAI, model: str) -> None:
    assert "Composes drawings" in client.models.retrieve(model).model_dump()["description"]
    listed = {one.id: one.model_dump() for one in client.models.list()}
    assert "no photographs" in listed[model]["description"]


def test_a_prompt_without_anything_that_can_be_drawn(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="theremins") as error:
        generated(client, "the injustice of theremins")
    assert (error.value.param, error.value.code) == ("prompt", "invalid_value")


def test_an_edit_leaves_what_the_mask_does_not_show(client: openai.OpenAI) -> None:
    base = numpy.random.default_rng(3).integers(0, 256, (256, 256, 4))
    base[..., 3] = 255
    mask = base.copy()
    mask[64:192, 64:192, 3] = 0
    answer = client.images.edit(
        model="scene-1",
        image=("base.png", png(base)),
        mask=("mask.png", png(mask)),
        prompt="a red balloon",
        size="256x256",
        response_format="b64_json",
    )
    _, pixels = image(answer)
    outside = numpy.ones((256, 256), bool)
    outside[64:192, 64:192] = False
    assert (pixels[outside] == base[outside]).all()
    assert ((pixels[..., 0] > 180) & (pixels[..., 1] < 90))[64:192, 64:192].mean() > 0.08


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_drawing_is_varied_by_what_its_file_says(client: openai.OpenAI) -> None:
    first = generated(client)
    own = base64.b64decode(first.data[0].b64_json)
    varied = client.images.create_variation(
        model="scene-1", image=("own.png", own), size="256x256", response_format="b64_json"
    )
    opened, pixels = image(varied)
    assert things(opened) == {"red-apple": 3, "banana": 1}
    assert (pixels != image(first)[1]).any()


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_foreign_picture_is_not_varied(client: openai.OpenAI) -> None:
    foreign = png(numpy.full((64, 64, 3), 90))
    with pytest.raises(openai.BadRequestError, match="diffusion") as error:
        client.images.create_variation(model="scene-1", image=("foreign.png", foreign), size="256x256")
    assert error.value.param == "image"
