"""What the Admin API's objects are made of: names, addresses, ids, amounts, and the page that lists come in."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from msgspec import Meta, Struct

T = TypeVar("T")

#: A line of text that says something: no control characters, not blank.
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]*$")]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")]
Identifier = Annotated[str, Meta(max_length=256, pattern=r"^[!-~]+$")]
ModelName = Annotated[str, Meta(max_length=256, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
#: `api.model.request` as OpenAI writes it, or without the `api.`.
Scope = Annotated[str, Meta(max_length=100, pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]
#: Seconds that a key lives; a year at most.
Life = Annotated[int, Meta(ge=1, le=31_536_000)]
#: Requests, tokens, images or megabytes. Never 0: who may not use a model at all is refused it by `model_permissions`.
Limit = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
#: Tokens of anything: more than any model takes, and less than columns hold.
MOST_TOKENS = 2**40
#: Cents. Nine million dollars are what a column of whole picodollars holds.
MOST_CENTS = 900_000_000


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """A body. A member that the description does not have is refused. refused: those that it has and that are nowhere
    honoured here -> why, and what to do instead."""

    refused: ClassVar[Mapping[str, str]] = {}


class Page(Struct, Generic[T]):
    """A part of a list. has_more: in the direction that was asked for."""

    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"

    @classmethod
    def of(cls, data: list[T], *, has_more: bool) -> "Page[T]":
        """data: objects with an `id`."""
        named: list[Any] = data
        return cls(data, has_more, named[0].id if named else None, named[-1].id if named else None)


class Deleted(Struct):
    """object: what was deleted, `organization.invite.deleted`."""

    object: str
    id: str
    deleted: bool = True
