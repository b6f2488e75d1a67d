"""`/v1/organization/projects/{project_id}/service_accounts`, and their keys."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.service_accounts import ServiceAccounts as Rules
from homeport.wire.admin.service_accounts import (
    ProjectServiceAccount,
    ProjectServiceAccountApiKey,
    ProjectServiceAccountApiKeyCreateRequest,
    ProjectServiceAccountCreateRequest,
    ProjectServiceAccountCreateResponse,
    ProjectServiceAccountUpdateRequest,
)
from homeport.wire.fields import Deleted, Page


class ServiceAccounts:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        accounts = f"{ORGANIZATION}{PROJECT}/service_accounts"
        account = f"{accounts}/{{service_account_id}}"
        return [
            Operation("GET", accounts, self.list, query=("limit", "after")),
            Operation("POST", accounts, self.create, body=ProjectServiceAccountCreateRequest),
            Operation("GET", account, self.retrieve),
            Operation("POST", account, self.modify, body=ProjectServiceAccountUpdateRequest),
            Operation("DELETE", account, self.delete),
            Operation("POST", f"{account}/api_keys", self.create_key, body=ProjectServiceAccountApiKeyCreateRequest),
        ]

    async def list(self, asked: Asked) -> Page[ProjectServiceAccount]:
        return await self._rules.list(asked.project_id, asked.window())

    async def create(self, asked: Asked) -> ProjectServiceAccountCreateResponse:
        return await self._rules.create(asked.who, asked.project_id, asked.body)

    async def retrieve(self, asked: Asked) -> ProjectServiceAccount:
        return await self._rules.retrieve(asked.project_id, asked.path["service_account_id"])

    async def modify(self, asked: Asked) -> ProjectServiceAccount:
        return await self._rules.modify(asked.who, asked.project_id, asked.path["service_account_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.project_id, asked.path["service_account_id"])

    async def create_key(self, asked: Asked) -> ProjectServiceAccountApiKey:
        return await self._rules.create_key(asked.who, asked.project_id, asked.path["service_account_id"], asked.body)
