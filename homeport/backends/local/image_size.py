"""In which size a picture is drawn: as it was asked for, by the rules of a name (image_rules.py), if the engine can."""

import re
from typing import NamedTuple

from homeport.backends.drawing import DrawingCard
from homeport.backends.local.image_rules import Rules, listed
from homeport.errors import InvalidRequest
from homeport.wire.base import unsupported_value

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
#: Of gpt-image-2: what a side is a multiple of, its most, how long it may be beside the other, and the pixels of both.
#: Source: the description of `size`; for the pixels, Azure's page of the model.
_STEP, _LONGEST, _STRETCH, _LEAST_PIXELS, _MOST_PIXELS = 16, 3840, 3, 655_360, 8_294_400


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def chosen(asked: str | None, by: Rules, card: DrawingCard, *, given: bool) -> Size | None:
    """None: as the picture is. given: there is one. Raises InvalidRequest."""
    if asked is None and not (given and by.usual == "auto"):
        usual = Size(card.native, card.native) if by.usual == "auto" else _read(by.usual)
        return usual if drawable(usual, card) else Size(card.native, card.native)
    if asked is None or (asked == "auto" and (by.sizes is None or "auto" in by.sizes)):
        return None if given else Size(card.native, card.native)
    if by.sizes is None or asked in by.sizes:
        size = _read(asked)
    elif by.flexible:
        size = _flexible(asked)
    else:
        raise unsupported_value("size", asked, listed(by.sizes))
    if not drawable(size, card):
        steps = f", each a multiple of {card.multiple}" if card.multiple > 1 else ""
        raise InvalidRequest(
            f"The size is not supported by this model. Its sides are {card.smallest} to {card.largest} pixels{steps}.",
            param="size",
            code="invalid_size",
        )
    return size


def _read(asked: str) -> Size:
    found = _SIZE.fullmatch(asked)
    if found is None:
        raise _invalid(asked, "Expected `auto`, or a width and a height in pixels, as in `1024x1024`.")
    return Size(int(found[1]), int(found[2]))


def _flexible(asked: str) -> Size:
    """As gpt-image-2 takes it."""
    size = _read(asked)
    longer, shorter = max(size), min(size)
    if size.width % _STEP or size.height % _STEP:
        raise _invalid(asked, f"Width and height must both be divisible by {_STEP}.")
    if longer > _LONGEST:
        raise _invalid(asked, f"The longest edge must be {_LONGEST} pixels or less.")
    if longer > _STRETCH * shorter:
        raise _invalid(asked, f"The aspect ratio must be between 1:{_STRETCH} and {_STRETCH}:1.")
    if not _LEAST_PIXELS <= size.width * size.height <= _MOST_PIXELS:
        raise _invalid(asked, f"It must have between {_LEAST_PIXELS} and {_MOST_PIXELS} pixels in all.")
    return size


def _invalid(asked: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid size '{asked[:40]}'. {why}", param="size", code="invalid_value")


def drawable(size: Size, card: DrawingCard) -> bool:
    return all(card.smallest <= side <= card.largest and side % card.multiple == 0 for side in size)


def nearest(width: int, height: int, card: DrawingCard) -> Size:
    """The size next to it that can be drawn, of its shape as far as that goes."""
    scale = min(1.0, card.largest / max(width, height))
    scale = max(scale, min(card.smallest / min(width, height), card.largest / max(width, height)))
    return Size(_side(width * scale, card), _side(height * scale, card))


def _side(length: float, card: DrawingCard) -> int:
    """The multiple next to it within the card's bounds."""
    least, most = -(-card.smallest // card.multiple), card.largest // card.multiple
    return min(max(round(length / card.multiple), least), most) * card.multiple
