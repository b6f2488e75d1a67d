"""The vector art: what is to be had by which name, where in its square a drawing really is, and its SVG.

Of a file of Iconify's (`icons.json`: https://iconify.design/docs/types/iconify-json.html), which is read once: 17 ms,
and 17 MB of memory. For one thread.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError, Struct, json

from homeport.backends.scene import nature
from homeport.backends.scene.recolouring import colours_of, recoloured
from homeport.backends.scene.rendering import picture

#: Pixels of the side in which shapes are looked at.
_LOOK = 64
#: Opacity from which a pixel belongs to the drawing.
_SOLID = 64
_KEPT = 512
_ID = re.compile(r'\bid="([^"]+)"')
#: Six drawings have a shadow by a filter, of which ThorVG draws but the blur.
_FILTER = re.compile(r' filter="[^"]*"')
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')


class _Icon(Struct, frozen=True):
    """As Iconify has it. width, height: of this one, where it is not the file's."""

    body: str
    width: float | None = None
    height: float | None = None


class _Alias(Struct, frozen=True):
    parent: str
    hFlip: bool = False


class _File(Struct, frozen=True):
    icons: dict[str, _Icon]
    aliases: dict[str, _Alias] = {}
    width: float = 16
    height: float = 16


class _Metadata(Struct, frozen=True):
    categories: dict[str, list[str]] = {}


class Shape(NamedTuple):
    """What a drawing fills of its square, in shares of the square's side. tops: for columns of equal width, from the
    left, where it begins; 1.0 where there is nothing."""

    left: float
    top: float
    right: float
    bottom: float
    tops: tuple[float, ...]

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


class _Looked(NamedTuple):
    """areas: of each colour, the share of what is seen that it fills."""

    shape: Shape
    areas: dict[str, float]


class Art:
    def __init__(self, path: Path) -> None:
        """Raises ValueError: it is no such file; OSError."""
        try:
            read = json.decode(path.read_bytes(), type=_File)
        except DecodeError as error:
            raise ValueError(f"{path} has no icons as Iconify packs them: {error}") from None
        if not read.icons:
            raise ValueError(f"{path} has no icons")
        self._icons = read.icons
        self._categories = _categories(path.with_name("metadata.json"))
        self._side = max(read.width, read.height)
        for name, alias in read.aliases.items():
            if alias.parent in read.icons and not alias.hFlip:
                self._icons.setdefault(name, read.icons[alias.parent])
        self._looked = lru_cache(_KEPT)(self._look)
        self._drawn = lru_cache(_KEPT // 4)(self._draw)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._icons)

    def category(self, name: str) -> str | None:
        """`Animals & Nature`, ...; None: nobody says."""
        return self._categories.get(name)

    def shape(self, name: str) -> Shape:
        """Raises KeyError: there is none of that name."""
        return self._looked(name).shape

    def body(self, name: str, colour: str | None, id: str) -> str:
        """What is inside of an SVG in which a square of 1 is the drawing's. colour: of COLOURS. id: begins all ids in
        it, so that they are no other part's; `id` alone is that of the whole."""
        body = _REFERENCE.sub(rf"\g<1>{id}-\g<2>", self._drawn(name, colour))
        return f'<g id="{id}" transform="scale({1 / self._size(name):.7g})">{body}</g>'

    def _size(self, name: str) -> float:
        icon = self._icons[name]
        return max(icon.width or self._side, icon.height or self._side)

    def _body(self, name: str) -> str:
        return _FILTER.sub("", self._icons[name].body)

    def _draw(self, name: str, colour: str | None) -> str:
        body = self._body(name)
        if colour is None:
            return body
        return recoloured(body, self._looked(name).areas, colour, afloat=nature.place(name) == "afloat")

    def _look(self, name: str) -> _Looked:
        import numpy

        size = self._size(name)
        body = self._body(name)
        seen = picture(
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{_LOOK}" '
            f'height="{_LOOK}" viewBox="0 0 {size:g} {size:g}">{body}</svg>'
        )
        solid = seen[..., 3] >= _SOLID
        if not solid.any():
            raise ValueError(f"{name} is empty")
        rows, columns = numpy.flatnonzero(solid.any(axis=1)), numpy.flatnonzero(solid.any(axis=0))
        tops = [int(column.argmax()) / _LOOK if column.any() else 1.0 for column in solid.T]
        shape = Shape(
            int(columns[0]) / _LOOK,
            int(rows[0]) / _LOOK,
            (int(columns[-1]) + 1) / _LOOK,
            (int(rows[-1]) + 1) / _LOOK,
            tuple(tops),
        )
        return _Looked(shape, _areas(colours_of(body), seen[solid][:, :3]))


def _categories(path: Path) -> dict[str, str]:
    """Of the file beside, if it is there. Raises ValueError; OSError."""
    if not path.is_file():
        return {}
    try:
        read = json.decode(path.read_bytes(), type=_Metadata)
    except DecodeError as error:
        raise ValueError(f"{path} is not Iconify's: {error}") from None
    return {name: category for category, names in read.categories.items() for name in names}


def _areas(colours: list[str], pixels: "object") -> dict[str, float]:
    """Each pixel belongs to the colour that it is nearest to."""
    import numpy

    if not colours:
        return {}
    wide = [colour if len(colour) == 7 else "#" + "".join(digit * 2 for digit in colour[1:]) for colour in colours]
    table = numpy.array([[int(one[place : place + 2], 16) for place in (1, 3, 5)] for one in wide], numpy.int32)
    given = numpy.asarray(pixels, numpy.int32)
    nearest = ((given[:, None, :] - table[None]) ** 2).sum(axis=2).argmin(axis=1)
    counts = numpy.bincount(nearest, minlength=len(colours)) / len(given)
    return {colour: float(share) for colour, share in zip(colours, counts, strict=True)}
