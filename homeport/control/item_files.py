"""Files that items name or bring, as a model can have them: pictures as data URLs, all others as their text.

Source: InputImageContent, InputFileContent. Documents are read by documents/reader.py, in a process of their own.
"""

import asyncio
import re
from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec
from msgspec import UNSET

from homeport.control.files import UNNAMED, Content, Files
from homeport.control.owners import Owner
from homeport.documents.document import UnreadableFile
from homeport.documents.reader import Reader
from homeport.errors import InvalidRequest
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.wire.images import kind_of
from homeport.wire.items import FunctionCallOutput, InputFile, InputImage, InputText, Item, Message, Part

#: Bytes of the files of one request: of all pictures together, and of one other file. Who names one twice sends it
#: twice.
MOST_PICTURES, LARGEST_FILE = 50 * 2**20, 50 * 2**20
#: Characters of the texts of all other files together.
MOST_TEXT = 50 * 2**20
#: `code` of what refuses pictures that are too many bytes.
TOO_LARGE = "image_too_large"
#: Characters of base64 that are decoded at once, in a thread: a multiple of four.
_PIECE = 2**19
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


class ItemFiles:
    def __init__(self, files: Files, blobs: Blobs, reader: Reader) -> None:
        self._files: Final = files
        self._blobs: Final = blobs
        self._reader: Final = reader

    async def brought(self, owner: Owner, told: Sequence[Item], *, param: str = "input") -> list[Item]:
        """The same items, with the files in them. param: the request's member that they are of.

        Raises InvalidRequest, NotFound, StorageFull, ContentMissing, Unavailable.
        """
        bringing = _Bringing(self, owner, param)
        return [await bringing.item(item) for item in told]

    async def picture(self, owner: Owner, file_id: str, *, param: str, most: int = MOST_PICTURES) -> str:
        """A data URL. Raises InvalidRequest: it is no picture, or has more than `most` bytes; NotFound."""
        content = await self._files.find(owner, file_id, param=param)
        if content.bytes > most:
            raise _too_large(file_id, param)
        data = await self._whole(content)
        kind = kind_of(data)
        if kind is None:
            raise InvalidRequest(
                f"The file {file_id} is no picture that models take: PNG, JPEG, WebP or GIF.",
                param=param,
                code="invalid_image_format",
            )
        encoded = await asyncio.to_thread(b64encode, data)
        return f"data:image/{kind};base64,{encoded.decode()}"

    async def text_of_file(self, owner: Owner, file_id: str, *, param: str) -> tuple[str, str]:
        """Its name, and its text. Raises InvalidRequest: there is none in it; NotFound."""
        content = await self._files.find(owner, file_id, param=param)
        _check_size(content.bytes, param)
        async with self._blobs.staged() as staged:
            async with aclosing(self._files.read(content, 0, content.bytes)) as pieces:
                async for piece in pieces:
                    await staged.write(piece)
            return content.filename, await self._text(staged, content.filename, param)

    async def text_of_data(self, data: str, filename: str, *, param: str) -> str:
        """data: a data URL, or base64. Raises InvalidRequest: it is neither, or there is no text in it."""
        found = _DATA_URL.match(data)
        begin = found.end() if found is not None else 0
        _check_size((len(data) - begin) * 3 // 4, param)
        async with self._blobs.staged() as staged:
            try:
                for place in range(begin, len(data), _PIECE):
                    piece = data[place : place + _PIECE]
                    await staged.write(await asyncio.to_thread(a2b_base64, piece, strict_mode=True))
            except (Error, ValueError):
                raise InvalidRequest(
                    f"Invalid '{param}': expected base64, or a data URL of it: `data:application/pdf;base64,...`.",
                    param=param,
                    code="invalid_value",
                ) from None
            return await self._text(staged, filename, param)

    async def _text(self, staged: Staged, filename: str, param: str) -> str:
        await staged.finish()
        try:
            document = await self._reader.read(staged.path, filename)
        except UnreadableFile as error:
            raise InvalidRequest(error.message, param=param, code=error.code) from None
        return document.text

    async def _whole(self, content: Content) -> bytes:
        data = bytearray()
        async with aclosing(self._files.read(content, 0, content.bytes)) as pieces:
            async for piece in pieces:
                data += piece
        return bytes(data)


class _Bringing:
    """Of one request: a file that is named twice is read once."""

    def __init__(self, files: ItemFiles, owner: Owner, param: str) -> None:
        self._files = files
        self._owner = owner
        self._param = param
        self._left = MOST_PICTURES
        self._text_left = MOST_TEXT
        self._pictures: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    async def item(self, item: Item) -> Item:
        if isinstance(item, Message):
            return msgspec.structs.replace(item, content=[await self._part(part) for part in item.content])
        if isinstance(item, FunctionCallOutput) and not isinstance(item.output, str):
            return msgspec.structs.replace(item, output=[await self._part(part) for part in item.output])
        return item

    async def _part(self, part: Part) -> Part:
        if isinstance(part, InputImage) and part.file_id is not None:
            return msgspec.structs.replace(part, file_id=None, image_url=await self._picture(part.file_id))
        if isinstance(part, InputFile):
            return InputText(text=await self._text(part), prompt_cache_breakpoint=part.prompt_cache_breakpoint)
        return part

    async def _picture(self, file_id: str) -> str:
        url = self._pictures.get(file_id)
        if url is None:
            url = await self._files.picture(self._owner, file_id, param=self._param, most=self._left)
            self._pictures[file_id] = url
        self._left -= len(url) * 3 // 4
        if self._left < 0:
            raise _too_large(file_id, self._param)
        return url

    async def _text(self, part: InputFile) -> str:
        """The file's name stands before what is in it."""
        text = await self._read(part)
        self._text_left -= len(text)
        if self._text_left < 0:
            raise InvalidRequest(
                f"The texts of the files have more than {MOST_TEXT} characters together, the most that is read into a "
                "prompt. Put them into a vector store, and let the model search there.",
                param=self._param,
                code="file_too_large",
            )
        return text

    async def _read(self, part: InputFile) -> str:
        if part.file_id is None:
            assert part.file_data is not UNSET, "read() lets no other through"
            name = part.filename or UNNAMED
            return f"{name}\n\n{await self._files.text_of_data(part.file_data, name, param=self._param)}"
        if part.file_id not in self._texts:
            name, text = await self._files.text_of_file(self._owner, part.file_id, param=self._param)
            self._texts[part.file_id] = f"{name}\n\n{text}"
        return self._texts[part.file_id]


def _too_large(file_id: str, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"With the picture {file_id} there are too many bytes: those of one request may have "
        f"{MOST_PICTURES // 2**20} MiB together. Send fewer, or smaller ones.",
        param=param,
        code=TOO_LARGE,
    )


def _check_size(size: int, param: str) -> None:
    if size > LARGEST_FILE:
        raise InvalidRequest(
            f"The file has more than {LARGEST_FILE // 2**20} MiB, the most that is read into a prompt. Put it into a "
            "vector store, and let the model search there.",
            param=param,
            code="file_too_large",
        )
