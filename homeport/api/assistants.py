"""`/v1/assistants`, and Azure's `/openai/assistants`."""

from collections.abc import Sequence

from homeport.api.beta import ASSISTANTS_V2
from homeport.api.resources import Asked, Operation
from homeport.control.assistants import Assistants as Rules
from homeport.wire.assistants import Assistant, CreateAssistantRequest, ModifyAssistantRequest
from homeport.wire.fields import Deleted, Page

ASSISTANTS = "/v1/assistants"
ASSISTANT = f"{ASSISTANTS}/{{assistant_id}}"
READ, WRITE = "assistants.read", "assistants.write"
PAGES = ("limit", "order", "after", "before")
#: Of 128 tools with their schemas, beside the longest instructions.
LARGEST = 16 * 2**20


class Assistants:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        create, modify = CreateAssistantRequest, ModifyAssistantRequest
        v2 = ASSISTANTS_V2
        return [
            Operation("POST", ASSISTANTS, self.create, body=create, largest=LARGEST, scope=WRITE, beta=v2),
            Operation("GET", ASSISTANTS, self.list, query=PAGES, scope=READ, beta=v2),
            Operation("GET", ASSISTANT, self.retrieve, scope=READ, beta=v2),
            Operation("POST", ASSISTANT, self.modify, body=modify, largest=LARGEST, scope=WRITE, beta=v2),
            Operation("DELETE", ASSISTANT, self.delete, scope=WRITE, beta=v2),
        ]

    async def create(self, asked: Asked) -> Assistant:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[Assistant]:
        return await self._rules.list(asked.who, asked.window(descending=True))

    async def retrieve(self, asked: Asked) -> Assistant:
        return await self._rules.retrieve(asked.who, asked.path["assistant_id"])

    async def modify(self, asked: Asked) -> Assistant:
        return await self._rules.modify(asked.who, asked.path["assistant_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.path["assistant_id"])
