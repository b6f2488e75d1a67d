"""The bytes of a stored file as an answer: whole, a range of them, or nothing where the client has them already."""

import re
from collections.abc import AsyncGenerator, Callable
from urllib.parse import quote

from starlette.responses import Response

from homeport.api.resources import Asked
from homeport.api.streamed import Streamed
from homeport.control.files import Content
from homeport.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def download(asked: Asked, content: Content, read: Callable[[int, int], AsyncGenerator[bytes, None]]) -> Response:
    """read: bytes from one up to and without another. Raises RangeNotSatisfiable, and what reading raises."""
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
    pieces = read(begin, end)
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
