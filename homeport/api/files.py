"""`/v1/files`."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from starlette.responses import Response

from homeport.api.multipart import Form
from homeport.api.resources import Asked, Operation
from homeport.api.streamed import Streamed
from homeport.control.files import Content
from homeport.control.files import Files as Rules
from homeport.errors import RangeNotSatisfiable
from homeport.wire.fields import Deleted, Page
from homeport.wire.files import CreateFileRequest, OpenAIFile

MOST_LISTED = 10_000
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Files:
    def __init__(self, rules: Rules, form: Form) -> None:
        self._rules = rules
        self._form = form

    def operations(self) -> Sequence[Operation]:
        files, file = "/v1/files", "/v1/files/{file_id}"
        pages = ("purpose", "limit", "after", "order")
        read, write = "files.read", "files.write"
        return [
            Operation("POST", files, self.create, body=CreateFileRequest, form=self._form, scope=write),
            Operation("GET", files, self.list, query=pages, scope=read),
            Operation("GET", file, self.retrieve, scope=read),
            Operation("DELETE", file, self.delete, scope=write),
            Operation("GET", f"{file}/content", self.content, scope=read),
        ]

    async def create(self, asked: Asked) -> OpenAIFile:
        assert asked.file is not None
        return await self._rules.create(asked.who, asked.body, asked.file.filename, asked.file.staged)

    async def list(self, asked: Asked) -> Page[OpenAIFile]:
        window = asked.window(default=MOST_LISTED, most=MOST_LISTED, descending=True)
        return await self._rules.list(asked.who, window, asked.text("purpose"))

    async def retrieve(self, asked: Asked) -> OpenAIFile:
        return await self._rules.retrieve(asked.who, asked.path["file_id"])

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.path["file_id"])

    async def content(self, asked: Asked) -> Response:
        content = await self._rules.content(asked.who, asked.path["file_id"])
        headers = _headers(content)
        if asked.headers.get("if-none-match", "").strip() in (headers["etag"], "*"):
            return Response(status_code=304, headers=headers)
        wanted = None
        if asked.headers.get("if-range", headers["etag"]) == headers["etag"]:
            wanted = _range(asked.headers.get("range", ""), content.bytes)
        begin, end = wanted or (0, content.bytes)
        if wanted is not None:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{content.bytes}"
        headers["content-length"] = str(end - begin)
        status = 200 if wanted is None else 206
        if asked.head or begin == end:
            return Response(status_code=status, headers=headers)
        pieces = self._rules.read(content, begin, end)
        return Streamed(await anext(pieces), pieces, status, headers)


def _headers(content: Content) -> dict[str, str]:
    """For a browser, too, it is a download, whatever is in it."""
    plain = "".join(one if one.isascii() and one not in '"\\%' else "_" for one in content.filename)
    extended = "" if plain == content.filename else f"; filename*=UTF-8''{quote(content.filename, safe='')}"
    return {
        "content-type": "application/octet-stream",
        "content-disposition": f'attachment; filename="{plain}"{extended}',
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{content.digest}"',
    }


def _range(header: str, size: int) -> tuple[int, int] | None:
    """From one byte up to and without another. None: all, the answer to whatever is no single range (RFC 9110).

    Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(size - int(last), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise RangeNotSatisfiable.of(size)
    return begin, end
