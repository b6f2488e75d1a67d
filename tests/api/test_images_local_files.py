"""Edits and variations by a model of this machine: the files that come with them, by OpenAI's rules for each name,
masks, and what is made of them."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from homeport.settings import Images
from tests.api import raw
from tests.api.forms import part, post, refused
from tests.drawings import Pencil, colour, drawing, opened, pixels
from tests.server import KEY, Running

EDITS, VARIATIONS = "/v1/images/edits", "/v1/images/variations"
BLUE = (0, 0, 255)


@pytest.fixture(scope="module")
def pencil() -> Pencil:
    return Pencil()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pencil: Pencil) -> Iterator[Running]:
    limits = Images(max_megapixels=4)
    with drawing(tmp_path_factory.mktemp("editing"), pencil, limits) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as one:
        yield one


def file(
    size: tuple[int, int] = (64, 64),
    mode: str = "RGB",
    hole: tuple[int, int, int, int] | None = None,
    kind: str = "PNG",
) -> bytes:
    """Blue. hole: left, top, right, bottom of what is fully transparent."""
    image = Image.new("RGB", size, BLUE).convert(mode)
    if hole is not None:
        image.paste((0, 0, 0, 0), hole)
    to = io.BytesIO()
    image.save(to, kind)
    return to.getvalue()


HOLED = file(mode="RGBA", hole=(0, 0, 32, 64))


def sent(
    server: Running, path: str, *files: tuple[str, bytes], prompt: str | None = "a house", **fields: str
) -> raw.Answer:
    """files: the names of their parts, and what is in them; their own names say nothing."""
    named = {"model": "echo", **({"prompt": prompt} if prompt is not None else {}), **fields}
    parts = [part(f'name="{name}"', value.encode()) for name, value in named.items()]
    parts += [part(f'name="{name}"; filename="a.txt"', content) for name, content in files]
    return post(server, parts, path)


# Edits


def test_what_the_mask_shows_is_drawn_anew(client: openai.OpenAI, pencil: Pencil) -> None:
    mask = file(mode="RGBA", hole=(16, 16, 48, 48))
    answer = client.images.edit(
        model="echo",
        image=("a.png", file()),
        mask=("m.png", mask),
        prompt="a house",
        size="256x256",
        response_format="b64_json",
    )
    assert answer.data is not None
    made = pixels(answer.data[0].b64_json)
    wish = pencil.wishes[-1]
    assert (wish.kind, wish.width, len(wish.bases)) == ("edit", 256, 1)
    inside = np.zeros((256, 256), bool)
    inside[64:192, 64:192] = True
    assert (made[inside] == [*colour("a house", wish.seed), 255]).all()
    assert (made[~inside] == [*BLUE, 255]).all()
    assert answer.data[0].revised_prompt == "A field: a house"


def test_without_a_mask_dall_e_2_draws_where_the_picture_is_transparent(server: Running, pencil: Pencil) -> None:
    answer = sent(server, EDITS, ("image", HOLED), model="dall-e-2", response_format="b64_json", size="256x256")
    assert answer.status == 200, answer.body
    made, wish = pixels(answer.json["data"][0]["b64_json"]), pencil.wishes[-1]
    assert (made[:, :128] == [*colour("a house", wish.seed), 255]).all()
    assert (made[:, 128:] == [*BLUE, 255]).all()


@pytest.mark.parametrize(
    ("model", "image", "masked"), [("echo", HOLED, True), ("echo", file(), False), ("gpt-image-1", HOLED, False)]
)
def test_without_a_mask_others_draw_all_of_it_or_what_is_transparent(
    server: Running, pencil: Pencil, model: str, image: bytes, masked: bool
) -> None:
    assert sent(server, EDITS, ("image", image), model=model).status == 200
    assert (pencil.wishes[-1].mask is not None) == masked


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_gpt_image_takes_every_format_and_several(client: openai.OpenAI, pencil: Pencil, kind: str) -> None:
    answer = client.images.edit(
        model="gpt-image-1",
        image=[("a", file((90, 60), kind=kind)), ("b", file((60, 90), kind=kind))],
        mask=("m", file((90, 60), "RGBA", hole=(0, 0, 45, 60))),
        prompt="a house",
        quality="low",
        n=2,
        background="opaque",
        output_format="webp",
        input_fidelity="low",
    )
    wish = pencil.wishes[-1]
    assert [base.pixels.shape for base in wish.bases] == [(1024, 1536, 4)] * 2, "auto: the shape of the first"
    assert wish.mask is not None
    assert wish.mask[:, :768].all()
    assert not wish.mask[:, 768:].any()
    assert (answer.size, answer.output_format, answer.background) == ("1536x1024", "webp", "opaque")
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.to_dict() == {"text_tokens": 2, "image_tokens": 2 * (65 + 129)}
    assert answer.usage.output_tokens == 800
    assert answer.data is not None
    assert opened(answer.data[0].b64_json).size == (1536, 1024)


def test_an_edit_can_be_watched(client: openai.OpenAI) -> None:
    events = list(
        client.images.edit(
            model="gpt-image-1",
            image=("a", file()),
            prompt="a house",
            stream=True,
            partial_images=1,
            quality="low",
            size="1024x1024",
        )
    )
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert events[1].type == "image_edit.completed"
    assert events[1].usage.to_dict() == {
        "input_tokens": 196,
        "output_tokens": 372,
        "total_tokens": 568,
        "input_tokens_details": {"text_tokens": 2, "image_tokens": 194},
    }


@pytest.mark.parametrize(
    ("size", "made"), [((300, 200), (300, 200)), ((2000, 20), (4096, 64)), ((20, 20), (64, 64)), ((65, 64), (65, 64))]
)
def test_unasked_our_own_names_keep_the_size(
    server: Running, pencil: Pencil, size: tuple[int, int], made: tuple[int, int]
) -> None:
    """Of what this engine can draw, the next: its shape comes after that."""
    assert sent(server, EDITS, ("image", file(size))).status == 200
    wish = pencil.wishes[-1]
    assert (wish.width, wish.height) == made


def test_what_is_taken_of_a_picture_of_another_shape_is_its_middle(server: Running, pencil: Pencil) -> None:
    image = Image.new("RGB", (120, 40), "red")
    image.paste(BLUE, (40, 0, 80, 40))
    to = io.BytesIO()
    image.save(to, "PNG")
    assert sent(server, EDITS, ("image", to.getvalue()), size="64x64").status == 200
    taken = pencil.wishes[-1].bases[0].pixels
    assert (taken[:, 4:-4] == [*BLUE, 255]).all()
    assert (taken[..., 2] > 100).all()


NOISE = np.random.default_rng(1).integers(0, 256, (1100, 1100, 4), np.uint8)


def noise() -> bytes:
    to = io.BytesIO()
    Image.fromarray(NOISE).save(to, "PNG", compress_level=0)
    return to.getvalue()


@pytest.mark.parametrize(
    ("model", "files", "param", "code", "words"),
    [
        ("dall-e-2", [("image", file(kind="JPEG"))], "image", "invalid_image", "must be a PNG and less than 4 MB."),
        ("dall-e-2", [("image", noise())], "image", "invalid_image", "must be a PNG and less than 4 MB."),
        ("dall-e-2", [("image", file((64, 65)))], "image", "invalid_image", "must be square. This one is 64x65."),
        ("dall-e-2", [("image", file())], "image", "invalid_image", "format must be in ['RGBA', 'LA'], got RGB."),
        ("dall-e-2", [("image", file(mode="RGBA"))], "image", "invalid_image", "Nothing of the image"),
        ("dall-e-2", [("image", HOLED), ("image", HOLED)], "image", "array_above_max_length", "maximum length 1"),
        ("dall-e-2", [("image", HOLED), ("mask", b"no")], "mask", "invalid_image", "Uploaded mask must be a PNG"),
        ("dall-e-2", [("image", b"GIF89a")], "image", "invalid_image", "must be a PNG and less than 4 MB."),
        ("echo", [("image", HOLED), ("mask", b"no")], "mask", "invalid_image_file", "for mask, please check"),
        (
            "dall-e-2",
            [("image", HOLED), ("mask", file(mode="RGBA", kind="WEBP"))],
            "mask",
            "invalid_image",
            "Uploaded mask must be a PNG",
        ),
        (
            "gpt-image-1",
            [("image", file()), ("mask", file((64, 63), "RGBA"))],
            "mask",
            "invalid_mask_image_format",
            "mask size does not match image size: 64x63 and 64x64",
        ),
        (
            "gpt-image-1",
            [("image", file()), ("mask", file())],
            "mask",
            "invalid_mask_image_format",
            "mask image missing alpha channel",
        ),
        (
            "echo",
            [("image", file()), ("mask", file(mode="RGBA"))],
            "mask",
            "invalid_mask_image_format",
            "Nothing of the mask",
        ),
        (
            "gpt-image-1",
            [("image", file()), ("image", b"GIF89a")],
            "image",
            "invalid_image_file",
            "for image 2, please",
        ),
        ("echo", [("image", file((2001, 2000)))], "image", "image_too_large", "2001x2000, and at most 4 megapixels"),
        ("gpt-image-1", [("image", file())] * 4, "image", "image_too_large", "4 images in the size 1024x1024"),
        ("dall-e-3", [("image", file())], "model", "invalid_value", "Invalid value: 'dall-e-3'"),
    ],
)
def test_what_is_not_edited(
    server: Running, model: str, files: list[tuple[str, bytes]], param: str, code: str, words: str
) -> None:
    assert words in refused(sent(server, EDITS, *files, model=model), param=param, code=code)


@pytest.mark.parametrize(
    ("model", "fields", "param", "code"),
    [
        ("dall-e-2", {"background": "auto"}, "background", "unknown_parameter"),
        ("dall-e-2", {"input_fidelity": "low"}, "input_fidelity", "unknown_parameter"),
        ("dall-e-2", {"quality": "high"}, "quality", "invalid_value"),
        ("dall-e-2", {"prompt": "a" * 1001}, "prompt", "string_above_max_length"),
        ("gpt-image-1", {"input_fidelity": "high"}, "input_fidelity", "unsupported_parameter"),
        ("gpt-image-1", {"response_format": "url"}, "response_format", "unknown_parameter"),
        ("gpt-image-1", {"style": "vivid"}, None, None),
        ("echo", {"prompt": "ж"}, "prompt", None),
        ("echo", {"prompt": ""}, "prompt", "empty_string"),
    ],
)
def test_what_an_edit_may_not_ask_for(
    server: Running, model: str, fields: dict[str, str], param: str | None, code: str | None
) -> None:
    assert refused(sent(server, EDITS, ("image", HOLED), model=model, **fields), param=param, code=code)


# Variations


def test_variations_of_any_picture(client: openai.OpenAI, pencil: Pencil) -> None:
    with warnings.catch_warnings(action="ignore"):  # the SDK advises against it
        answer = client.images.create_variation(
            model="dall-e-2", image=("a.png", file()), n=2, size="256x256", response_format="b64_json"
        )
    assert answer.data is not None
    assert [opened(one.b64_json).size for one in answer.data] == [(256, 256)] * 2
    assert pixels(answer.data[0].b64_json)[128, 128].tolist() == [*BLUE, 255]
    first, second = pencil.wishes[-2:]
    assert (first.kind, first.prompt, first.mask) == ("variation", "", None)
    assert second.seed == first.seed + 1


def test_who_varies_only_his_own_knows_them_by_their_note(tmp_path: Path) -> None:
    with drawing(tmp_path, Pencil(varies="own")) as server:
        body = {"model": "echo", "prompt": "a house", "size": "64x64", "response_format": "b64_json"}
        made = raw.ask(server, "POST", "/v1/images/generations", body).json["data"][0]["b64_json"]
        own = io.BytesIO()
        image: Any = opened(made)
        info = PngInfo()
        info.add_itxt("homeport", image.text["homeport"])
        image.save(own, "PNG", pnginfo=info)
        varied = sent(server, VARIATIONS, ("image", own.getvalue()), prompt=None, seed="9", response_format="b64_json")
        assert varied.status == 200, varied.body
        assert pixels(varied.json["data"][0]["b64_json"])[0, 0].tolist() == [*colour("a house", 9), 255]
        foreign = sent(server, VARIATIONS, ("image", file()), prompt=None)
        assert "diffusion model" in refused(foreign, param="image", code="invalid_image")


@pytest.mark.parametrize(
    ("model", "content", "fields", "param", "code"),
    [
        ("dall-e-2", file((64, 65)), {}, "image", "invalid_image"),
        ("dall-e-2", file(kind="WEBP"), {}, "image", "invalid_image"),
        ("dall-e-2", file(), {"size": "1792x1024"}, "size", "invalid_value"),
        ("dall-e-2", file(), {"prompt": "a house"}, None, None),
        ("gpt-image-1", file(), {}, "model", "invalid_value"),
        ("dall-e-3", file(), {}, "model", "invalid_value"),
        ("echo", b"\x89PNG\r\n\x1a\n", {}, "image", "invalid_image_file"),
    ],
)
def test_what_is_not_varied(
    server: Running, model: str, content: bytes, fields: dict[str, str], param: str | None, code: str | None
) -> None:
    named = {"prompt": None, **fields}
    answer = sent(server, VARIATIONS, ("image", content), model=model, **named)  # type: ignore[arg-type]
    assert refused(answer, param=param, code=code)


def test_who_neither_edits_nor_varies_says_so(tmp_path: Path) -> None:
    with drawing(tmp_path, Pencil(edits=False, varies="none")) as server:
        for path, prompt in ((EDITS, "a house"), (VARIATIONS, None)):
            answer = sent(server, path, ("image", HOLED), prompt=prompt)
            assert f"not supported in the {path[1:]} endpoint" in refused(answer, 404, "model")
