"""Service accounts of projects. Source: ProjectServiceAccount, ProjectServiceAccountCreateResponse."""

from typing import Literal

from msgspec import Struct

from homeport.errors import InvalidRequest
from homeport.wire.admin.api_keys import Scopes
from homeport.wire.fields import Life, Name, Request

Role = Literal["owner", "member", "none"]


class ProjectServiceAccount(Struct):
    """role: `none` may do nothing until it is given another."""

    id: str
    name: str
    role: Role
    created_at: int
    object: Literal["organization.project.service_account"] = "organization.project.service_account"


class ProjectServiceAccountApiKey(Struct):
    """value: the key itself, here and never again."""

    value: str
    name: str
    created_at: int
    id: str
    object: Literal["organization.project.service_account.api_key"] = "organization.project.service_account.api_key"


class ProjectServiceAccountCreateResponse(Struct):
    id: str
    name: str
    role: Role
    created_at: int
    api_key: ProjectServiceAccountApiKey | None
    object: Literal["organization.project.service_account"] = "organization.project.service_account"


class ProjectServiceAccountCreateRequest(Request):
    name: Name
    create_service_account_only: bool | None = None
    expires_in_seconds: Life | None = None

    def __post_init__(self) -> None:
        if self.create_service_account_only and self.expires_in_seconds is not None:
            raise InvalidRequest(
                "'expires_in_seconds' is only allowed when a key is created: leave it out, or "
                "'create_service_account_only'.",
                param="expires_in_seconds",
                code="invalid_value",
            )


class ProjectServiceAccountUpdateRequest(Request):
    name: Name | None = None
    role: Literal["member", "owner"] | None = None


class ProjectServiceAccountApiKeyCreateRequest(Request):
    """scopes: none, or an empty list, restrict nothing."""

    name: Name | None = None
    scopes: Scopes | None = None
    expires_in_seconds: Life | None = None
