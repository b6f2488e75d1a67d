"""A form with files in it (multipart/form-data), read as it comes: files go to the disk, the fields to JSON.

Memory does not grow with a file: a piece is written before the next one is asked for, so a sender is never faster
than the disk. Source: RFC 7578; names of files as browsers, curl and the SDKs write them, and as RFC 5987 has them.
"""

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
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
#: `expires_after` or `expires_after[seconds]`; `include[]` of a list.
_FIELD = re.compile(r"(\w{1,64})(?:\[(\w{0,64})\])?", re.ASCII)

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it could not read


@dataclass(frozen=True)
class FormFile:
    """filename: as the client calls it, and it may be anything; None where it has no name."""

    staged: Staged
    filename: str | None


@dataclass(frozen=True)
class Filled:
    """A form that came whole. fields: an object of JSON, whose values are texts, lists and objects of texts. files: by
    the name of their part, in their order; of the first name there is one, unless the form's are optional."""

    fields: bytes
    files: Mapping[str, Sequence[FormFile]]

    @property
    def file(self) -> FormFile | None:
        """The first."""
        return next((file for files in self.files.values() for file in files), None)

    @property
    def identity(self) -> bytes:
        """The same of the same form sent again, whatever its boundary is."""
        files = [(name, file.filename, file.staged.digest) for name, those in self.files.items() for file in those]
        return msgspec.json.encode([msgspec.Raw(self.fields), *files])


