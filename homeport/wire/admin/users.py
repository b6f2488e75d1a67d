"""People, in the organization and in projects. Source: User, ProjectUser."""

from typing import Literal

from msgspec import Struct

from homeport.errors import InvalidRequest, UnsupportedParameter
from homeport.wire.fields import Email, Identifier, Request

OrganizationRole = Literal["owner", "reader"]
ProjectRole = Literal["owner", "member"]


class User(Struct):
    id: str
    name: str | None
    email: str
    role: str
    added_at: int
    object: Literal["organization.user"] = "organization.user"


class UserRoleUpdateRequest(Request):
    role: OrganizationRole | None = None
    role_id: str | None = None
    technical_level: str | None = None
    developer_persona: str | None = None

    refused = dict.fromkeys(
        ("role_id", "technical_level", "developer_persona"),
        "A user has a 'role' here and nothing beside it. Leave it out.",
    )

    def __post_init__(self) -> None:
        for name, why in self.refused.items():
            if getattr(self, name) is not None:
                raise UnsupportedParameter(f"Unsupported parameter: '{name}'. {why}", param=name)


class ProjectUser(Struct):
    id: str
    name: str | None
    email: str
    role: str
    added_at: int
    object: Literal["organization.project.user"] = "organization.project.user"


class ProjectUserCreateRequest(Request):
    role: ProjectRole
    user_id: Identifier | None = None
    email: Email | None = None

    def __post_init__(self) -> None:
        if (self.user_id is None) == (self.email is None):
            raise InvalidRequest("Provide one of 'user_id' and 'email'.", param="user_id")


class ProjectUserUpdateRequest(Request):
    role: ProjectRole | None = None
