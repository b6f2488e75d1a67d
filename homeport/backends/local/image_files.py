"""The pictures that an edit or a variation starts from: OpenAI's rules for them by the name that was asked for, and how
a mask is come by. Decoding is pictures.py's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from homeport.backends.capabilities import Attached
from homeport.backends.drawing import Base
from homeport.backends.local import pictures
from homeport.backends.local.image_plan import Plan
from homeport.backends.local.pictures import Given, Opened
from homeport.errors import InvalidRequest
from homeport.settings import Images
from homeport.wire.images import Family

if TYPE_CHECKING:
    from homeport.backends.drawing import Mask

#: Bytes that a picture for dall-e-2 must have less of.
_OF_DALL_E_2 = 4 * 2**20
_MASK_CODE = "invalid_mask_image_format"


class Files(NamedTuple):
    """Looked at, and not unpacked yet."""

    images: Sequence[Given]
    mask: Given | None

    @property
    def shown(self) -> tuple[int, int]:
        """Of the first: what the mask is of, and what sizes go by."""
        return self.images[0].header.shown


class Bases(NamedTuple):
    """What is drawn over. mask: None: all of it."""

    bases: Sequence[Base] = ()
    mask: "Mask | None" = None


def look(attached: Sequence[Attached], family: Family | None, settings: Images) -> Files:
    """family: whose rules they are to keep. Raises InvalidRequest."""
    images = [one for one in attached if one.field != "mask"]
    mask = next((one for one in attached if one.field == "mask"), None)
    if family == "dall-e-2" and len(images) > 1:
        raise InvalidRequest(
            "Invalid 'image': array too long. Expected an array with maximum length 1, but got an array with length "
            f"{len(images)} instead.",
            param="image",
            code="array_above_max_length",
        )
    files = Files(
        [_look(one, f"image {place}", family, settings) for place, one in enumerate(images, 1)],
        _look(mask, "mask", family, settings) if mask is not None else None,
    )
    across, down = files.shown
    if family == "dall-e-2" and across != down:
        raise InvalidRequest(
            f"Uploaded image must be square. This one is {across}x{down}.", param="image", code="invalid_image"
        )
    if files.mask is not None and files.mask.header.shown != files.shown:
        other = "x".join(map(str, files.mask.header.shown))
        raise InvalidRequest(
            f"Invalid mask image format - mask size does not match image size: {other} and {across}x{down}.",
            param="mask",
            code=_MASK_CODE,
        )
    return files


def _look(file: Attached, name: str, family: Family | None, settings: Images) -> Given:
    largest, most_pixels = settings.max_file_mb * 2**20, settings.max_megapixels * 1_000_000
    if family != "dall-e-2":
        return pictures.look(file, name=name, largest=largest, most_pixels=most_pixels)
    refusal = InvalidRequest(
        f"Uploaded {file.field} must be a PNG and less than 4 MB.", param=file.field, code="invalid_image"
    )
    if file.bytes >= _OF_DALL_E_2:
        raise refusal
    try:
        given = pictures.look(file, name=name, largest=largest, most_pixels=most_pixels)
    except InvalidRequest as error:
        raise (refusal if error.code == pictures.INVALID else error) from None
    if given.header.kind != "png":
        raise refusal
    return given


async def unpack(files: Files, plan: Plan, settings: Images) -> Bases:
    """In the size that is to be drawn. Raises InvalidRequest."""
    assert plan.size is not None
    width, height = plan.size
    if len(files.images) * width * height > settings.max_megapixels * 1_000_000:
        raise InvalidRequest(
            f"{len(files.images)} images in the size {plan.size} are more than {settings.max_megapixels} megapixels. "
            "Send fewer, or ask for a smaller `size`.",
            param="image",
            code="image_too_large",
        )
    opened = [await pictures.in_turn(pictures.open_in, one, width, height) for one in files.images]
    bases = [one.base for one in opened]
    if plan.kind == "variation":
        return Bases(bases)
    if files.mask is not None:
        return Bases(bases, _shown_by(await pictures.in_turn(pictures.open_in, files.mask, width, height)))
    return Bases(bases, _own(opened[0], plan.rules.family))


def _shown_by(mask: Opened) -> "Mask":
    if mask.clear is None:
        raise InvalidRequest(
            "Invalid mask image format - mask image missing alpha channel. What is fully transparent in it is drawn "
            "anew.",
            param="mask",
            code=_MASK_CODE,
        )
    if not mask.clear.any():
        raise InvalidRequest(
            "Nothing of the mask is fully transparent, so nothing would be drawn.", param="mask", code=_MASK_CODE
        )
    return mask.clear


def _own(image: Opened, family: Family | None) -> "Mask | None":
    """Of a picture without a mask: its own transparency, which dall-e-2 wants. With the GPT image models all of it is
    drawn anew."""
    if family == "gpt-image":
        return None
    if image.clear is not None and image.clear.any():
        return image.clear
    if family is None:
        return None
    if image.clear is None:
        raise InvalidRequest(
            f"Invalid input image - format must be in ['RGBA', 'LA'], got {image.mode}. Without a `mask` the "
            "transparent parts of the image are drawn anew.",
            param="image",
            code="invalid_image",
        )
    raise InvalidRequest(
        "Nothing of the image is fully transparent, so without a `mask` nothing would be drawn.",
        param="image",
        code="invalid_image",
    )
