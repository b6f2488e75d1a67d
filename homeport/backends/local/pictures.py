"""Pictures that came with a request into pixels, and pixels that an engine made into files.

What comes in may be anything. It is PNG, JPEG or WebP by its content (picture_header.py), and its size is looked at
before a decoder sees it. Only then it is unpacked, by Pillow, in one thread for the whole process: nothing else of a
request takes as much memory. Of each pixel of a file at most 16 bytes are in use at a time (measured: 16 of a WebP,
whose decoder keeps three copies, and 8 to 13 of others), so that with `images.max_megapixels` at 36 it is below 600 MB,
beside the file itself. What remains has the size that was asked for. It is not to be written to: several pictures may
be made of it.

Nothing but pixels goes on: no EXIF, no XMP, no colour profile. Whoever was turned by EXIF is turned; profiles are not
applied. Moving pictures are refused, rather than one of theirs taken.
"""

import asyncio
import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from homeport.backends.capabilities import Attached
from homeport.backends.drawing import Base
from homeport.backends.local import flat_png, picture_header
from homeport.backends.local.picture_header import Header, Malformed
from homeport.errors import InvalidRequest
from homeport.wire.images import OutputFormat

if TYPE_CHECKING:
    from PIL import Image

    from homeport.backends.drawing import Mask, Pixels

P = ParamSpec("P")
T = TypeVar("T")

#: One for all models of a process: see above. Its thread begins with the first picture.
_reader = ThreadPoolExecutor(1, thread_name_prefix="pictures")
#: The code of what is no picture.
INVALID = "invalid_image_file"
#: EXIF's orientation -> what Pillow calls the way back.
_BACK = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


