"""`/v1/vector_stores`, and Azure's `/openai/vector_stores`."""

from collections.abc import Sequence

from starlette.responses import Response

from homeport.api.json import json_answer
from homeport.api.resources import Asked, Operation
from homeport.control.vector_store_batches import VectorStoreBatches
from homeport.control.vector_store_files import VectorStoreFiles
from homeport.control.vector_stores import VectorStores as Rules
from homeport.wire.base import unsupported_value
from homeport.wire.fields import Deleted, Page
from homeport.wire.vector_stores import (
    STATUSES,
    CreateVectorStoreFileBatchRequest,
    CreateVectorStoreFileRequest,
    CreateVectorStoreRequest,
    UpdateVectorStoreFileAttributesRequest,
    UpdateVectorStoreRequest,
    VectorStore,
    VectorStoreFile,
    VectorStoreFileBatch,
    VectorStoreFileContent,
)

STORES = "/v1/vector_stores"
STORE = f"{STORES}/{{vector_store_id}}"
FILES = f"{STORE}/files"
FILE = f"{FILES}/{{file_id}}"
BATCHES = f"{STORE}/file_batches"
BATCH = f"{BATCHES}/{{batch_id}}"
READ, WRITE = "vector_stores.read", "vector_stores.write"
PAGES = ("limit", "order", "after", "before")
#: Of 2,000 files, each with the longest attributes in ASCII.
LARGEST_BATCH = 24 * 2**20
#: The SDK's `create_and_poll` looks again after so long; without a word of ours, after a second.
POLL_MS = 200


class VectorStores:
    def __init__(self, rules: Rules, files: VectorStoreFiles, batches: VectorStoreBatches) -> None:
        self._rules = rules
        self._files = files
        self._batches = batches

    def operations(self) -> Sequence[Operation]:
        filtered = (*PAGES, "filter")
        of_files, of_batch = CreateVectorStoreFileRequest, CreateVectorStoreFileBatchRequest
        update = UpdateVectorStoreFileAttributesRequest
        return [
            Operation("POST", STORES, self.create, body=CreateVectorStoreRequest, scope=WRITE),
            Operation("GET", STORES, self.list, query=PAGES, scope=READ),
            Operation("GET", STORE, self.retrieve, scope=READ),
            Operation("POST", STORE, self.modify, body=UpdateVectorStoreRequest, scope=WRITE),
            Operation("DELETE", STORE, self.delete, scope=WRITE),
            Operation("POST", FILES, self.create_file, body=of_files, scope=WRITE),
            Operation("GET", FILES, self.list_files, query=filtered, scope=READ),
            Operation("GET", FILE, self.retrieve_file, scope=READ),
            Operation("POST", FILE, self.update_file, body=update, scope=WRITE),
            Operation("DELETE", FILE, self.delete_file, scope=WRITE),
            Operation("GET", f"{FILE}/content", self.content, scope=READ),
            Operation("POST", BATCHES, self.create_batch, body=of_batch, largest=LARGEST_BATCH, scope=WRITE),
            Operation("GET", BATCH, self.retrieve_batch, scope=READ),
            Operation("GET", f"{BATCH}/files", self.list_batch_files, query=filtered, scope=READ),
            Operation("POST", f"{BATCH}/cancel", self.cancel_batch, scope=WRITE),
        ]

    async def create(self, asked: Asked) -> VectorStore:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[VectorStore]:
        return await self._rules.list(asked.who, asked.window(descending=True))

    async def retrieve(self, asked: Asked) -> VectorStore:
        return await self._rules.retrieve(asked.who, _store(asked))

    async def modify(self, asked: Asked) -> VectorStore:
        return await self._rules.modify(asked.who, _store(asked), asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _store(asked))

    async def create_file(self, asked: Asked) -> VectorStoreFile:
        return await self._files.create(asked.who, _store(asked), asked.body)

    async def list_files(self, asked: Asked) -> Page[VectorStoreFile]:
        return await self._files.list(asked.who, _store(asked), asked.window(descending=True), _filter(asked))

    async def retrieve_file(self, asked: Asked) -> Response:
        return _polled(await self._files.retrieve(asked.who, _store(asked), asked.path["file_id"]))

    async def update_file(self, asked: Asked) -> VectorStoreFile:
        return await self._files.update(asked.who, _store(asked), asked.path["file_id"], asked.body.attributes)

    async def delete_file(self, asked: Asked) -> Deleted:
        return await self._files.delete(asked.who, _store(asked), asked.path["file_id"])

    async def content(self, asked: Asked) -> VectorStoreFileContent:
        return await self._files.content(asked.who, _store(asked), asked.path["file_id"])

    async def create_batch(self, asked: Asked) -> VectorStoreFileBatch:
        return await self._batches.create(asked.who, _store(asked), asked.body)

    async def retrieve_batch(self, asked: Asked) -> Response:
        return _polled(await self._batches.retrieve(asked.who, _store(asked), asked.path["batch_id"]))

    async def list_batch_files(self, asked: Asked) -> Page[VectorStoreFile]:
        window, batch_id = asked.window(descending=True), asked.path["batch_id"]
        return await self._batches.files(asked.who, _store(asked), batch_id, window, _filter(asked))

    async def cancel_batch(self, asked: Asked) -> VectorStoreFileBatch:
        return await self._batches.cancel(asked.who, _store(asked), asked.path["batch_id"])


def _store(asked: Asked) -> str:
    return asked.path["vector_store_id"]


def _filter(asked: Asked) -> str | None:
    """Of a status. Raises InvalidRequest."""
    value = asked.text("filter")
    if value is not None and value not in STATUSES:
        raise unsupported_value("filter", value, " and ".join(f"'{one}'" for one in STATUSES))
    return value


def _polled(value: object) -> Response:
    answer = json_answer(value)
    answer.headers["openai-poll-after-ms"] = str(POLL_MS)
    return answer
