"""A request that came as a form, written again for an upstream: its fields out of the body, its files from the disk.
And a form of our own, of a file whose bytes somebody gives.

Source: RFC 7578; names as the official SDK writes them, `name[]` for each item of a list and `name[member]` for the
members of an object.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from homeport import ids
from homeport.backends.capabilities import Attached, Call
from homeport.wire.images import kind_of

#: Bytes that are read, and wait to be sent, at once.
_PIECE = 128 * 1024
#: Of a file that has none. Without a name it would be a field.
_NO_NAME = "file"
#: What a name cannot hold between its quotes, as browsers write it (HTML, 4.10.21.8). The end of a line would be the
#: end of the header.
_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A", "\0": "%00"})
#: By how a file's name ends: of what may be sent to be heard or to be changed.
_KINDS = {
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "audio/mp4",
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "webm": "audio/webm",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
#: Others stay in an object of JSON: they may hold what ends a header.
_MEMBER = re.compile(r"\w{1,64}", re.ASCII)


class Form:
    """Pieces (connection.py) of one form."""

    def __init__(self, call: Call, without: Collection[str] = ()) -> None:
        """without: fields that are left out."""
        boundary = f"homeport-{ids.random_text(32)}"
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        self._parts: list[bytes | Path] = []
        self.length = 0
        opening = b"--%b\r\n" % boundary.encode()
        names = [file.field for file in call.attached]
        for name, text in _texts(call, {*names, *without}):
            self._add(b'%bContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (opening, name.encode(), text))
        for file in call.attached:
            self._add(opening + _head(file, several=names.count(file.field) > 1))
            self._parts.append(file.path)
            self.length += file.bytes
            self._add(b"\r\n")
        self._add(b"--%b--\r\n" % boundary.encode())

    async def read(self) -> AsyncGenerator[bytes, None]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            with await asyncio.to_thread(part.open, "rb", 0) as file:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    yield piece

    def _add(self, part: bytes) -> None:
        self._parts.append(part)
        self.length += len(part)


class Upload:
    """Pieces of a form of ours: texts, and one file."""

    def __init__(
        self,
        fields: Mapping[str, str],
        filename: str,
        length: int,
        read: Callable[[], AsyncGenerator[bytes, None]],
    ) -> None:
        """filename, fields: without what would end a header. read: the file's bytes, of which there are `length`, from
        the beginning each time."""
        boundary = f"homeport-{ids.random_text(32)}"
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        texts = [f'{head}{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
        file = f'{head}file"; filename="{filename}"\r\nContent-Type: application/jsonl\r\n\r\n'
        self._before = ("".join(texts) + file).encode()
        self._after = f"\r\n--{boundary}--\r\n".encode()
        self.length = len(self._before) + length + len(self._after)
        self._read = read

    async def read(self) -> AsyncGenerator[bytes, None]:
        yield self._before
        async with aclosing(self._read()) as pieces:
            async for piece in pieces:
                yield piece
        yield self._after


def _texts(call: Call, others: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The fields, but for some; the model by the upstream's own name."""
    yield "model", call.model.encode()
    for name, raw in call.fields.items():
        if name == "model" or name in others:
            continue
        value = msgspec.json.decode(raw)
        if isinstance(value, list):
            yield from ((f"{name}[]", _text(item)) for item in value)
        elif isinstance(value, dict) and all(map(_MEMBER.fullmatch, value)):
            yield from ((f"{name}[{member}]", _text(item)) for member, item in value.items())
        elif value is not None:
            yield name, _text(value)


def _text(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _seen(file: Attached) -> str:
    """By how its bytes begin, as its name does not tell. Of pictures: OpenAI refuses those that are of no kind."""
    with file.path.open("rb") as opened:
        kind = kind_of(opened.read(16))
    return f"image/{kind}" if kind is not None else "application/octet-stream"


def _head(file: Attached, *, several: bool) -> bytes:
    name = file.filename or _NO_NAME
    kind = _KINDS.get(name.rpartition(".")[2].lower()) or _seen(file)
    field = f"{file.field}[]" if several else file.field
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name.translate(_ESCAPED)}"\r\n'
    return f"{head}Content-Type: {kind}\r\n\r\n".encode(errors="replace")
