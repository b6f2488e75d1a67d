"""Stored chat completions: `/v1/chat/completions` to list them, and what is below it; Azure's `/openai` as well."""

from collections.abc import Sequence
from typing import Any

from homeport.api.resources import Asked, Operation
from homeport.control.chat_completions import ChatCompletions as Rules
from homeport.wire.fields import Deleted, Page
from homeport.wire.stored_completions import UpdateChatCompletion

COMPLETIONS = "/v1/chat/completions"
COMPLETION = f"{COMPLETIONS}/{{completion_id}}"
READ, WRITE = "chat.completions.read", "chat.completions.write"
PAGES = ("after", "limit", "order")


class ChatCompletions:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        return [
            Operation("GET", COMPLETIONS, self.list, query=(*PAGES, "model", "metadata[*]"), scope=READ),
            Operation("GET", COMPLETION, self.retrieve, scope=READ),
            Operation("POST", COMPLETION, self.update, body=UpdateChatCompletion, scope=WRITE),
            Operation("DELETE", COMPLETION, self.delete, scope=WRITE),
            Operation("GET", f"{COMPLETION}/messages", self.messages, query=PAGES, scope=READ),
        ]

    async def list(self, asked: Asked) -> Page[dict[str, Any]]:
        """The oldest first."""
        pairs = asked.members("metadata")
        return await self._rules.list(asked.who, asked.window(), model=asked.text("model"), metadata=pairs)

    async def retrieve(self, asked: Asked) -> dict[str, Any]:
        return await self._rules.retrieve(asked.who, _completion(asked))

    async def update(self, asked: Asked) -> dict[str, Any]:
        return await self._rules.update(asked.who, _completion(asked), asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _completion(asked))

    async def messages(self, asked: Asked) -> Page[dict[str, Any]]:
        return await self._rules.messages(asked.who, _completion(asked), asked.window())


def _completion(asked: Asked) -> str:
    return asked.path["completion_id"]
