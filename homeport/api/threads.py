"""`/v1/threads` and the messages in them, and Azure's `/openai/threads`; ours: `/v1/homeport/threads`, their list."""

from collections.abc import Sequence

from homeport.api.beta import ASSISTANTS_V2
from homeport.api.resources import Asked, Operation
from homeport.control.messages import Messages
from homeport.control.threads import Threads as Rules
from homeport.wire.fields import Deleted, Page
from homeport.wire.threads import (
    CreateMessageRequest,
    CreateThreadRequest,
    ListedThread,
    Message,
    ModifyMessageRequest,
    ModifyThreadRequest,
    Thread,
)

THREADS = "/v1/threads"
#: OpenAI has no such list.
LISTED = "/v1/homeport/threads"
THREAD = f"{THREADS}/{{thread_id}}"
MESSAGES = f"{THREAD}/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"
READ, WRITE = "threads.read", "threads.write"
PAGES = ("limit", "order", "after", "before")
#: Of some long messages at once; of one.
LARGEST_THREAD, LARGEST_MESSAGE = 32 * 2**20, 4 * 2**20


class Threads:
    def __init__(self, rules: Rules, messages: Messages) -> None:
        self._rules = rules
        self._messages = messages

    def operations(self) -> Sequence[Operation]:
        thread, message, v2 = CreateThreadRequest, CreateMessageRequest, ASSISTANTS_V2
        listed, most = (*PAGES, "run_id"), LARGEST_MESSAGE
        return [
            Operation("POST", THREADS, self.create, body=thread, largest=LARGEST_THREAD, scope=WRITE, beta=v2),
            Operation("GET", LISTED, self.list, query=PAGES, scope=READ),
            Operation("GET", THREAD, self.retrieve, scope=READ, beta=v2),
            Operation("POST", THREAD, self.modify, body=ModifyThreadRequest, scope=WRITE, beta=v2),
            Operation("DELETE", THREAD, self.delete, scope=WRITE, beta=v2),
            Operation("POST", MESSAGES, self.create_message, body=message, largest=most, scope=WRITE, beta=v2),
            Operation("GET", MESSAGES, self.list_messages, query=listed, scope=READ, beta=v2),
            Operation("GET", MESSAGE, self.retrieve_message, scope=READ, beta=v2),
            Operation("POST", MESSAGE, self.modify_message, body=ModifyMessageRequest, scope=WRITE, beta=v2),
            Operation("DELETE", MESSAGE, self.delete_message, scope=WRITE, beta=v2),
        ]

    async def create(self, asked: Asked) -> Thread:
        return await self._rules.create(asked.who, asked.body)

    async def list(self, asked: Asked) -> Page[ListedThread]:
        return await self._rules.list(asked.who, asked.window(descending=True))

    async def retrieve(self, asked: Asked) -> Thread:
        return await self._rules.retrieve(asked.who, _thread(asked))

    async def modify(self, asked: Asked) -> Thread:
        return await self._rules.modify(asked.who, _thread(asked), asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _thread(asked))

    async def create_message(self, asked: Asked) -> Message:
        return await self._messages.create(asked.who, _thread(asked), asked.body)

    async def list_messages(self, asked: Asked) -> Page[Message]:
        window = asked.window(descending=True)
        return await self._messages.list(asked.who, _thread(asked), window, asked.text("run_id"))

    async def retrieve_message(self, asked: Asked) -> Message:
        return await self._messages.retrieve(asked.who, _thread(asked), asked.path["message_id"])

    async def modify_message(self, asked: Asked) -> Message:
        return await self._messages.modify(asked.who, _thread(asked), asked.path["message_id"], asked.body)

    async def delete_message(self, asked: Asked) -> Deleted:
        return await self._messages.delete(asked.who, _thread(asked), asked.path["message_id"])


def _thread(asked: Asked) -> str:
    return asked.path["thread_id"]
