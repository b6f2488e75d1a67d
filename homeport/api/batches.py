"""`/v1/batches`, and Azure's `/openai/batches`."""

from collections.abc import Sequence
from dataclasses import replace

from homeport.api.resources import Asked, Operation
from homeport.control.batches import Batches as Rules
from homeport.wire.batches import Batch, CreateAzureBatchRequest, CreateBatchRequest
from homeport.wire.fields import Page

BATCHES = "/v1/batches"
BATCH = f"{BATCHES}/{{batch_id}}"
READ, WRITE = "batch.read", "batch.write"


class Batches:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        return [
            Operation("POST", BATCHES, self.create, body=CreateBatchRequest, scope=WRITE),
            Operation("GET", BATCHES, self.list, query=("after", "limit"), scope=READ),
            Operation("GET", BATCH, self.retrieve, scope=READ),
            Operation("POST", f"{BATCH}/cancel", self.cancel, scope=WRITE),
        ]

    def azure_operations(self) -> Sequence[Operation]:
        """The same, with Azure's spelling of endpoints."""
        return [
            replace(one, body=CreateAzureBatchRequest) if one.body is CreateBatchRequest else one
            for one in self.operations()
        ]

    async def create(self, asked: Asked) -> Batch:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[Batch]:
        """The newest first."""
        return await self._rules.list(asked.who, replace(asked.window(), descending=True))

    async def retrieve(self, asked: Asked) -> Batch:
        return await self._rules.retrieve(asked.who, asked.path["batch_id"])

    async def cancel(self, asked: Asked) -> Batch:
        return await self._rules.cancel(asked.who, asked.path["batch_id"])
