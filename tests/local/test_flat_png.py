"""PNG of drawings: what is written is what was drawn, and is read by what reads what came."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from homeport.backends.local import flat_png, pictures


def drawing(width: int = 96, height: int = 64) -> Any:
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[:] = (40, 90, 200, 255)
    pixels[10:30, 20:60] = (250, 10, 60, 255)
    return pixels


def opened(encoded: pictures.Encoded) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(encoded.base64)))
    image.load()
    return image


@pytest.mark.parametrize("size", [(96, 64), (1, 1), (2, 1), (1, 9), (257, 33)])
def test_what_is_written_is_what_was_drawn(size: tuple[int, int]) -> None:
    for opacity in (255, 128):
        pixels = drawing(*size)
        pixels[size[1] // 2 :, :, 3] = opacity
        image = Image.open(io.BytesIO(flat_png.encoded(pixels, opacity=opacity < 255)))
        assert image.mode == ("RGBA" if opacity < 255 else "RGB")
        assert (np.asarray(image.convert("RGBA")) == pixels).all()


def test_a_drawing_is_flat_and_a_photograph_is_not() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 96, 4), np.uint8)
    assert flat_png.flat(drawing())
    assert not flat_png.flat(noise)


@pytest.mark.parametrize("kind", ["drawing", "photograph"])
def test_both_have_their_note_and_their_pixels(kind: str) -> None:
    pixels = drawing() if kind == "drawing" else np.random.default_rng(3).integers(0, 256, (64, 96, 4), np.uint8)
    pixels[..., 3] = 255
    image = opened(pictures.encode(pixels, "png", note="ein Hündchen, 子犬"))
    assert image.mode == "RGB"
    assert image.text["homeport"] == "ein Hündchen, 子犬"
    assert (np.asarray(image.convert("RGBA")) == pixels).all()


def test_what_is_to_be_opaque_becomes_white() -> None:
    pixels = drawing()
    pixels[:8] = 0
    encoded = pictures.encode(pixels, "png", opaque=True)
    image = opened(encoded)
    assert not encoded.transparent
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (255, 255, 255)
