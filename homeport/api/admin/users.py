"""`/v1/organization/users`."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, Asked, Operation
from homeport.control.users import Users as Rules
from homeport.wire.admin.users import User, UserRoleUpdateRequest
from homeport.wire.fields import Deleted, Page


class Users:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        users = f"{ORGANIZATION}/users"
        user = f"{users}/{{user_id}}"
        return [
            Operation("GET", users, self.list, query=("limit", "after", "emails[]")),
            Operation("GET", user, self.retrieve),
            Operation("POST", user, self.modify, body=UserRoleUpdateRequest),
            Operation("DELETE", user, self.delete),
        ]

    async def list(self, asked: Asked) -> Page[User]:
        return await self._rules.list(asked.window(), emails=asked.texts("emails[]"))

    async def retrieve(self, asked: Asked) -> User:
        return await self._rules.retrieve(asked.path["user_id"])

    async def modify(self, asked: Asked) -> User:
        return await self._rules.modify(asked.who, asked.path["user_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.path["user_id"])
