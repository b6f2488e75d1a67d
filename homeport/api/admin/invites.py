"""`/v1/organization/invites`, and under `/v1/homeport` how one is accepted."""

from collections.abc import Sequence

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, Asked, Operation
from homeport.control.invites import Invites as Rules
from homeport.wire.admin.invites import Invite, InviteAcceptRequest, InviteRequest
from homeport.wire.fields import Deleted, Page


class Invites:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        invite = "/invites/{invite_id}"
        return [
            Operation("GET", f"{ORGANIZATION}/invites", self.list, query=("limit", "after")),
            Operation("POST", f"{ORGANIZATION}/invites", self.create, body=InviteRequest),
            Operation("GET", ORGANIZATION + invite, self.retrieve),
            Operation("DELETE", ORGANIZATION + invite, self.delete),
            Operation("POST", f"{HOMEPORT}{invite}/accept", self.accept, body=InviteAcceptRequest),
        ]

    async def list(self, asked: Asked) -> Page[Invite]:
        return await self._rules.list(asked.window())

    async def create(self, asked: Asked) -> Invite:
        return await self._rules.create(asked.who, asked.body)

    async def retrieve(self, asked: Asked) -> Invite:
        return await self._rules.retrieve(asked.path["invite_id"])

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.path["invite_id"])

    async def accept(self, asked: Asked) -> Invite:
        return await self._rules.accept(asked.who, asked.path["invite_id"], asked.body)
