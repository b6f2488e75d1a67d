"""What a file of a picture says of itself, read before anything of it is unpacked: its format, by its content and not
by its name, its size, how it is turned, whether it moves, and the note in it.

Only what stands in headers is read, in bounded steps and without a library: a decoder reserves memory for what a file
claims to be the moment that it is given it. Sources: PNG (third edition), ISO/IEC 10918-1 (JPEG), RFC 9649 (WebP), TIFF
6.0 for the orientation.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

Kind = Literal["png", "jpeg", "webp"]
#: The keyword under which a PNG has the note of what drew it.
NOTE = b"homeport"
#: Bytes of a note, as it is read and as it was packed.
_LARGEST_NOTE = 2**20
#: Chunks or segments of a file. A PNG of 50 MB has some thousands.
_MOST_CHUNKS = 100_000
#: Scans of a JPEG, each of which goes over the whole picture. What cameras and programs write has a dozen.
_MOST_SCANS = 64
_PNG = b"\x89PNG\r\n\x1a\n"
#: Parts of a PNG that its pixels are made from.
_OF_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


class Malformed(Exception):
    """It is no such file."""


class Header(NamedTuple):
    """width, height: as they are stored. turned: EXIF's orientation, 1 to 8. moving: it is several pictures. note: of a
    PNG."""

    kind: Kind
    width: int
    height: int
    turned: int = 1
    moving: bool = False
    note: str | None = None

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as it is looked at."""
        return (self.height, self.width) if self.turned >= 5 else (self.width, self.height)


def read(path: Path) -> Header:
    """Raises Malformed: it is neither PNG, JPEG nor WebP, or is damaged; OSError."""
    with path.open("rb") as file:
        start = file.read(16)
        try:
            if start.startswith(_PNG):
                return _png(file)
            if start.startswith(b"\xff\xd8\xff"):
                return _jpeg(file)
            if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
                return _webp(file)
        except (struct.error, IndexError, ValueError):
            raise Malformed("it ends too soon") from None
    raise Malformed("it is no picture that is known here")


def pixels(path: Path, kind: Kind) -> bytes:
    """Of a file only what its pixels are made from: no text to unpack, no profile, and no second picture."""
    with path.open("rb") as file:
        match kind:
            case "png":
                parts = [(at - 8, length + 12) for name, at, length in _chunks(file) if name in _OF_PIXELS]
                kept = [_PNG]
            case "jpeg":
                parts = [(at, length) for mark, at, length in _segments(file) if not _aside(mark)]
                kept = [b"\xff\xd8"]
            case "webp":
                parts, kept = [(0, -1)], []
        for at, length in parts:
            file.seek(at)
            kept.append(file.read(length))
    return b"".join(kept)


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Of a PNG: name, where its content begins, and how long that is."""
    at = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head)
        yield name, at + 8, length
        if name == b"IEND":
            return
        at += length + 12
    raise Malformed("it has too many chunks")


def _png(file: IO[bytes]) -> Header:
    size: tuple[int, int] | None = None
    turned, moving, note = 1, False, None
    for name, _, length in _chunks(file):
        if size is None:
            if name != b"IHDR":
                raise Malformed("its first chunk is not its header")
            size = struct.unpack(">II", file.read(8))
        elif name == b"acTL":
            moving = moving or struct.unpack(">I", file.read(4))[0] > 1
        elif name == b"eXIf":
            turned = _orientation(file.read(min(length, 2**16)))
        elif name == b"iTXt" and note is None and length <= _LARGEST_NOTE:
            note = _note(file.read(length))
    if size is None or 0 in size:
        raise Malformed("it has no size")
    return Header("png", *size, turned, moving, note)


def _note(chunk: bytes) -> str | None:
    """Of an iTXt chunk, if it is ours: keyword, packed or not, how, language, translated keyword, text."""
    keyword, _, rest = chunk.partition(b"\0")
    if keyword != NOTE or len(rest) < 2:
        return None
    packed, text = rest[0] == 1, rest[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(text, _LARGEST_NOTE)
            if not unpacking.eof:
                return None
        return text.decode()
    except (zlib.error, UnicodeDecodeError):
        return None


def _segments(file: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Of a JPEG: kind, where its marker is, and how long it is with that. The first scan is the last of them, and is
    all the rest: its length is -1."""
    at = 2
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        mark, kind = file.read(2)
        if mark != 0xFF:
            raise Malformed("there is no marker where one must be")
        if kind == 0xFF:  # padding
            at += 1
        elif kind in (0xD8, 0x01) or 0xD0 <= kind <= 0xD7:  # without content
            at += 2
        elif kind in (0xD9, 0xDA):
            yield kind, at, -1
            return
        else:
            (length,) = struct.unpack(">H", file.read(2))
            yield kind, at, length + 2
            at += length + 2
    raise Malformed("it has too many segments")


def _aside(kind: int) -> bool:
    """What a program or a camera has to say: all but what tells how the colours are stored (JFIF, Adobe)."""
    return kind == 0xFE or (0xE0 <= kind <= 0xEF and kind not in (0xE0, 0xEE))


def _jpeg(file: IO[bytes]) -> Header:
    size: tuple[int, int] | None = None
    turned = 1
    for kind, _, length in _segments(file):
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise Malformed("it has two sizes")
            height, width = struct.unpack(">xHH", file.read(5))
            size = (width, height)
        elif kind == 0xE1:
            content = file.read(max(length - 4, 0))
            if content.startswith(b"Exif\0\0"):
                turned = _orientation(content[6:])
    if size is None or 0 in size:
        raise Malformed("it has no size")
    _count_scans(file)
    return Header("jpeg", *size, turned)


def _count_scans(file: IO[bytes]) -> None:
    """A few bytes a scan make a decoder go over all pixels again."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        count = at = 0
        while at := content.find(b"\xff\xda", at) + 1:
            count += 1
            if count > _MOST_SCANS:
                raise Malformed("it has too many scans")


def _webp(file: IO[bytes]) -> Header:
    size: tuple[int, int] | None = None
    turned, moving, at = 1, False, 12
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        if name == b"VP8X" and size is None:
            flags = file.read(10)
            moving = bool(flags[0] & 0x02)
            size = (int.from_bytes(flags[4:7], "little") + 1, int.from_bytes(flags[7:10], "little") + 1)
        elif name == b"VP8 " and size is None:
            signature, width, height = struct.unpack("<3x3sHH", file.read(10))
            if signature != b"\x9d\x01\x2a":
                raise Malformed("it begins with no key frame")
            size = (width & 0x3FFF, height & 0x3FFF)
        elif name == b"VP8L" and size is None:
            signature, bits = struct.unpack("<BI", file.read(5))
            if signature != 0x2F:
                raise Malformed("it has another signature")
            size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif name == b"EXIF":
            turned = _orientation(file.read(min(length, 2**16)).removeprefix(b"Exif\0\0"))
        elif name in (b"ANIM", b"ANMF"):
            moving = True
        at += 8 + length + (length & 1)
    else:
        raise Malformed("it has too many chunks")
    if size is None or 0 in size:
        raise Malformed("it has no size")
    return Header("webp", *size, turned, moving)


def _orientation(exif: bytes) -> int:
    """Of the first directory; 1, as it is stored, where that says nothing sensible."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(count):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if (tag, kind, values) == (0x0112, 3, 1):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
