"""Rate limits of projects. Source: ProjectRateLimit, ProjectRateLimitUpdateRequest."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from homeport.wire.fields import Limit, Request


class ProjectRateLimit(Struct, kw_only=True):
    """Absent: no limit; of the two that the description requires, 0 says so.

    max_tokens_per_1_day and max_concurrent_requests are our own.
    """

    id: str
    model: str
    max_requests_per_1_minute: int = 0
    max_tokens_per_1_minute: int = 0
    max_images_per_1_minute: int | UnsetType = UNSET
    max_audio_megabytes_per_1_minute: int | UnsetType = UNSET
    max_requests_per_1_day: int | UnsetType = UNSET
    max_tokens_per_1_day: int | UnsetType = UNSET
    max_concurrent_requests: int | UnsetType = UNSET
    batch_1_day_max_input_tokens: int | UnsetType = UNSET
    object: Literal["project.rate_limit"] = "project.rate_limit"


class ProjectRateLimitOrigin(Struct):
    """Of Homeport: where a limit comes from. tier: what the project's tier says; own: what the project has in place of
    it, null where nothing. Members are those of `project.rate_limit`; absent: no limit."""

    id: str
    model: str
    tier: dict[str, int]
    own: dict[str, int] | None
    object: Literal["project.rate_limit.origin"] = "project.rate_limit.origin"


class Tier(Struct):
    """Of Homeport. default: of projects that have none of their own, by now."""

    id: str
    default: bool
    object: Literal["tier"] = "tier"


class TierList(Struct):
    data: list[Tier]
    object: Literal["list"] = "list"


class ProjectRateLimitUpdateRequest(Request):
    """What is left out stays."""

    max_requests_per_1_minute: Limit | None = None
    max_tokens_per_1_minute: Limit | None = None
    max_images_per_1_minute: Limit | None = None
    max_audio_megabytes_per_1_minute: Limit | None = None
    max_requests_per_1_day: Limit | None = None
    max_tokens_per_1_day: Limit | None = None
    max_concurrent_requests: Limit | None = None
    batch_1_day_max_input_tokens: Limit | None = None
