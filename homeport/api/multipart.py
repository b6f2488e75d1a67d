"""A form with one file in it (multipart/form-data), read as it comes: the file goes to the disk, the fields to JSON.

Memory does not grow with the file: a piece is written before the next one is asked for, so a sender is never faster
than the disk. Source: RFC 7578; names of files as browsers, curl and the SDKs write them, and as RFC 5987 has them.
"""

import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request
from starlette.types import Receive

from homeport.errors import BodyTooLarge, HomeportError, InvalidRequest
from homeport.store.staged import Staged
from homeport.wire import base

#: Bytes of a body beside its file: boundaries, headers, fields, and what stands before and after them all.
LARGEST_REST = 2**20
MOST_FIELDS = 16
LARGEST_FIELDS = 16 * 2**10
LONGEST_BOUNDARY = 70
_MOST_HEADERS = 8
_LARGEST_HEADER = 8 * 2**10
_HEADER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
#: `expires_after` or `expires_after[seconds]`.
_FIELD = re.compile(r"(\w{1,64})(?:\[(\w{1,64})\])?", re.ASCII)

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it could not read


@dataclass(frozen=True)
class FormFile:
    """filename: as the client calls it, and it may be anything; None where it has no name."""

    staged: Staged
    filename: str | None


@dataclass(frozen=True)
class Filled:
    """A form that came whole. fields: an object of JSON, whose values are texts and objects of texts."""

    fields: bytes
    file: FormFile

    @property
    def identity(self) -> bytes:
        """The same of the same form sent again, whatever its boundary is."""
        return msgspec.json.encode([msgspec.Raw(self.fields), self.file.filename, self.file.staged.digest])


