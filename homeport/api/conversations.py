"""`/v1/conversations`, and what a response was made from; the same below Azure's `/openai`."""

from collections.abc import Sequence

from homeport.api.resources import Asked, Operation
from homeport.control.conversations import Conversations as Rules
from homeport.control.response_items import ResponseItems
from homeport.wire.base import unsupported_value
from homeport.wire.conversations import (
    Conversation,
    CreateConversationBody,
    CreateConversationItems,
    UpdateConversationBody,
)
from homeport.wire.fields import Deleted, Page
from homeport.wire.items import INCLUDES, Item

CONVERSATIONS = "/v1/conversations"
CONVERSATION = f"{CONVERSATIONS}/{{conversation_id}}"
ITEMS = f"{CONVERSATION}/items"
ITEM = f"{ITEMS}/{{item_id}}"
INPUT_ITEMS = "/v1/responses/{response_id}/input_items"
READ, WRITE = "responses.read", "responses.write"
INCLUDE = "include[]"
PAGES = ("limit", "order", "after", INCLUDE)


class Conversations:
    def __init__(self, rules: Rules, response_items: ResponseItems, *, largest: int) -> None:
        """largest: bytes of a body."""
        self._rules = rules
        self._response_items = response_items
        self._largest = largest

    def operations(self) -> Sequence[Operation]:
        new, more, largest = CreateConversationBody, CreateConversationItems, self._largest
        return [
            Operation("POST", CONVERSATIONS, self.create, body=new, largest=largest, scope=WRITE),
            Operation("GET", CONVERSATION, self.retrieve, scope=READ),
            Operation("POST", CONVERSATION, self.update, body=UpdateConversationBody, scope=WRITE),
            Operation("DELETE", CONVERSATION, self.delete, scope=WRITE),
            Operation("POST", ITEMS, self.add_items, body=more, query=(INCLUDE,), largest=largest, scope=WRITE),
            Operation("GET", ITEMS, self.list_items, query=PAGES, scope=READ),
            Operation("GET", ITEM, self.retrieve_item, query=(INCLUDE,), scope=READ),
            Operation("DELETE", ITEM, self.delete_item, scope=WRITE),
            Operation("GET", INPUT_ITEMS, self.list_input_items, query=PAGES, scope=READ),
        ]

    async def create(self, asked: Asked) -> Conversation:
        return await self._rules.create(asked.who, asked.body)

    async def retrieve(self, asked: Asked) -> Conversation:
        return await self._rules.retrieve(asked.who, _conversation(asked))

    async def update(self, asked: Asked) -> Conversation:
        return await self._rules.update(asked.who, _conversation(asked), asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _conversation(asked))

    async def add_items(self, asked: Asked) -> Page[Item]:
        return await self._rules.add_items(asked.who, _conversation(asked), asked.body, _include(asked))

    async def list_items(self, asked: Asked) -> Page[Item]:
        window = asked.window(descending=True)
        return await self._rules.list_items(asked.who, _conversation(asked), window, _include(asked))

    async def retrieve_item(self, asked: Asked) -> Item:
        return await self._rules.retrieve_item(asked.who, _conversation(asked), asked.path["item_id"], _include(asked))

    async def delete_item(self, asked: Asked) -> Conversation:
        return await self._rules.delete_item(asked.who, _conversation(asked), asked.path["item_id"])

    async def list_input_items(self, asked: Asked) -> Page[Item]:
        window = asked.window(descending=True)
        return await self._response_items.list(asked.who, asked.path["response_id"], window, _include(asked))


def _conversation(asked: Asked) -> str:
    return asked.path["conversation_id"]


def _include(asked: Asked) -> list[str]:
    """Raises InvalidRequest."""
    chosen = asked.texts(INCLUDE)
    for at, name in enumerate(chosen):
        if name not in INCLUDES:
            raise unsupported_value(f"include[{at}]", name, ", ".join(f"'{one}'" for one in INCLUDES))
    return chosen
