"""Conversations. Source: ConversationResource, CreateConversationBody, UpdateConversationBody,
createConversationItems. What is in them is in items.py.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.fields import Request

#: Items of one request.
MOST_ITEMS = 20

#: Read by items.read.
Items = Annotated[list[dict[str, Any]], Meta(max_length=MOST_ITEMS)]


class CreateConversationBody(Request):
    metadata: Metadata | None = None
    items: Items | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class UpdateConversationBody(Request):
    """What there was is gone; null: there is none."""

    metadata: Metadata | None

    def __post_init__(self) -> None:
        check_metadata(self.metadata)


class CreateConversationItems(Request):
    items: Items


class Conversation(Struct, kw_only=True):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: Metadata
