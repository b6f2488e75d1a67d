"""Chat completions that are kept: what is read of their request, and what their owners see.

Source: ChatCompletionList, ChatCompletionMessageList and ChatCompletionDeleted, and the examples of their operations,
which show more of a request than the schema of the answer has.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from homeport.wire.chat import Metadata, check_sought_metadata
from homeport.wire.fields import Request

DELETED = "chat.completion.deleted"


class StoredRequest(Struct):
    """Of a request, whoever answers it, what is kept."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    metadata: Metadata | None = None
    tool_choice: Any = None
    tools: Any = None
    response_format: Any = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        check_sought_metadata(self.metadata)

    def shown(self) -> dict[str, Any]:
        """Beside the answer, as OpenAI's examples have it."""
        return {
            "tool_choice": self.tool_choice,
            "tools": self.tools,
            "response_format": self.response_format,
            "seed": self.seed,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "presence_penalty": self.presence_penalty or 0.0,
            "frequency_penalty": self.frequency_penalty or 0.0,
            "input_user": self.user,
        }


class UpdateChatCompletion(Request):
    metadata: Metadata | None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        check_sought_metadata(self.metadata)


def messages_of(completion_id: str, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a request, with ids."""
    return [_message(f"{completion_id}-{place}", message) for place, message in enumerate(messages)]


def _message(message_id: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """`content` is text; of what came in parts, `content_parts` has them."""
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    text = content if parts is None else None
    return {"id": message_id, "name": None, **message, "content": text, "content_parts": parts}
