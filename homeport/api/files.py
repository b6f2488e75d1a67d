"""`/v1/files`."""

from collections.abc import Sequence
from functools import partial

from starlette.responses import Response

from homeport.api.downloads import download
from homeport.api.multipart import Form
from homeport.api.resources import Asked, Operation
from homeport.control.files import Files as Rules
from homeport.wire.fields import Deleted, Page
from homeport.wire.files import CreateFileRequest, OpenAIFile

MOST_LISTED = 10_000


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
        return await download(asked, content, partial(self._rules.read, content))
