"""PNG of drawings, whose rows are mostly of one colour: nothing compresses such rows better than as they are. Encoders
look at each row in five ways for the best (PNG 1.2, chapter 6), which takes longer than all the rest."""

import zlib
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homeport.backends.drawing import Pixels

#: Every so many rows one is looked at; and the share of its pixels that are as their neighbours from which it is flat.
_LOOKED_AT, _FLAT = 8, 0.8
_LEVEL = 3
_RGB, _RGBA = 2, 6
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def flat(pixels: "Pixels") -> bool:
    """Whether it is such a drawing, by a sample."""
    rows = pixels[::_LOOKED_AT]
    same = (rows[:, 1:] == rows[:, :-1]).all(axis=2)
    return bool(same.size) and float(same.mean()) >= _FLAT


def encoded(pixels: "Pixels", text: tuple[str, str] | None = None, *, opacity: bool) -> bytes:
    """text: a keyword, and what is said of it. opacity: whether it is written, too."""
    import numpy

    height, width, _ = pixels.shape
    channels = 4 if opacity else 3
    rows = numpy.empty((height, 1 + channels * width), numpy.uint8)
    rows[:, 0] = 0  # the filter: none
    rows[:, 1:].reshape(height, width, channels)[...] = pixels[..., :channels]
    head = pack(">IIBBBBB", width, height, 8, _RGBA if opacity else _RGB, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head)]
    if text is not None:
        keyword, said = text
        # Compressed, in no language, without a translation of the keyword.
        chunks.append(_chunk(b"iTXt", keyword.encode("latin-1") + b"\0\1\0\0\0" + zlib.compress(said.encode())))
    chunks += [_chunk(b"IDAT", zlib.compress(rows.data, _LEVEL)), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))
