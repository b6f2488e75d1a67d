"""Pictures that an edit names and does not bring: data URLs, URLs and files of the project. They become files beside
the request, as those of a form are, so that everything behind sees one shape.

Source: EditImageBodyJsonParam.
"""

import asyncio
import logging
import re
from binascii import Error, a2b_base64
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from homeport.backends.capabilities import Attached
from homeport.backends.fetcher import Fetcher, NotFetched
from homeport.control import files as project_files
from homeport.control.files import Files
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.wire import base
from homeport.wire.ambiguity import check_names
from homeport.wire.images import (
    DEFAULT_JSON_MODEL,
    CreateImageEditRequest,
    EditImageBodyJsonParam,
    ImageRefParam,
    kind_of,
)

log = logging.getLogger("homeport")

#: The scope of a key that reads the project's files.
READ_FILES = "files.read"
#: Pictures of a request that are brought at the same time.
AT_ONCE = 4
#: Characters of base64 that are decoded at once, in a thread: a multiple of four.
_PIECE = 2**19
#: Bytes that tell what a picture is.
_HEAD = 16
_DATA_URL = re.compile(r"data:[^,]{0,200}?(?P<base64>;base64)?,", re.IGNORECASE | re.DOTALL)

_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_references = msgspec.json.Decoder(EditImageBodyJsonParam)
_fields = msgspec.json.Decoder(CreateImageEditRequest)


class Brought(NamedTuple):
    """As of a form. body: JSON, in which objects stand for the files (Call.body)."""

    body: bytes
    attached: tuple[Attached, ...]


class _Wanted(NamedTuple):
    """field: of the form that the request would be; param: where the client has written it."""

    field: str
    param: str
    reference: ImageRefParam


class ImageReferences:
    def __init__(self, fetcher: Fetcher, files: Files, blobs: Blobs, *, largest: int, most_fetched: int) -> None:
        """largest: bytes of a picture; most_fetched: of all of a request that are given by URL."""
        self._fetcher: Final = fetcher
        self._files: Final = files
        self._blobs: Final = blobs
        self._largest = largest
        self._most_fetched = most_fetched

    @asynccontextmanager
    async def brought(
        self, owner: Owner, body: bytes, *, model: str | None, may: Callable[[str], None], request_id: str
    ) -> AsyncGenerator[Brought, None]:
        """The pictures lie on this disk until the block ends. model: where the path says it. may: raises
        PermissionDenied where whoever asks lacks a scope: to name a file is to read it.

        Raises InvalidRequest, NotFound, StorageFull, Unavailable, too.
        """
        members = base.decode(_map, body)
        check_names(body, members)
        if "image" in members:
            raise InvalidRequest("Unrecognized request argument supplied: image")
        asked = base.decode(_references, body)
        wanted = [_Wanted("image", f"images[{at}]", one) for at, one in enumerate(asked.images)]
        if asked.mask is not None:
            wanted.append(_Wanted("mask", "mask", asked.mask))
        if any(one.reference.file_id is not None for one in wanted):
            may(READ_FILES)
        async with AsyncExitStack() as stack:
            attached = await self._attached(owner, wanted, stack, request_id)
            standing = [{"filename": one.filename, "bytes": one.bytes, "sha256": one.digest} for one in attached]
            count = len(asked.images)
            fields: dict[str, Any] = {name: one for name, one in members.items() if name not in ("images", "mask")}
            fields["image"] = standing[:count]
            if standing[count:]:
                fields["mask"] = standing[count]
            if model is None and asked.model is None:
                fields["model"] = DEFAULT_JSON_MODEL
            encoded = msgspec.json.encode(fields)
            base.decode(_fields, encoded)
            yield Brought(encoded, attached)

    async def _attached(
        self, owner: Owner, wanted: list[_Wanted], stack: AsyncExitStack, request_id: str
    ) -> tuple[Attached, ...]:
        room = asyncio.Semaphore(AT_ONCE)
        left = self._most_fetched
        found: dict[int, Attached] = {}

        async def bring(at: int, one: _Wanted, staged: Staged) -> None:
            nonlocal left
            async with room:
                name, fetched = await self._write(owner, one, staged, request_id)
            left -= fetched
            if left < 0:
                raise _refused(
                    f"The images of this request that are given by URL are larger than {self._most_fetched // 2**20} "
                    "MiB together. Send fewer, or smaller ones.",
                    one.param,
                )
            if not staged.bytes:
                raise InvalidRequest("The image is empty. Send one with content.", param=one.param, code="empty_file")
            await staged.finish()
            found[at] = Attached(one.field, name, staged.bytes, staged.digest, staged.path)

        try:
            async with asyncio.TaskGroup() as group:
                for at, one in enumerate(wanted):
                    group.create_task(bring(at, one, await stack.enter_async_context(self._blobs.staged())))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return tuple([found[at] for at in range(len(wanted))])

    async def _write(self, owner: Owner, one: _Wanted, staged: Staged, request_id: str) -> tuple[str, int]:
        """A name for the file, and bytes of it that were fetched."""
        url, file_id = one.reference.image_url, one.reference.file_id
        if (url is None) == (file_id is None):
            raise InvalidRequest(
                f"Invalid '{one.param}': expected exactly one of 'image_url' and 'file_id'.",
                param=one.param,
                code="invalid_value",
            )
        if file_id is not None:
            return await self._from_file(owner, file_id, f"{one.param}.file_id", staged), 0
        assert url is not None
        param = f"{one.param}.image_url"
        if url[:5].lower() == "data:":
            return await self._from_data(url, param, staged), 0
        try:
            fetched = await self._fetcher.get(url)
        except NotFetched as problem:
            if problem.reason:
                log.info("%s: image not fetched from %s", request_id, problem.reason)
            raise _refused(str(problem), param) from None
        self._check(len(fetched.body), param)
        await staged.write(fetched.body)
        return _name(fetched.body), len(fetched.body)

    async def _from_file(self, owner: Owner, file_id: str, param: str, staged: Staged) -> str:
        content = await self._files.find(owner, file_id, param=param)
        self._check(content.bytes, param)
        async with aclosing(self._files.read(content, 0, content.bytes)) as pieces:
            async for piece in pieces:
                await staged.write(piece)
        return content.filename

    async def _from_data(self, url: str, param: str, staged: Staged) -> str:
        found = _DATA_URL.match(url)
        if found is None:
            raise _refused("The image's data URL has no comma before its data.", param)
        data = url[found.end() :]
        self._check(len(data) * 3 // 4 if found["base64"] else len(data) // 3, param)
        head = b""
        try:
            if not found["base64"]:
                await staged.write(head := await asyncio.to_thread(unquote_to_bytes, data))
            elif "%" in data:  # of a URL, after all
                await staged.write(head := await asyncio.to_thread(a2b_base64, unquote_to_bytes(data)))
            else:
                for place in range(0, len(data), _PIECE):
                    piece = await asyncio.to_thread(a2b_base64, data[place : place + _PIECE], strict_mode=True)
                    head = head or piece[:_HEAD]
                    await staged.write(piece)
        except (Error, ValueError):
            raise _refused("The image's data URL is no base64.", param) from None
        self._check(staged.bytes, param)
        return _name(head)

    def _check(self, size: int, param: str) -> None:
        if size > self._largest:
            raise _refused(
                f"The image has more than {self._largest / 2**20:g} MiB, the most that is taken here.", param
            )


def _name(head: bytes) -> str:
    """As nobody has named it. head: how its bytes begin."""
    kind = kind_of(head)
    return f"image.{kind}" if kind is not None else project_files.UNNAMED


def _refused(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_image_url")