class Form:
    """What one operation takes."""

    def __init__(
        self, file: str, *, largest: int, staged: Callable[[], AbstractAsyncContextManager[Staged]], hint: str = ""
    ) -> None:
        """file: the name of its part. largest: bytes of it. hint: where more may go."""
        self._file: Final = file
        self._largest = largest
        self._staged = staged
        self._hint = hint

    @asynccontextmanager
    async def read(self, request: Request, receive: Receive) -> AsyncGenerator[Filled | None, None]:
        """The form, whose file is on this disk until the block ends; None when the client left meanwhile.

        A form that is wrong is read to its end before it is refused: many clients listen only once they have sent all.
        Raises InvalidRequest, BodyTooLarge, StorageFull.
        """
        boundary = _boundary(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
        length = int(request.headers.get("content-length", 0))
        if length > self._largest + LARGEST_REST:
            raise self._too_large(length)
        async with self._staged() as staged:
            reading = _Reading(self._file, _Parts(boundary), staged)
            yield reading.whole() if await self._came_whole(reading, receive, length) else None

    async def _came_whole(self, reading: "_Reading", receive: Receive, length: int) -> bool:
        """Raises InvalidRequest, BodyTooLarge, StorageFull."""
        refusal: HomeportError | None = None
        read, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece, more = message.get("body", b""), message.get("more_body", False)
            read += len(piece)
            if refusal is None:
                try:
                    await reading.take(piece)
                except HomeportError as error:
                    refusal = error
            if reading.size > self._largest or read > self._largest + LARGEST_REST:
                raise self._too_large(max(length, read))
        if refusal is not None:
            raise refusal
        return True

    def _too_large(self, size: int) -> BodyTooLarge:
        return BodyTooLarge(
            f"The request's body of {size} bytes is too large: '{self._file}' may have {self._largest / 2**20:g} MiB "
            f"at most.{self._hint and f' {self._hint}'}",
            param=self._file,
        )


@dataclass(frozen=True)
class _Part:
    """The head of a part."""

    name: str
    filename: str | None


#: The head of a part, a piece of what is in it, or its end.
_Event = _Part | bytes | None


class _Parts:
    """The parser, whose callbacks become a list."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[_Event] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self.ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_begin": self._on_header_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                "on_part_end": lambda: self._events.append(None),
                "on_end": self._on_end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LARGEST_HEADER,
        )

    def take(self, piece: bytes) -> list[_Event]:
        """What it brings. Raises InvalidRequest."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _malformed() from None
        events, self._events = self._events, []
        return events

    def _on_header_begin(self) -> None:
        self._name = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value

    def _on_headers_finished(self) -> None:
        self._events.append(_head(self._headers))

    def _on_end(self) -> None:
        self.ended = True


class _Reading:
    """A form on its way."""

    def __init__(self, file: str, parts: _Parts, staged: Staged) -> None:
        self._file = file
        self._parts = parts
        self._staged = staged
        self._part: _Part | None = None
        self._found: FormFile | None = None
        self._fields: dict[str, bytes] = {}
        self._field_bytes = 0

    @property
    def size(self) -> int:
        """Bytes of the file, so far."""
        return self._staged.bytes

    async def take(self, piece: bytes) -> None:
        """Raises InvalidRequest, StorageFull, Unavailable."""
        for event in self._parts.take(piece):
            if isinstance(event, _Part):
                self._begin(event)
            elif event is None:
                self._part = None
            elif self._part is not None and self._part.name == self._file:
                await self._staged.write(event)
            elif self._part is not None:
                self._add(self._part.name, event)

    def _begin(self, part: _Part) -> None:
        self._part = part
        if part.name == self._file:
            if self._found is not None:
                raise InvalidRequest(
                    f"The form has more than one '{self._file}'. Send one file a request.",
                    param=self._file,
                    code="invalid_value",
                )
            self._found = FormFile(self._staged, part.filename)
            return
        if part.filename is not None:
            raise InvalidRequest(f"Unrecognized request argument supplied: {part.name[:64]}")
        if part.name in self._fields:
            raise InvalidRequest(
                f"The parameter '{part.name[:64]}' is there twice.", param=part.name[:64], code="invalid_value"
            )
        if len(self._fields) == MOST_FIELDS:
            raise InvalidRequest(f"The form has more than {MOST_FIELDS} fields.")
        self._fields[part.name] = b""

    def _add(self, name: str, piece: bytes) -> None:
        self._field_bytes += len(piece)
        if self._field_bytes > LARGEST_FIELDS:
            raise InvalidRequest(f"The form's fields have more than {LARGEST_FIELDS} bytes, without the file.")
        self._fields[name] += piece

    def whole(self) -> Filled:
        """Nothing more comes. Raises InvalidRequest."""
        if not self._parts.ended:
            raise _malformed()
        if self._found is None:
            raise base.missing(self._file)
        if not self._staged.bytes:
            raise InvalidRequest("The file is empty. Send one with content.", param=self._file, code="empty_file")
        return Filled(msgspec.json.encode(_nested(self._fields)), self._found)


def _boundary(content_type: str, content_encoding: str) -> bytes:
    """Raises InvalidRequest."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        shown = kind.encode("ascii", "replace").decode()
        raise InvalidRequest(
            f"Unsupported content type: {shown!r}. This API method only accepts 'multipart/form-data' requests, but "
            f"you specified the header 'Content-Type: {shown}'. Please try again with a supported content type.",
            code="unsupported_content_type",
        )
    if content_encoding.strip().lower() not in ("", "identity"):
        raise InvalidRequest(
            "Unsupported content encoding. Send the form without compression.", code="unsupported_content_encoding"
        )
    boundary = _parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise InvalidRequest(
            f"The Content-Type of the form has no boundary of 1 to {LONGEST_BOUNDARY} characters. Let your HTTP "
            "library set the header.",
            code="unsupported_content_type",
        )
    return boundary.encode()


def _parameters(header: str) -> Mapping[str, str]:
    """Of `kind; name=value; name="value"`. The first of a name counts."""
    found: dict[str, str] = {}
    for name, quoted, bare in _HEADER.findall(header):
        found.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) or bare)
    return found


def _head(headers: Mapping[bytes, bytes]) -> _Part:
    """Raises InvalidRequest."""
    disposition = headers.get(b"content-disposition", b"").decode("utf-8", "replace")
    parameters = _parameters(disposition)
    name = parameters.get("name")
    if disposition.partition(";")[0].strip().lower() != "form-data" or not name:
        raise InvalidRequest("A part of the form has no name: no `Content-Disposition: form-data; name=...`.")
    encoding = headers.get(b"content-transfer-encoding", b"binary").strip().lower()
    if encoding not in (b"binary", b"8bit", b"7bit"):
        raise InvalidRequest("A part of the form has a transfer encoding. Send its bytes as they are.")
    filename = parameters.get("filename")
    if (extended := parameters.get("filename*")) is not None:
        filename = _extended(extended) or filename
    return _Part(name, None if filename is None else filename.replace("%22", '"'))


def _extended(value: str) -> str | None:
    """`UTF-8''na%C3%AFve.txt` (RFC 5987)."""
    charset, _, rest = value.partition("'")
    if charset.lower() not in ("utf-8", "iso-8859-1", "us-ascii"):
        return None
    try:
        return unquote_to_bytes(rest.partition("'")[2]).decode(charset)
    except UnicodeDecodeError:
        return None


def _nested(fields: Mapping[str, bytes]) -> dict[str, Any]:
    """`expires_after[seconds]` becomes a member of `expires_after`; a value that is an object of JSON is one, which is
    OpenAPI's own way to write it. Raises InvalidRequest."""
    plain: dict[str, Any] = {}
    nested: dict[str, dict[str, str]] = {}
    for name, raw in fields.items():
        match = _FIELD.fullmatch(name)
        if match is None:
            raise InvalidRequest(f"Unrecognized request argument supplied: {name[:64]}")
        outer, inner = match.groups()
        try:
            if inner is not None:
                nested.setdefault(outer, {})[inner] = raw.decode()
            else:
                plain[outer] = msgspec.json.decode(raw) if raw.startswith(b"{") else raw.decode()
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            raise InvalidRequest(
                f"Invalid '{name}': neither text nor JSON.", param=name, code="invalid_value"
            ) from None
    for outer in nested.keys() & plain.keys():
        raise InvalidRequest(f"The parameter '{outer}' is there twice.", param=outer, code="invalid_value")
    return plain | nested


def _malformed() -> InvalidRequest:
    return InvalidRequest(
        "Could not parse multipart form: its parts do not stand between the boundaries that its Content-Type names, or "
        "it ends in the middle. Let your HTTP library write the body.",
        code="invalid_multipart",
    )
