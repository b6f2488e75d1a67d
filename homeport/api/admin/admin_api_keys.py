"""`/v1/organization/admin_api_keys`."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, Asked, Operation
from homeport.control.admin_api_keys import AdminApiKeys as Rules
from homeport.wire.admin.api_keys import AdminApiKey, AdminApiKeyCreateRequest
from homeport.wire.fields import Deleted, Page


class AdminApiKeys:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        keys = f"{ORGANIZATION}/admin_api_keys"
        key = f"{keys}/{{key_id}}"
        return [
            Operation("GET", keys, self.list, query=("after", "order", "limit")),
            Operation("POST", keys, self.create, body=AdminApiKeyCreateRequest),
            Operation("GET", key, self.retrieve),
            Operation("DELETE", key, self.delete),
        ]

    async def list(self, asked: Asked) -> Page[AdminApiKey]:
        return await self._rules.list(asked.window())

    async def create(self, asked: Asked) -> AdminApiKey:
        return await self._rules.create(asked.who, asked.body)

    async def retrieve(self, asked: Asked) -> AdminApiKey:
        return await self._rules.retrieve(asked.path["key_id"])

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.path["key_id"])
