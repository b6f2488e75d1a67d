"""`/v1/containers`, and Azure's `/openai/containers`."""

from collections.abc import Sequence
from functools import partial

from starlette.responses import Response

from homeport.api.downloads import download
from homeport.api.multipart import Form
from homeport.api.resources import Asked, Operation
from homeport.control.containers import Containers as Rules
from homeport.errors import InvalidRequest
from homeport.wire.base import missing
from homeport.wire.containers import Container, ContainerFile, CreateContainerFileRequest, CreateContainerRequest
from homeport.wire.fields import Deleted, Page

CONTAINERS = "/v1/containers"
CONTAINER = f"{CONTAINERS}/{{container_id}}"
FILES = f"{CONTAINER}/files"
FILE = f"{FILES}/{{file_id}}"
READ, WRITE = "responses.read", "responses.write"
PAGES = ("limit", "order", "after")


class Containers:
    def __init__(self, rules: Rules, form: Form) -> None:
        """form: of a file, which is optional."""
        self._rules = rules
        self._form = form

    def operations(self) -> Sequence[Operation]:
        of_file = CreateContainerFileRequest
        return [
            Operation("POST", CONTAINERS, self.create, body=CreateContainerRequest, scope=WRITE),
            Operation("GET", CONTAINERS, self.list, query=(*PAGES, "name"), scope=READ),
            Operation("GET", CONTAINER, self.retrieve, scope=READ),
            Operation("DELETE", CONTAINER, self.delete, scope=WRITE),
            Operation("POST", FILES, self.create_file, body=of_file, form=self._form, or_json=True, scope=WRITE),
            Operation("GET", FILES, self.list_files, query=PAGES, scope=READ),
            Operation("GET", FILE, self.retrieve_file, scope=READ),
            Operation("DELETE", FILE, self.delete_file, scope=WRITE),
            Operation("GET", f"{FILE}/content", self.content, scope=READ),
        ]

    async def create(self, asked: Asked) -> Container:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[Container]:
        return await self._rules.list(asked.who, asked.window(descending=True), asked.text("name"))

    async def retrieve(self, asked: Asked) -> Container:
        return await self._rules.retrieve(asked.who, _container(asked))

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _container(asked))

    async def create_file(self, asked: Asked) -> ContainerFile:
        """Raises InvalidRequest: neither a file nor an id, or both."""
        file_id = asked.body.file_id
        if asked.file is not None:
            if file_id is not None:
                raise InvalidRequest("Send 'file' or 'file_id', not both.", param="file_id", code="invalid_value")
            return await self._rules.add_file(asked.who, _container(asked), asked.file.filename, asked.file.staged)
        if file_id is None:
            raise missing("file_id")
        return await self._rules.copy_file(asked.who, _container(asked), file_id)

    async def list_files(self, asked: Asked) -> Page[ContainerFile]:
        return await self._rules.list_files(asked.who, _container(asked), asked.window(descending=True))

    async def retrieve_file(self, asked: Asked) -> ContainerFile:
        return await self._rules.retrieve_file(asked.who, _container(asked), asked.path["file_id"])

    async def delete_file(self, asked: Asked) -> Deleted:
        return await self._rules.delete_file(asked.who, _container(asked), asked.path["file_id"])

    async def content(self, asked: Asked) -> Response:
        content = await self._rules.content(asked.who, _container(asked), asked.path["file_id"])
        return await download(asked, content, partial(self._rules.read, content.digest))


def _container(asked: Asked) -> str:
    return asked.path["container_id"]