async def in_turn(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Where files are read. Cancelling it takes it back, unless it has begun."""
    return await asyncio.get_running_loop().run_in_executor(_reader, lambda: work(*arguments, **named))


def load() -> None:
    """Raises ImportError: Pillow is not installed."""
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.WebPImagePlugin  # noqa: F401


class Given(NamedTuple):
    """A picture that came, looked at from outside. name: of it, for whoever sent it. param: where it came."""

    file: Attached
    header: Header
    name: str
    param: str


class Opened(NamedTuple):
    """mode: as Pillow calls what was stored (`RGB`, `LA`, ...). clear: what of it is fully transparent; None where its
    pixels have no opacity."""

    base: Base
    mode: str
    clear: "Mask | None"


def look(file: Attached, *, name: str, largest: int, most_pixels: int) -> Given:
    """largest: bytes. Raises InvalidRequest."""
    if file.bytes > largest:
        raise InvalidRequest(
            f"Invalid {name}: it has {file.bytes} bytes, and at most {largest} are taken.",
            param=file.field,
            code="image_too_large",
        )
    try:
        header = picture_header.read(file.path)
    except Malformed:
        raise _invalid(name, file.field) from None
    if header.width * header.height > most_pixels:
        raise InvalidRequest(
            f"Invalid {name}: it is {header.width}x{header.height}, and at most {most_pixels // 1_000_000} megapixels "
            "are taken.",
            param=file.field,
            code="image_too_large",
        )
    if header.moving:
        raise InvalidRequest(
            f"Invalid {name}: animated images are not supported. Send one picture of it.",
            param=file.field,
            code="invalid_image",
        )
    return Given(file, header, name, file.field)


def open_in(given: Given, width: int, height: int) -> Opened:
    """Its pixels in this size: as much of its middle as has that shape. Raises InvalidRequest."""
    try:
        return _opened(given, width, height)
    except Exception:  # whatever a damaged file makes a decoder say
        raise _invalid(given.name, given.param) from None


def _invalid(name: str, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid image file or mode for {name}, please check your image file. PNG, JPEG and WebP are read.",
        param=param,
        code=INVALID,
    )


def _opened(given: Given, width: int, height: int) -> Opened:
    import numpy as np
    from PIL import Image

    header = given.header
    if header.turned >= 5:
        width, height = height, width
    flat, mode = _unpacked(given, (width, height))
    box = _middle(flat.size, width, height)
    opacity = flat.getchannel("A").resize((width, height), Image.Resampling.NEAREST, box) if "A" in flat.mode else None
    if flat.size != (width, height):
        flat = flat.resize((width, height), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
        if opacity is not None:
            flat.putalpha(_edged(opacity, flat.getchannel("A")))
    flat = flat.convert("RGBA")
    if header.turned in _BACK:
        back = Image.Transpose[_BACK[header.turned]]
        flat = flat.transpose(back)
        opacity = opacity.transpose(back) if opacity is not None else None
    clear = np.asarray(opacity) == 0 if opacity is not None else None
    return Opened(Base(np.asarray(flat), header.note), mode, clear)


def _edged(sharp: "Image.Image", smooth: "Image.Image") -> "Image.Image":
    """Opacity of a picture of another size: what was opaque stays so up to where it is to be drawn anew, or there would
    be a seam."""
    from PIL import Image

    return Image.composite(smooth, sharp, sharp.point([0, *[255] * 254, 0]))


def _unpacked(given: Given, least: tuple[int, int]) -> tuple["Image.Image", str]:
    """RGB or RGBA, of eight bits each, and how it was stored. A JPEG may be unpacked in half of its size, or less, if
    that is no less than `least`. The decoder is gone when this returns, and with it half of the memory."""
    import numpy as np
    from PIL import Image

    with _decoder(given) as image:
        if image.size != (given.header.width, given.header.height):
            raise ValueError("it is of another size than its header says")
        image.draft(None, least)
        image.load()
        mode = image.mode
        if mode.startswith("I"):  # 16 bits of grey
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB"), mode
        return image.convert("RGBA" if image.has_transparency_data else "RGB"), mode


def _decoder(given: Given) -> "Image.Image":
    """Of its format alone: Pillow is not asked what it may be."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    file = io.BytesIO(picture_header.pixels(given.file.path, given.header.kind))
    match given.header.kind:
        case "png":
            return PngImageFile(file)
        case "jpeg":
            return JpegImageFile(file)
        case "webp":
            return WebPImageFile(file)


def _middle(size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """What of a picture of this size has the shape of the other: left, top, right, bottom."""
    across, down = size
    kept_across, kept_down = min(across, down * width / height), min(down, across * height / width)
    left, top = (across - kept_across) / 2, (down - kept_down) / 2
    return left, top, left + kept_across, top + kept_down


class Encoded(NamedTuple):
    """base64: of the file. transparent: something of it is."""

    base64: str
    transparent: bool


def encode(
    pixels: "Pixels", kind: OutputFormat, *, quality: int = 100, note: str | None = None, opaque: bool = False
) -> Encoded:
    """In a thread: it takes as long as drawing may. quality: 0 to 100, of what loses. note: for a PNG. opaque: what is
    transparent becomes white, as it does in a JPEG, which knows nothing else."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    transparent = bool(pixels[..., 3].min() < 255)
    if kind == "png" and not (transparent and opaque) and flat_png.flat(pixels):
        text = (picture_header.NOTE.decode(), note) if note is not None else None
        file = flat_png.encoded(pixels, text, opacity=transparent)
        return Encoded(base64.b64encode(file).decode(), transparent)
    image = Image.fromarray(pixels)
    if not transparent:
        image = image.convert("RGB")
    elif opaque or kind == "jpeg":
        white = Image.new("RGBA", image.size, "white")
        image, transparent = Image.alpha_composite(white, image).convert("RGB"), False
    to = io.BytesIO()
    match kind:
        case "png":
            info = PngInfo()
            if note is not None:
                info.add_itxt(picture_header.NOTE.decode(), note, zip=True)
            image.save(to, "PNG", pnginfo=info, compress_level=3)  # 6 takes half as long again, for a tenth less
        case "jpeg":
            image.save(to, "JPEG", quality=max(quality, 1), subsampling=0 if quality >= 90 else 2)
        case "webp":
            image.save(to, "WEBP", quality=quality)
    return Encoded(base64.b64encode(to.getbuffer()).decode(), transparent)
