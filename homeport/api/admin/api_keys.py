"""`/v1/organization/projects/{project_id}/api_keys`, and under `/v1/homeport` what OpenAI keeps to its dashboard."""

from collections.abc import Sequence
from typing import Literal, cast

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.api_keys import ApiKeys as Rules
from homeport.wire.admin.api_keys import (
    ProjectApiKey,
    ProjectApiKeyCreateRequest,
    ProjectApiKeyModifyRequest,
    ProjectApiKeyRotateRequest,
    ProjectApiKeyUpdateRequest,
    ScopeList,
)
from homeport.wire.fields import Deleted, Page

Access = Literal["any", "active", "inactive"]


class ApiKeys:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        keys = f"{PROJECT}/api_keys"
        key = f"{keys}/{{api_key_id}}"
        return [
            Operation("GET", ORGANIZATION + keys, self.list, query=("limit", "after", "owner_project_access")),
            Operation("GET", ORGANIZATION + key, self.retrieve),
            Operation("POST", ORGANIZATION + key, self.update, body=ProjectApiKeyUpdateRequest),
            Operation("DELETE", ORGANIZATION + key, self.delete),
            Operation("GET", f"{HOMEPORT}/scopes", self.scopes),
            Operation("POST", HOMEPORT + keys, self.create, body=ProjectApiKeyCreateRequest),
            Operation("POST", HOMEPORT + key, self.modify, body=ProjectApiKeyModifyRequest),
            Operation("DELETE", HOMEPORT + key, self.delete_any),
            Operation("POST", f"{HOMEPORT}{key}/rotate", self.rotate, body=ProjectApiKeyRotateRequest),
        ]

    async def list(self, asked: Asked) -> Page[ProjectApiKey]:
        access = cast(Access, asked.choice("owner_project_access", "any", "active", "inactive"))
        return await self._rules.list(asked.project_id, asked.window(), owner_project_access=access)

    async def retrieve(self, asked: Asked) -> ProjectApiKey:
        return await self._rules.retrieve(asked.project_id, asked.path["api_key_id"])

    async def update(self, asked: Asked) -> ProjectApiKey:
        return await self._rules.update(asked.who, asked.project_id, asked.path["api_key_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.project_id, asked.path["api_key_id"])

    async def scopes(self, asked: Asked) -> ScopeList:
        return self._rules.scopes()

    async def create(self, asked: Asked) -> ProjectApiKey:
        return await self._rules.create(asked.who, asked.project_id, asked.body)

    async def modify(self, asked: Asked) -> ProjectApiKey:
        return await self._rules.modify(asked.who, asked.project_id, asked.path["api_key_id"], asked.body)

    async def delete_any(self, asked: Asked) -> Deleted:
        key_id = asked.path["api_key_id"]
        return await self._rules.delete(asked.who, asked.project_id, key_id, of_service_accounts=True)

    async def rotate(self, asked: Asked) -> ProjectApiKey:
        return await self._rules.rotate(asked.who, asked.project_id, asked.path["api_key_id"], asked.body)
