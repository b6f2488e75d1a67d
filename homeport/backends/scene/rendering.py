"""SVG -> pixels, a few rows at a time.

In strips of so many pixels a drawing that is no longer wanted ends at the next one, and what is drawn finer than it is
shown takes no more memory for a larger picture. Nobody waits for what draws (thorvg.py).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from homeport.backends.scene import thorvg

if TYPE_CHECKING:
    from homeport.backends.drawing import Pixels

#: Units of a drawing's width, whatever its size.
UNITS = 1000.0
_PIXELS_OF_A_STRIP = 1 << 18
#: Strips are drawn so much larger than they are, in units, that what is soft at an edge is not cut.
_MARGIN = 2.0
_SIZE = re.compile(r'<svg [^>]*\bwidth="(?P<width>\d+)" height="(?P<height>\d+)"')


class Stopped(Exception):
    """The drawing is no longer wanted."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing of a drawing. top, bottom: in units, between which all of it is. needs: what it refers to, by id."""

    svg: str
    top: float
    bottom: float
    needs: dict[str, str] = field(default_factory=dict)


def pixels(
    parts: Sequence[Part], width: int, height: int, *, finer: int = 1, stopped: Callable[[], bool] = lambda: False
) -> "Pixels":
    """parts: from the back to the front. finer: drawn so many times as large, and averaged. Raises Stopped."""
    import numpy

    drawn = numpy.empty((height, width, 4), numpy.uint8)
    rows = max(1, _PIXELS_OF_A_STRIP // (width * finer * finer))
    for first in range(0, height, rows):
        if stopped():
            raise Stopped
        _draw(parts, first, drawn[first : first + rows], finer)
    return drawn


def document(parts: Sequence[Part], view: tuple[float, float, float, float], width: int, height: int) -> str:
    """As one SVG. view: left, top, width, height in units, that width x height pixels show."""
    needs: dict[str, str] = {}
    for part in parts:
        needs.update(part.needs)
    defs = f"<defs>{''.join(needs.values())}</defs>" if needs else ""
    box = " ".join(f"{number:.6g}" for number in view)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="{box}" preserveAspectRatio="none">'
        f"{defs}{''.join(part.svg for part in parts)}</svg>"
    )


def picture(svg: str) -> "Pixels":
    """One SVG of ours, in the size that it has. Raises ValueError: it is none."""
    import numpy

    size = _SIZE.search(svg)
    if size is None:
        raise ValueError("it has no width and height")
    drawn = numpy.empty((int(size["height"]), int(size["width"]), 4), numpy.uint8)
    thorvg.draw(svg, drawn)
    return drawn


def strengthened(shown: "Pixels", by: float) -> "Pixels":
    """With colours so much stronger, as Pillow does it: away from grey, or towards it."""
    import numpy
    from PIL import Image, ImageEnhance

    changed = shown.copy()
    changed[..., :3] = numpy.asarray(ImageEnhance.Color(Image.fromarray(shown[..., :3])).enhance(by))
    return changed


def _draw(parts: Sequence[Part], first: int, into: "Pixels", finer: int) -> None:
    """into: rows from the first one on."""
    import numpy
    from PIL import Image

    count, width, _ = into.shape
    unit = UNITS / width
    top, bottom = first * unit, (first + count) * unit
    seen = [part for part in parts if part.bottom >= top - _MARGIN and part.top <= bottom + _MARGIN]
    if not seen:
        into[:] = 0
        return
    svg = document(seen, (0.0, top, UNITS, bottom - top), width * finer, count * finer)
    if finer == 1:
        thorvg.draw(svg, into)
        return
    large = numpy.empty((count * finer, width * finer, 4), numpy.uint8)
    thorvg.draw(svg, large, colours=thorvg.MULTIPLIED)
    # Averaged with opacity in mind: at an edge to nothing, nothing has no colour.
    averaged = Image.frombuffer("RGBa", (width * finer, count * finer), large, "raw", "RGBa", 0, 1).reduce(finer)
    into[:] = numpy.asarray(averaged.convert("RGBA"))