class Form:
    """What one operation takes."""

    def __init__(
        self,
        *files: str,
        largest: int,
        staged: Callable[[], AbstractAsyncContextManager[Staged]],
        several: Mapping[str, int] | None = None,
        optional: bool = False,
        lists: Collection[str] = (),
        hint: str = "",
        most_fields: int = MOST_FIELDS,
        largest_fields: int = LARGEST_FIELDS,
    ) -> None:
        """files: names of their parts; the first must be there, unless they are optional. largest: bytes of one.
        several: of which there may be so many, as `name` or `name[]`; one of the others. lists: fields that are lists,
        each item a part of its own. hint: where more may go. most_fields: items of lists count; largest_fields: bytes
        of all together."""
        self._files: Final = {name: (several or {}).get(name, 1) for name in files}
        self._largest = largest
        self._most = largest * sum(self._files.values()) + LARGEST_REST + largest_fields
        self._most_fields = most_fields
        self._largest_fields = largest_fields
        self._staged = staged
        self._optional = optional
        self._lists = frozenset(lists)
        self._hint = hint

    @property
    def parts(self) -> Collection[str]:
        """Names of its files."""
        return self._files

    @asynccontextmanager
    async def read(self, request: Request, receive: Receive) -> AsyncGenerator[Filled | None, None]:
        """The form, whose files are on this disk until the block ends; None when the client left meanwhile.

        A form that is wrong is read to its end before it is refused: many clients listen only once they have sent all.
        Raises InvalidRequest, BodyTooLarge, StorageFull.
        """
        boundary = _boundary(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
        length = int(request.headers.get("content-length", 0))
        if length > self._most:
            raise self._too_large(length)
        async with AsyncExitStack() as files:
            reading = _Reading(
                self._files,
                self._lists,
                _Parts(boundary),
                lambda: files.enter_async_context(self._staged()),
                most_fields=self._most_fields,
                largest_fields=self._largest_fields,
            )
            came = await self._came_whole(reading, receive, length)
            yield reading.whole(optional=self._optional) if came else None

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
            if reading.size > self._largest or read > self._most:
                raise self._too_large(max(length, read))
        if refusal is not None:
            raise refusal
        return True

    def _too_large(self, size: int) -> BodyTooLarge:
        name, count = next(iter(self._files.items()))
        return BodyTooLarge(
            f"The request's body of {size} bytes is too large: {'each ' if count > 1 else ''}'{name}' may have "
            f"{self._largest / 2**20:g} MiB at most.{self._hint and f' {self._hint}'}",
            param=name,
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
    """A form on its way. size: bytes of the file that is coming, or came last, so far."""

    def __init__(
        self,
        files: Mapping[str, int],
        lists: Collection[str],
        parts: _Parts,
        stage: Callable[[], Awaitable[Staged]],
        *,
        most_fields: int,
        largest_fields: int,
    ) -> None:
        self._most = files
        self._lists = lists
        self._parts = parts
        self._stage = stage
        self._most_fields = most_fields
        self._largest_fields = largest_fields
        self._part: _Part | None = None
        self._staged: Staged | None = None
        self._files: dict[str, list[FormFile]] = {}
        self._fields: dict[str, list[bytes]] = {}
        self._field_bytes = 0

    @property
    def size(self) -> int:
        return self._staged.bytes if self._staged is not None else 0

    async def take(self, piece: bytes) -> None:
        """Raises InvalidRequest, StorageFull, Unavailable."""
        for event in self._parts.take(piece):
            if isinstance(event, _Part):
                await self._begin(event)
            elif event is None:
                self._part = None
            elif self._part is not None and self._file_of(self._part.name) is not None:
                assert self._staged is not None, "its part has begun"
                await self._staged.write(event)
            elif self._part is not None:
                self._add(self._part.name, event)

    def _file_of(self, part: str) -> str | None:
        """Which file a part is: of several, `image` and `image[]` are the same."""
        name = part.removesuffix("[]")
        return name if name in self._most and (name == part or self._most[name] > 1) else None

    async def _begin(self, part: _Part) -> None:
        self._part = part
        name = self._file_of(part.name)
        if name is not None:
            there = self._files.setdefault(name, [])
            if len(there) == (most := self._most[name]):
                raise InvalidRequest(
                    f"The form has more than {'one' if most == 1 else most} '{name}'. Send "
                    f"{'one file' if most == 1 else 'fewer files'} a request.",
                    param=name,
                    code="invalid_value",
                )
            self._staged = await self._stage()
            there.append(FormFile(self._staged, part.filename))
            return
        if part.filename is not None:
            raise InvalidRequest(f"Unrecognized request argument supplied: {part.name[:64]}")
        items = self._fields.setdefault(part.name, [])
        if items and part.name.removesuffix("[]") not in self._lists:
            raise InvalidRequest(
                f"The parameter '{part.name[:64]}' is there twice.", param=part.name[:64], code="invalid_value"
            )
        if sum(map(len, self._fields.values())) == self._most_fields:
            raise InvalidRequest(f"The form has more than {self._most_fields} fields.")
        items.append(b"")

    def _add(self, name: str, piece: bytes) -> None:
        self._field_bytes += len(piece)
        if self._field_bytes > self._largest_fields:
            raise InvalidRequest(f"The form's fields have more than {self._largest_fields} bytes, without the files.")
        self._fields[name][-1] += piece

    def whole(self, *, optional: bool) -> Filled:
        """Nothing more comes. optional: there need be no file. Raises InvalidRequest."""
        if not self._parts.ended:
            raise _malformed()
        if (first := next(iter(self._most))) not in self._files and not optional:
            raise base.missing(first)
        for name, files in self._files.items():
            if not all(file.staged.bytes for file in files):
                raise InvalidRequest("The file is empty. Send one with content.", param=name, code="empty_file")
        return Filled(msgspec.json.encode(_nested(self._fields, self._lists)), self._files)


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


def _nested(fields: Mapping[str, Sequence[bytes]], lists: Collection[str]) -> dict[str, Any]:
    """`expires_after[seconds]` becomes a member of `expires_after`, and `include[]` an item of `include`, which is one
    of `lists`; a value that is an object of JSON is one, which is OpenAPI's own way to write it. Raises
    InvalidRequest."""
    plain: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, items in fields.items():
        match = _FIELD.fullmatch(name)
        if match is None or (match[2] == "" and match[1] not in lists):
            raise InvalidRequest(f"Unrecognized request argument supplied: {name[:64]}")
        outer, inner = match.groups()
        values = [_value(name, raw) for raw in items]
        if outer in lists:
            plain.setdefault(outer, []).extend(values)
        elif inner is not None:
            nested.setdefault(outer, {})[inner] = values[0]
        else:
            plain[outer] = values[0]
    for outer in nested.keys() & plain.keys():
        raise InvalidRequest(f"The parameter '{outer}' is there twice.", param=outer, code="invalid_value")
    return plain | nested


def _value(name: str, raw: bytes) -> Any:
    """Raises InvalidRequest."""
    try:
        return msgspec.json.decode(raw) if raw.startswith(b"{") else raw.decode()
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"Invalid '{name}': neither text nor JSON.", param=name, code="invalid_value") from None


def _malformed() -> InvalidRequest:
    return InvalidRequest(
        "Could not parse multipart form: its parts do not stand between the boundaries that its Content-Type names, or "
        "it ends in the middle. Let your HTTP library write the body.",
        code="invalid_multipart",
    )
