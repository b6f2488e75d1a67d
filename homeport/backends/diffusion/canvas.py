"""Pixels as networks have them, and back: channels first, -1 to 1, in the size that the model draws."""

from typing import TYPE_CHECKING, Any

import numpy
from PIL import Image

if TYPE_CHECKING:
    from homeport.backends.diffusion.schedulers import Latents
    from homeport.backends.drawing import Mask, Pixels


def size(width: int, height: int, *, side: int, multiple: int) -> tuple[int, int]:
    """Width and height that a picture of this shape is drawn at: as large as the squares that the model was taught, or
    it would draw everything twice, or nothing that can be made out; both multiples."""
    ratio = width / height
    return _near(side * ratio**0.5, multiple), _near(side / ratio**0.5, multiple)


def _near(length: float, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple


def read(pixels: "Pixels", width: int, height: int, *, white: bool) -> "Latents":
    """What cannot be seen through is as it is. white: and white is behind the rest; otherwise the mean colour, which
    stands out least where a hole is to be filled."""
    opacity = pixels[..., 3:].astype(numpy.float32) / 255
    mean = (pixels[..., :3] * opacity).sum(axis=(0, 1)) / max(float(opacity.sum()), 1.0)
    seen = pixels[..., :3] * opacity + (255 if white else mean) * (1 - opacity)
    scaled = _scaled(numpy.rint(seen).astype(numpy.uint8), width, height)
    found: Latents = (scaled.astype(numpy.float32) / 127.5 - 1).transpose(2, 0, 1)
    return found


def shown(picture: "Latents", width: int, height: int) -> "Pixels":
    values = numpy.rint((picture.transpose(1, 2, 0).clip(-1, 1) + 1) * 127.5).astype(numpy.uint8)
    if values.shape[2] == 1:
        values = numpy.repeat(values, 3, axis=2)
    scaled = _scaled(values, width, height)
    return numpy.dstack([scaled, numpy.full(scaled.shape[:2], 255, numpy.uint8)])


def pasted(drawn: "Pixels", base: "Pixels", mask: "Mask") -> "Pixels":
    """Where nothing was to be drawn, the picture that was given, bit for bit."""
    return numpy.where(mask[..., None], drawn, base)


def cells(mask: "Mask", width: int, height: int, factor: int) -> "Latents":
    """1 for each latent of which anything is to be drawn anew, else 0: (1, height / factor, width / factor)."""
    scaled = numpy.array(Image.fromarray(mask.astype(numpy.uint8) * 255).resize((width, height), Image.Resampling.BOX))
    parted = scaled.reshape(height // factor, factor, width // factor, factor)
    found: Latents = (parted.max(axis=(1, 3)) > 0).astype(numpy.float32)[None]
    return found


def covered(mask: "Mask", width: int, height: int) -> "Latents":
    """The same of each pixel: (1, height, width)."""
    return cells(mask, width, height, 1)


def _scaled(values: Any, width: int, height: int) -> Any:
    if values.shape[:2] == (height, width):
        return values
    return numpy.array(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))
