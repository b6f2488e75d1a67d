"""The latest requests. Ours: OpenAI has no list of them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.wire.admin_usage import Names, Second


class RequestsParameters(Struct, kw_only=True):
    """start_time: inclusive; end_time: exclusive; both of when a request began. models: as they were asked for. after:
    the id of a request."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None
    start_time: Second | None = None
    end_time: Second | None = None
    project_ids: Names | None = None
    api_key_ids: Names | None = None
    models: Names | None = None
    endpoints: Names | None = None
    outcomes: list[Literal["completed", "failed", "left", "killed"]] | None = None
