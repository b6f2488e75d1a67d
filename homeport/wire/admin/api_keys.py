"""API keys of the organization and of projects. Source: AdminApiKey, ProjectApiKey; the SDK's api_keys.update.

What the description has no word for (models, rate limits, rotation) is under `/v1/homeport`; a project's key shows it
in members of its own beside OpenAI's.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.errors import InvalidRequest
from homeport.wire.fields import Identifier, Life, Limit, ModelName, Name, Request, Scope

Scopes = Annotated[list[Scope], Meta(max_length=100)]
Models = Annotated[list[ModelName], Meta(min_length=1, max_length=1000)]
#: Until the year 9999.
Moment = Annotated[int, Meta(ge=1, le=253_402_300_799)]


class AdminApiKeyOwner(Struct):
    """The user behind a key; of a key that nobody in particular has, every member is absent."""

    type: Literal["user"] | UnsetType = UNSET
    object: Literal["organization.user"] | UnsetType = UNSET
    id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    created_at: int | UnsetType = UNSET
    role: str | UnsetType = UNSET


class AdminApiKey(Struct, kw_only=True):
    """value: the key itself, in the answer that creates it and never again."""

    id: str
    name: str
    redacted_value: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    owner: AdminApiKeyOwner
    value: str | UnsetType = UNSET
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"


class AdminApiKeyCreateRequest(Request):
    name: Name
    expires_in_seconds: Life | UnsetType = UNSET


class ProjectApiKeyOwnerUser(Struct):
    """role: in the project; `none` once the user has left it."""

    id: str
    email: str
    name: str
    created_at: int
    role: str


class ProjectApiKeyOwnerServiceAccount(Struct):
    id: str
    name: str
    created_at: int
    role: str


class ProjectApiKeyOwner(Struct):
    """Without any member: the key is nobody's in particular."""

    type: Literal["user", "service_account"] | UnsetType = UNSET
    user: ProjectApiKeyOwnerUser | UnsetType = UNSET
    service_account: ProjectApiKeyOwnerServiceAccount | UnsetType = UNSET


class KeyRateLimits(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Limits of a key's own, beside its project's: a subset of the members of `project.rate_limit`."""

    max_requests_per_1_minute: Limit | None = None
    max_tokens_per_1_minute: Limit | None = None
    max_images_per_1_minute: Limit | None = None
    max_audio_megabytes_per_1_minute: Limit | None = None
    max_requests_per_1_day: Limit | None = None
    max_tokens_per_1_day: Limit | None = None
    max_concurrent_requests: Limit | None = None
    batch_1_day_max_input_tokens: Limit | None = None


class ProjectApiKey(Struct, kw_only=True):
    """scopes, models, rate_limits: null where nothing is restricted. replaced_by: the key after it. value: in the
    answer that creates it alone."""

    id: str
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner_project_access: Literal["active", "inactive"]
    owner: ProjectApiKeyOwner
    scopes: list[str] | None
    models: list[str] | None
    rate_limits: dict[str, int] | None
    replaced_by: str | None
    value: str | UnsetType = UNSET
    object: Literal["organization.project.api_key"] = "organization.project.api_key"


class ScopeListed(Struct):
    """Of Homeport: what a key may be restricted to."""

    id: str
    object: Literal["scope"] = "scope"


class ScopeList(Struct):
    data: list[ScopeListed]
    object: Literal["list"] = "list"


class ProjectApiKeyUpdateRequest(Request):
    """scopes: an empty list lifts every restriction."""

    scopes: Scopes | UnsetType = UNSET
    expires_in_seconds: Life | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.scopes is UNSET and self.expires_in_seconds is UNSET:
            raise InvalidRequest("Provide at least one of 'scopes' and 'expires_in_seconds'.", param="scopes")


class ProjectApiKeyCreateRequest(Request):
    """Of Homeport. user_id: a user of the project, whose key it is."""

    name: Name
    scopes: Scopes | None = None
    models: Models | None = None
    rate_limits: KeyRateLimits | None = None
    expires_at: Moment | None = None
    expires_in_seconds: Life | None = None
    user_id: Identifier | None = None

    def __post_init__(self) -> None:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise InvalidRequest(
                "Setting 'expires_at' and 'expires_in_seconds' at the same time is not supported. Send one of them.",
                param="expires_at",
                code="invalid_value",
            )


class ProjectApiKeyModifyRequest(Request):
    """Of Homeport. What is left out stays; null lifts a restriction."""

    name: Name | UnsetType = UNSET
    scopes: Scopes | UnsetType | None = UNSET
    models: Models | UnsetType | None = UNSET
    rate_limits: KeyRateLimits | UnsetType | None = UNSET


class ProjectApiKeyRotateRequest(Request):
    """Of Homeport. overlap_seconds: how long the old key goes on beside the new one."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=31_536_000)] = 86_400
    expires_in_seconds: Life | UnsetType = UNSET
