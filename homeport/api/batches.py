"""`/v1/batches`, and Azure's `/openai/batches`."""

from collections.abc import Sequence

from homeport.api.resources import Asked, Operation
from homeport.control.batches import Batches as Rules
from homeport.wire.batches import Batch, CreateBatchRequest
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

    async def create(self, asked: Asked) -> Batch:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[Batch]:
        """The newest first."""
        return await self._rules.list(asked.who, asked.window(descending=True))

    async def retrieve(self, asked: Asked) -> Batch:
        return await self._rules.retrieve(asked.who, asked.path["batch_id"])

    async def cancel(self, asked: Asked) -> Batch:
        return await self._rules.cancel(asked.who, asked.path["batch_id"])
