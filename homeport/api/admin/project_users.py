"""`/v1/organization/projects/{project_id}/users`."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.project_users import ProjectUsers as Rules
from homeport.wire.admin.users import ProjectUser, ProjectUserCreateRequest, ProjectUserUpdateRequest
from homeport.wire.fields import Deleted, Page


class ProjectUsers:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        users = f"{ORGANIZATION}{PROJECT}/users"
        user = f"{users}/{{user_id}}"
        return [
            Operation("GET", users, self.list, query=("limit", "after")),
            Operation("POST", users, self.create, body=ProjectUserCreateRequest),
            Operation("GET", user, self.retrieve),
            Operation("POST", user, self.modify, body=ProjectUserUpdateRequest),
            Operation("DELETE", user, self.delete),
        ]

    async def list(self, asked: Asked) -> Page[ProjectUser]:
        return await self._rules.list(asked.project_id, asked.window())

    async def create(self, asked: Asked) -> ProjectUser:
        return await self._rules.create(asked.who, asked.project_id, asked.body)

    async def retrieve(self, asked: Asked) -> ProjectUser:
        return await self._rules.retrieve(asked.project_id, asked.path["user_id"])

    async def modify(self, asked: Asked) -> ProjectUser:
        return await self._rules.modify(asked.who, asked.project_id, asked.path["user_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.project_id, asked.path["user_id"])
