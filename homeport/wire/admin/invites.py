"""Invites to the organization. Source: Invite, InviteRequest."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.wire.admin.users import OrganizationRole, ProjectRole
from homeport.wire.fields import Email, Identifier, Name, Request


class InviteProject(Struct, forbid_unknown_fields=True):
    id: Identifier
    role: ProjectRole


class Invite(Struct, kw_only=True):
    id: str
    email: str
    role: str
    status: Literal["accepted", "expired", "pending"]
    created_at: int
    expires_at: int
    accepted_at: int | None
    projects: list[InviteProject]
    object: Literal["organization.invite"] = "organization.invite"


class InviteRequest(Request):
    """projects: what is joined with the organization; left out: the default project, as a member."""

    email: Email
    role: OrganizationRole
    projects: Annotated[list[InviteProject], Meta(max_length=100)] | None = None


class InviteAcceptRequest(Request):
    """Of Homeport, which sends no mail: who runs it accepts for those invited. name: what the user is called."""

    name: Name | None = None
