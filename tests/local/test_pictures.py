"""Files of pictures that may be anything: what is unpacked how, and what is refused before it is."""

import base64
import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from homeport.backends.capabilities import Attached
from homeport.backends.local import picture_header, pictures
from homeport.errors import InvalidRequest

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 1_000_000


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., pictures.Opened]:
    def open_(data: bytes, width: int = 0, height: int = 0, **limits: int) -> pictures.Opened:
        """In its own size, unless another one is given."""
        path = tmp_path / "picture"
        path.write_bytes(data)
        file = Attached("image", "a.png", len(data), "", path)
        found = pictures.look(
            file, name="image 1", largest=limits.get("largest", 2**22), most_pixels=limits.get("most", MOST_PIXELS)
        )
        across, down = found.header.shown
        return pictures.open_in(found, width or across, height or down)

    return open_


Open = Callable[..., pictures.Opened]


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    to = io.BytesIO()
    image.save(to, kind, **options)
    return to.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *more: bytes, data: bytes | None = None, depth: int = 8, colour: int = 2) -> bytes:
    """more: chunks between the header and the pixels, which are black unless they are given."""
    if data is None:
        data = zlib.compress(bytes((1 + 3 * width) * height), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def corners() -> Image.Image:
    """40x20: red, green; blue, white."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste((255, 0, 0), (0, 0, 20, 10))
    image.paste((0, 255, 0), (20, 0, 40, 10))
    image.paste((0, 0, 255), (0, 10, 20, 20))
    return image


def seen(pixels: Any) -> str:
    """The corners of a picture, as read, by their first letters; `.` is fully transparent."""
    height, width = pixels.shape[:2]
    letters = ""
    for y, x in ((height // 4, width // 4), (height // 4, -width // 4), (-height // 4, width // 4), (-1, -1)):
        red, green, blue, alpha = (int(one) > 128 for one in pixels[y, x])
        letters += {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w", (0, 0, 0): "k"}.get(
            (red, green, blue), "?"
        )
        assert alpha
    return letters


# Formats and modes


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_by_its_content(opened: Open, kind: str) -> None:
    found = opened(saved(corners(), kind, quality=95))
    assert found.base.pixels.shape == (20, 40, 4)
    assert found.base.pixels.dtype == np.uint8
    assert seen(found.base.pixels) == "rgbw"
    assert (found.clear, found.base.note) == (None, None)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_a_png(opened: Open, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 40), 0x80FF, np.uint16))
    else:
        image = Image.new("L", (40, 20), 128).convert(mode)
    found = opened(saved(image))
    assert found.mode == mode
    grey = found.base.pixels[..., :3]
    assert {int(one) for one in np.unique(grey)} <= ({0, 255} if mode == "1" else {128})
    assert (found.base.pixels[..., 3] == 255).all()
    assert (found.clear is not None) == (mode in ("LA", "RGBA"))


def test_sixteen_bits_of_each_colour(opened: Open) -> None:
    rows = b"".join(b"\0" + struct.pack(">HHHH", 0xFF00, 0x8000, 0x00FF, 0xFFFF) * 3 for _ in range(2))
    found = opened(png(3, 2, data=zlib.compress(rows), depth=16, colour=6))
    assert found.base.pixels[1, 2].tolist() == [255, 128, 0, 255]


def test_a_palette_with_a_colour_that_is_transparent(opened: Open) -> None:
    image = corners().quantize(4)
    red = image.getpixel((0, 0))
    found = opened(saved(image, transparency=red))
    assert found.mode == "P"
    assert found.clear is not None
    assert found.clear[:10, :20].all()
    assert int(found.clear.sum()) == 200


@pytest.mark.parametrize("subsampling", [0, 2])
def test_cmyk(opened: Open, subsampling: int) -> None:
    found = opened(saved(corners().convert("CMYK"), "JPEG", quality=95, subsampling=subsampling))
    assert (found.mode, seen(found.base.pixels)) == ("CMYK", "rgbw")


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}])
def test_kinds_of_jpegs(opened: Open, options: dict[str, Any]) -> None:
    assert seen(opened(saved(corners(), "JPEG", quality=95, **options)).base.pixels) == "rgbw"


def test_a_webp_without_loss_and_with_opacity(opened: Open) -> None:
    image = corners().convert("RGBA")
    image.putpixel((0, 0), (9, 9, 9, 0))
    found = opened(saved(image, "WEBP", lossless=True, exact=True))
    assert found.clear is not None
    assert (int(found.clear.sum()), bool(found.clear[0, 0])) == (1, True)
    assert found.base.pixels[0, 0].tolist() == [9, 9, 9, 0]


# How it is turned, and what goes out


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("turned", "shown"),
    [
        (1, "rgbw"),
        (2, "grwb"),
        (3, "wbgr"),
        (4, "bwrg"),
        (5, "rbgw"),
        (6, "brwg"),
        (7, "wgbr"),
        (8, "gwrb"),
        (9, "rgbw"),
    ],
)
def test_it_is_turned_as_its_camera_was(opened: Open, kind: str, turned: int, shown: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    found = opened(saved(corners(), kind, exif=exif, quality=95))
    assert seen(found.base.pixels) == shown
    assert found.base.pixels.shape == ((40, 20, 4) if 5 <= turned <= 8 else (20, 40, 4))
    smaller = opened(saved(corners(), kind, exif=exif, quality=95), 12, 12)
    assert smaller.base.pixels.shape == (12, 12, 4)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_nothing_but_pixels_goes_out(opened: Open, kind: Any) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    given = saved(
        corners(), kind.upper(), exif=exif, icc_profile=b"a profile that is mine", xmp=b"<x:xmpmeta>where</x:xmpmeta>"
    )
    assert b"where I live" in given
    found = opened(given)
    written = base64.b64decode(pictures.encode(found.base.pixels, kind, note="of the engine").base64)
    assert b"where" not in written
    image = Image.open(io.BytesIO(written))
    assert not set(image.info) & {"exif", "icc_profile", "xmp", "comment"}
    assert b"EXIF" not in written.upper()


def test_a_note_comes_back(opened: Open) -> None:
    note = '{"seed": 7, "words": "ein Häuschen"}'
    written = base64.b64decode(pictures.encode(np.zeros((4, 4, 4), np.uint8), "png", note=note).base64)
    assert opened(written).base.note == note


@pytest.mark.parametrize(
    "content",
    [
        b"homeport\0\x01\0\0\0" + zlib.compress(bytes(2**20 + 1)),  # more than is read
        b"homeport\0\x01\0\0\0" + zlib.compress(b"a note")[:-6],
        b"homeport\0\x01\0\0\0no zlib",
        b"homeport\0\0\0\0\0\xff\xfe",
        b"homeport\0",
        b"homeports\0\0\0\0\0a note",
        b"no keyword",
    ],
)
def test_what_is_no_note_is_none(opened: Open, content: bytes) -> None:
    assert opened(png(2, 2, chunk(b"iTXt", content))).base.note is None


# Sizes


def test_what_has_another_shape_is_cut_on_both_sides(opened: Open) -> None:
    """Its middle half, of 80x20 three stripes."""
    image = Image.new("RGB", (80, 20), (0, 0, 255))
    image.paste((255, 0, 0), (30, 0, 50, 20))
    data = saved(image)
    found = opened(data, 20, 20).base.pixels
    assert (found == [255, 0, 0, 255]).all()
    wide = opened(data, 80, 40).base.pixels
    assert wide[0, 0].tolist() == [0, 0, 255, 255]
    assert wide[0, 40].tolist() == [255, 0, 0, 255]


def test_in_its_own_size_nothing_changes(opened: Open) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (30, 17, 4), np.uint8)
    found = opened(saved(Image.fromarray(noise)))
    assert (found.base.pixels == noise).all()
    assert found.clear is not None
    assert (found.clear == (noise[..., 3] == 0)).all()


def test_a_mask_keeps_its_place_when_it_is_made_larger(opened: Open) -> None:
    image = Image.new("RGBA", (64, 64), "black")
    image.paste((0, 0, 0, 0), (16, 32, 48, 64))
    found = opened(saved(image), 256, 256).clear
    assert found is not None
    assert found[128:, 64:192].all()
    assert int(found.sum()) == 128 * 128


@pytest.mark.parametrize("size", [(100, 150), (40, 40)])
def test_there_is_no_seam_around_what_is_transparent(opened: Open, size: tuple[int, int]) -> None:
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 255))
    image.paste((0, 0, 0, 0), (16, 32, 48, 64))
    found = opened(saved(image), *size)
    assert found.clear is not None
    kept = found.base.pixels[~found.clear]
    assert (kept == [0, 255, 0, 255]).all()
    assert not found.base.pixels[found.clear][:, 3].any()


def test_partly_transparent_is_not_to_be_drawn(opened: Open) -> None:
    found = opened(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 1))))
    assert found.clear is not None
    assert not found.clear.any()


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1), (1, 1), (3, 999)])
def test_shapes_that_nobody_draws(opened: Open, size: tuple[int, int]) -> None:
    assert (
        opened(saved(Image.new("RGB", size, (0, 255, 0))), 64, 48).base.pixels.tolist()
        == [[[0, 255, 0, 255]] * 64] * 48
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=some.tuples(some.integers(1, 60), some.integers(1, 60)),
    wanted=some.tuples(some.integers(1, 60), some.integers(1, 60)),
    kind=some.sampled_from(FORMATS),
    turned=some.integers(1, 8),
)
def test_any_size_into_any_other(
    opened: Open, size: tuple[int, int], wanted: tuple[int, int], kind: str, turned: int
) -> None:
    """One colour stays that colour, and every pixel is there."""
    exif = Image.Exif()
    exif[0x0112] = turned
    found = opened(saved(Image.new("RGB", size, (200, 40, 90)), kind, exif=exif, quality=100), *wanted).base.pixels
    assert found.shape == (wanted[1], wanted[0], 4)
    assert np.abs(found.astype(int) - [200, 40, 90, 255]).max() <= 4


# What is refused


def refusal(opened: Open, data: bytes, **limits: int) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        opened(data, **limits)
    assert caught.value.param == "image"
    return caught.value


def webp_header(width: int, height: int, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + sides
    return b"RIFF" + struct.pack("<I", len(content)) + content


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"


@pytest.mark.parametrize(
    "data",
    [
        png(50_000, 50_000, data=zlib.compress(bytes(1000))),
        png(2**31 - 1, 2**31 - 1, data=b""),
        png(1, 1_000_001, data=b""),
        jpeg_header(65_000, 65_000),
        webp_header(16_384, 16_384),
        webp_header(2**24, 2**24),
        b"RIFF\0\0\0\0WEBPVP8L" + struct.pack("<IBI", 5, 0x2F, 0x3FFF | 0x3FFF << 14),
        b"RIFF\0\0\0\0WEBPVP8 " + struct.pack("<I3s3sHH", 10, b"\0\0\0", b"\x9d\x01\x2a", 0x3FFF, 0x3FFF),
    ],
    ids=["png", "huge png", "tall png", "jpeg", "webp", "huge webp", "lossless webp", "lossy webp"],
)
def test_what_would_unpack_to_too_much_is_not_unpacked(
    opened: Open, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_opened", None)  # no decoder sees it
    error = refusal(opened, data)
    assert error.code == "image_too_large"
    assert "at most 1 megapixels" in error.message


def test_files_that_are_too_large_are_not_read(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_header, "read", None)
    assert refusal(opened, png(2, 2), largest=50).code == "image_too_large"


def test_texts_and_profiles_are_not_unpacked(opened: Open) -> None:
    """A hundred of them, of a hundred megabytes each: they are passed over."""
    packing = zlib.compressobj(9)
    packed = b"".join([packing.compress(bytes(2**20)) for _ in range(100)]) + packing.flush()
    bombs = [
        chunk(b"zTXt", b"Comment\0\0" + packed),
        chunk(b"iTXt", b"Comment\0\x01\0\0\0" + packed),
        chunk(b"iCCP", b"mine\0\0" + packed),
    ]
    assert opened(png(2, 2, *bombs * 10), largest=2**24).base.pixels.shape == (2, 2, 4)


def test_pixels_that_go_on_and_on_are_read_no_further_than_the_picture(opened: Open) -> None:
    packing = zlib.compressobj(9)
    packed = b"".join([packing.compress(bytes(2**20)) for _ in range(20)]) + packing.flush()
    assert opened(png(2, 2, data=packed)).base.pixels.shape == (2, 2, 4)


def scans(times: int) -> bytes:
    data = saved(corners(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * times + data[-2:]


def test_a_jpeg_that_goes_over_itself_again_and_again(opened: Open) -> None:
    assert refusal(opened, scans(1000)).code == "invalid_image_file"


def moving(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), one) for one in ("red", "green", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_moves_is_refused(opened: Open, kind: str) -> None:
    error = refusal(opened, moving(kind))
    assert "animated images are not supported" in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        PNG,
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8" + b"\xff" * 200_000,
        b"RIFF\0\0\0\0WEBP",
        b"GIF89a" + bytes(50),
        saved(Image.new("RGB", (8, 8)), "BMP"),
        saved(Image.new("RGB", (8, 8)), "TIFF"),
        saved(Image.new("RGB", (8, 8)), "GIF"),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        png(0, 5),
        png(4, 4, depth=3),
        png(4, 4, data=b"no zlib"),
        png(4, 4, data=zlib.compress(b"\x09" * 52)),
        PNG + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""),
        PNG + b"".join([chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)), chunk(b"tEXt", b"") * 100_001]),
        jpeg_header(8, 8)[:-10] + jpeg_header(9000, 9000)[2:],
        webp_header(8, 8) + b"VP8 " + struct.pack("<I", 2**32 - 1),
        b"RIFF" + struct.pack("<I", 20) + b"WEBPVP8L" + struct.pack("<IB", 5, 0x2E) + bytes(4),
    ],
)
def test_what_is_no_picture_is_refused(opened: Open, data: bytes) -> None:
    error = refusal(opened, data)
    assert error.code == "invalid_image_file"
    assert error.message.startswith("Invalid image file or mode for image 1, please check your image file.")


def test_another_header_behind_the_first_changes_nothing(opened: Open) -> None:
    again = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    refusal(opened, png(2, 2, again))


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_cut_off_is_refused(opened: Open, kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8))
    data = saved(noise, kind)
    for length in (len(data) // 2, len(data) * 3 // 4, 20):
        refusal(opened, data[:length])


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_is_refused_or_seen_in_pixels_alone(opened: Open, kind: str) -> None:
    """Whatever was changed in a file, it is a picture of the size that was asked for or a 400."""
    dice = random.Random(kind)
    data = saved(corners(), kind, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            assert opened(bytes(damaged), 16, 16).base.pixels.shape == (16, 16, 4)
        except InvalidRequest:
            refused += 1
    assert refused


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=some.sampled_from([PNG, b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"RIFF\0\0\0\0WEBPVP8 "]),
    rest=some.binary(),
)
def test_bytes_behind_a_signature_are_no_picture(opened: Open, start: bytes, rest: bytes) -> None:
    refusal(opened, start + rest)


@settings(max_examples=150, deadline=None)
@given(some.binary(max_size=80))
def test_any_exif_is_some_orientation(exif: bytes) -> None:
    assert 1 <= picture_header._orientation(b"II*\0" + exif) <= 8
    assert 1 <= picture_header._orientation(exif) <= 8


# What is written


def gradient() -> Any:
    pixels = np.full((64, 64, 4), 255, np.uint8)
    pixels[..., 0] = np.arange(64) * 4
    pixels[..., 1] = np.arange(64)[:, None] * 4
    return pixels


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_is_what_it_costs(kind: Any) -> None:
    sizes = [len(pictures.encode(gradient(), kind, quality=one).base64) for one in (0, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_transparency_is_kept_unless_it_cannot_be() -> None:
    pixels = gradient()
    pixels[:32, :, 3] = 0
    for kind in ("png", "webp"):
        written = pictures.encode(pixels, kind)
        assert written.transparent
        image: Any = Image.open(io.BytesIO(base64.b64decode(written.base64)))
        assert (image.mode, image.getpixel((5, 5))[3], image.getpixel((5, 60))[3]) == ("RGBA", 0, 255)
    for written in (pictures.encode(pixels, "jpeg"), pictures.encode(pixels, "png", opaque=True)):
        assert not written.transparent
        image = Image.open(io.BytesIO(base64.b64decode(written.base64)))
        assert image.mode == "RGB"
        assert min(image.getpixel((5, 5))) >= 250, "white"


def test_a_text_of_somebody_else_is_no_note(opened: Open) -> None:
    info = PngInfo()
    info.add_text("homeport", "a plain one")
    assert opened(saved(corners(), pnginfo=info)).base.note is None
