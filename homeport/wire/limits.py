"""How full limits and budgets are. Ours: OpenAI tells it in the headers of an answer alone."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.wire.admin_usage import Amount, Names


class LimitsParameters(Struct, kw_only=True):
    """limit: of projects. after: the id of one."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None
    project_ids: Names | None = None
    models: Names | None = None


class RateLimitFill(Struct, kw_only=True):
    """name: as in `project.rate_limit`. model: the family that is counted together. api_key_id: of the key whose own
    limit it is; null: the project's. used, remaining: as the headers would say it. reset_seconds: until nothing of it
    is used; null for what counts until it has ended."""

    object: Literal["homeport.rate_limit"] = "homeport.rate_limit"
    name: str
    model: str
    api_key_id: str | None
    limit: int
    used: float
    remaining: int
    reset_seconds: float | None


class BudgetFill(Struct, kw_only=True):
    """spent: with what requests that run have reserved. begins_anew: unix seconds; null: never."""

    object: Literal["homeport.budget"] = "homeport.budget"
    scope: str
    api_key_id: str | None
    interval: str
    limit: Amount
    spent: Amount
    remaining: Amount
    begins_anew: int | None


class ProjectLimits(Struct, kw_only=True):
    """id: the project's."""

    object: Literal["homeport.project_limits"] = "homeport.project_limits"
    id: str
    rate_limits: list[RateLimitFill]
    budgets: list[BudgetFill]
