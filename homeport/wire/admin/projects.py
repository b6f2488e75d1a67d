"""Projects, and which models they may use. Source: Project, ProjectCreateRequest, ProjectModelPermissions."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from homeport.errors import UnsupportedParameter
from homeport.wire.fields import ModelName, Name, Request

_ELSEWHERE = "Data is kept where Homeport runs, and nowhere else. Leave it out."


class Project(Struct):
    """tier: of its rate limits (not in the description); null: the tier of the settings."""

    id: str
    name: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]
    tier: str | None
    object: Literal["organization.project"] = "organization.project"


class ProjectCreateRequest(Request):
    name: Name
    residency: str | None = None
    geography: str | None = None
    external_key_id: str | None = None

    refused = dict.fromkeys(("residency", "geography", "external_key_id"), _ELSEWHERE)

    def __post_init__(self) -> None:
        _refuse_elsewhere(self)


class ProjectUpdateRequest(Request):
    name: Name | None = None
    external_key_id: str | None = None

    refused = dict.fromkeys(("external_key_id",), _ELSEWHERE)

    def __post_init__(self) -> None:
        _refuse_elsewhere(self)


class ProjectTierRequest(Request):
    """Of Homeport. tier: `trial`, `1` to `5`, or whatever the settings name; null: the tier of the settings."""

    tier: Annotated[str, Meta(max_length=64)] | None


class ProjectModelPermissions(Struct):
    mode: Literal["allow_list", "deny_list"]
    model_ids: list[str]
    object: Literal["project.model_permissions"] = "project.model_permissions"


class ProjectModelPermissionsUpdateRequest(Request):
    mode: Literal["allow_list", "deny_list"]
    model_ids: Annotated[list[ModelName], Meta(max_length=1000)]


class ProjectModelPermissionsDeleted(Struct):
    """deleted: whether there were any."""

    deleted: bool
    object: Literal["project.model_permissions.deleted"] = "project.model_permissions.deleted"


class ModerationConfig(Request):
    """As ModerationConfigParam of a chat's `moderation`; only `block` is done here."""

    mode: Literal["block"]


class ModerationPolicy(Request):
    """As ModerationPolicyParam; null: not moderated."""

    input: ModerationConfig | None = None
    output: ModerationConfig | None = None


class ProjectModeration(Struct):
    """Of Homeport, in the words of ModerationParam. threshold: null: where the model flags."""

    model: str
    policy: ModerationPolicy
    threshold: float | None
    object: Literal["project.moderation"] = "project.moderation"


class ProjectModerationUpdateRequest(Request):
    policy: ModerationPolicy
    model: ModelName | None = None
    threshold: Annotated[float, Meta(gt=0, le=1)] | None = None


class ProjectModerationDeleted(Struct):
    """deleted: whether the project had a rule of its own."""

    deleted: bool
    object: Literal["project.moderation.deleted"] = "project.moderation.deleted"


def _refuse_elsewhere(request: Request) -> None:
    """What places data elsewhere: it all stays where Homeport runs. Raises UnsupportedParameter."""
    for name, why in request.refused.items():
        if getattr(request, name) is not None:
            raise UnsupportedParameter(f"Unsupported parameter: '{name}'. {why}", param=name)
