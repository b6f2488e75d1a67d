"""What a mask leaves to be drawn anew: where in it something fits, and what it is filled with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from homeport.backends.scene.layout import Area

if TYPE_CHECKING:
    from homeport.backends.drawing import Mask, Pixels

#: Cells of a side, in which a rectangle is looked for.
_CELLS = 96
#: Pixels of a side of the finest level of a picture, and of the coarsest.
_FINEST, _SMALLEST = 512, 2
#: Numbers of a level, of any shape.
_Level = Any


def largest_rectangle(mask: "Mask") -> Area | None:
    """The one in which most can be drawn: long and narrow ones hold less than they are large. None: there is none."""
    import numpy

    height, width = mask.shape
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    ys, xs = _edges(height, rows), _edges(width, columns)
    inside = numpy.minimum.reduceat(numpy.minimum.reduceat(mask, ys[:-1], axis=0), xs[:-1], axis=1)
    found = _best(inside.tolist(), width / columns, height / rows)
    if found is None:
        return _bounds(mask) if mask.any() else None
    left, top, right, bottom = found
    return Area(xs[left] / width, ys[top] / width, (xs[right] - xs[left]) / width, (ys[bottom] - ys[top]) / width)


def filled(picture: "Pixels", mask: "Mask") -> "Pixels":
    """With the mask's region as its edges suggest: each level of a pyramid lends to the finer one what that lacks."""
    import numpy
    from PIL import Image

    height, width = mask.shape
    known = picture.copy()
    known[..., 3] = numpy.where(mask | (picture[..., 3] == 0), 0, 255)
    coarse = Image.fromarray(known).convert("RGBa").reduce(max(1, -(-max(height, width) // _FINEST)))
    levels = numpy.asarray(coarse, numpy.float32) / 255
    smooth = numpy.clip(_pushed(levels[..., :3], levels[..., 3]) * 255 + 0.5, 0, 255).astype(numpy.uint8)
    grown = numpy.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BILINEAR))
    result = picture.copy()
    result[..., :3][mask] = grown[mask]
    result[..., 3][mask] = 255
    return result


def over(below: "Pixels", above: "Pixels") -> "Pixels":
    """One picture upon the other; as opaque as both together."""
    import numpy
    from PIL import Image

    both = Image.alpha_composite(Image.fromarray(below), Image.fromarray(above))
    return numpy.array(both)


def _edges(length: int, cells: int) -> Sequence[int]:
    """Where cells begin, in pixels, and where the last one ends."""
    return [cell * length // cells for cell in range(cells + 1)]


def _bounds(mask: "Mask") -> Area:
    import numpy

    width = mask.shape[1]
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return Area(left / width, top / width, (int(columns[-1]) + 1 - left) / width, (int(rows[-1]) + 1 - top) / width)


def _best(inside: list[list[bool]], across: float, down: float) -> tuple[int, int, int, int] | None:
    """Of all rectangles of cells inside the one with the largest shorter side, and of these the largest."""
    heights = [0] * len(inside[0])
    best: tuple[float, tuple[int, int, int, int]] | None = None
    for bottom, row in enumerate(inside, 1):
        heights = [height + 1 if cell else 0 for height, cell in zip(heights, row, strict=True)]
        starts: list[tuple[int, int]] = []
        for column, height in enumerate([*heights, 0]):
            start = column
            while starts and starts[-1][1] >= height:
                start, its = starts.pop()
                if its:
                    wide, high = (column - start) * across, its * down
                    worth = wide * high * min(wide, high)
                    if best is None or worth > best[0]:
                        best = (worth, (start, bottom - its, column, bottom))
            starts.append((start, height))
    return best[1] if best is not None else None


def _pushed(values: _Level, weights: _Level) -> _Level:
    """values: already times weights. A mean of what is known, finer where more is known."""
    import numpy

    height, width = weights.shape
    if min(height, width) <= _SMALLEST:
        total = weights.sum()
        return numpy.broadcast_to(values.sum(axis=(0, 1)) / max(total, 1e-6), values.shape)
    padded = ((0, height % 2), (0, width % 2))
    coarse_weights = _halved(numpy.pad(weights, padded))
    coarse = _pushed(_halved(numpy.pad(values, (*padded, (0, 0)))), coarse_weights)
    grown = _doubled(coarse)[:height, :width]
    known = numpy.minimum(weights, 1.0)[..., None]
    own = values / numpy.maximum(weights, 1e-6)[..., None]
    return known * own + (1 - known) * grown


def _halved(values: _Level) -> _Level:
    return (values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]) / 4


def _doubled(values: _Level) -> _Level:
    """Smoothly: three quarters of the nearest, one of the next."""
    import numpy

    for axis in (0, 1):
        first = numpy.roll(values, 1, axis)
        last = numpy.roll(values, -1, axis)
        numpy.moveaxis(first, axis, 0)[0] = numpy.moveaxis(values, axis, 0)[0]
        numpy.moveaxis(last, axis, 0)[-1] = numpy.moveaxis(values, axis, 0)[-1]
        pairs = numpy.stack((0.75 * values + 0.25 * first, 0.75 * values + 0.25 * last), axis=axis + 1)
        shape = list(values.shape)
        shape[axis] *= 2
        values = pairs.reshape(shape)
    return values
