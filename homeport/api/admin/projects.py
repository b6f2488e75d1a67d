"""`/v1/organization/projects`, their model permissions, and their tier under `/v1/homeport`."""

from collections.abc import Sequence

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.projects import Projects as Rules
from homeport.wire.admin.projects import (
    Project,
    ProjectCreateRequest,
    ProjectModelPermissions,
    ProjectModelPermissionsDeleted,
    ProjectModelPermissionsUpdateRequest,
    ProjectModeration,
    ProjectModerationDeleted,
    ProjectModerationUpdateRequest,
    ProjectTierRequest,
    ProjectUpdateRequest,
)
from homeport.wire.fields import Page


class Projects:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        projects = f"{ORGANIZATION}/projects"
        project = ORGANIZATION + PROJECT
        permissions = f"{project}/model_permissions"
        moderation = f"{HOMEPORT}{PROJECT}/moderation"
        return [
            Operation("GET", projects, self.list, query=("limit", "after", "include_archived")),
            Operation("POST", projects, self.create, body=ProjectCreateRequest),
            Operation("GET", project, self.retrieve),
            Operation("POST", project, self.modify, body=ProjectUpdateRequest),
            Operation("POST", f"{project}/archive", self.archive),
            Operation("GET", permissions, self.model_permissions),
            Operation("POST", permissions, self.set_model_permissions, body=ProjectModelPermissionsUpdateRequest),
            Operation("DELETE", permissions, self.delete_model_permissions),
            Operation("POST", HOMEPORT + PROJECT, self.set_tier, body=ProjectTierRequest),
            Operation("GET", moderation, self.moderation),
            Operation("POST", moderation, self.set_moderation, body=ProjectModerationUpdateRequest),
            Operation("DELETE", moderation, self.delete_moderation),
        ]

    async def list(self, asked: Asked) -> Page[Project]:
        return await self._rules.list(asked.window(), include_archived=asked.flag("include_archived"))

    async def create(self, asked: Asked) -> Project:
        return await self._rules.create(asked.who, asked.body)

    async def retrieve(self, asked: Asked) -> Project:
        return await self._rules.retrieve(asked.project_id)

    async def modify(self, asked: Asked) -> Project:
        return await self._rules.modify(asked.who, asked.project_id, asked.body)

    async def archive(self, asked: Asked) -> Project:
        return await self._rules.archive(asked.who, asked.project_id)

    async def model_permissions(self, asked: Asked) -> ProjectModelPermissions:
        return await self._rules.model_permissions(asked.project_id)

    async def set_model_permissions(self, asked: Asked) -> ProjectModelPermissions:
        return await self._rules.set_model_permissions(asked.who, asked.project_id, asked.body)

    async def delete_model_permissions(self, asked: Asked) -> ProjectModelPermissionsDeleted:
        return await self._rules.delete_model_permissions(asked.who, asked.project_id)

    async def set_tier(self, asked: Asked) -> Project:
        body: ProjectTierRequest = asked.body
        return await self._rules.set_tier(asked.who, asked.project_id, body.tier)

    async def moderation(self, asked: Asked) -> ProjectModeration:
        return await self._rules.moderation(asked.project_id)

    async def set_moderation(self, asked: Asked) -> ProjectModeration:
        return await self._rules.set_moderation(asked.who, asked.project_id, asked.body)

    async def delete_moderation(self, asked: Asked) -> ProjectModerationDeleted:
        return await self._rules.delete_moderation(asked.who, asked.project_id)
