"""What an answer of pictures takes: their number, and tokens, as OpenAI's GPT image models count them. Clients that ask
for those names read them, and their prices are by them. Source: the guide to image generation (tables of gpt-image-1),
and the guide to images and vision.

Sizes that are in no table count by their pixels, beside a square's.
"""

import math
from collections.abc import Mapping

import msgspec

from homeport.backends.capabilities import Usage
from homeport.backends.drawing import Quality
from homeport.backends.local.image_plan import Plan
from homeport.wire import images

#: Of a picture in the making that is shown.
_OF_A_PARTIAL = 100
_SQUARE, _PORTRAIT, _LANDSCAPE = (1024, 1024), (1024, 1536), (1536, 1024)
_MADE: Mapping[Quality, Mapping[tuple[int, int], int]] = {
    "low": {_SQUARE: 272, _PORTRAIT: 408, _LANDSCAPE: 400},
    "medium": {_SQUARE: 1056, _PORTRAIT: 1584, _LANDSCAPE: 1568},
    "high": {_SQUARE: 4160, _PORTRAIT: 6240, _LANDSCAPE: 6208},
}
#: Of a picture that is given: of any, and of each tile that it covers once it is no longer than `_LONGEST` and its
#: shorter side no longer than a tile's.
_ANY, _OF_A_TILE, _TILE, _LONGEST = 65, 129, 512, 2048


def of_made(width: int, height: int, quality: Quality) -> int:
    table = _MADE[quality]
    known = table.get((width, height))
    return known if known is not None else math.ceil(table[_SQUARE] * width * height / math.prod(_SQUARE))


def of_given(width: int, height: int) -> int:
    scale = min(1.0, _LONGEST / max(width, height))
    scale = min(scale, _TILE / min(width, height))
    across, down = (max(math.ceil(round(side * scale, 6) / _TILE), 1) for side in (width, height))
    return _ANY + _OF_A_TILE * across * down


class Bill:
    """What one answer takes, and what it says of that. A picture counts from when something of it is shown; the prompt,
    and the pictures that came with it, once. Names that are not of GPT image models take pictures and no tokens."""

    def __init__(self, plan: Plan, text: int, given: int) -> None:
        assert plan.size is not None
        self._text = text
        self._given = given
        self._each = of_made(*plan.size, plan.quality)
        self._counts_tokens = plan.rules.family == "gpt-image"
        quality = plan.quality if self._counts_tokens else plan.asked_quality
        self._size = images.sized(str(plan.size), quality)
        self._pictures = 0
        self._partial = 0
        self._partial_of_this = 0

    def add(self, place: int, *, last: bool) -> None:
        """Something of the picture in this place of the answer is there."""
        self._pictures = place + 1
        if not last:
            self._partial += 1
            self._partial_of_this += 1

    @property
    def _made(self) -> int:
        return self._pictures * self._each + self._partial * _OF_A_PARTIAL

    @property
    def usage(self) -> Usage:
        """So far."""
        counted = Usage(0, 0, images=self._pictures, size=self._size)
        if not self._counts_tokens:
            return counted
        return msgspec.structs.replace(
            counted,
            prompt=self._text + self._given,
            completion=self._made,
            input_image=self._given,
            output_image=self._made,
        )

    def of_all(self) -> images.ImagesUsage:
        return _shown(self._text, self._given, self._made)

    def of_this(self) -> images.ImagesUsage:
        """Of the picture that is finished: those of an answer add up to what it took."""
        made = self._each + self._partial_of_this * _OF_A_PARTIAL
        self._partial_of_this = 0
        return _shown(self._text, self._given, made) if self._pictures == 1 else _shown(0, 0, made)


def _shown(text: int, given: int, made: int) -> images.ImagesUsage:
    return images.ImagesUsage(
        text + given, made, text + given + made, images.InputTokensDetails(text_tokens=text, image_tokens=given)
    )
