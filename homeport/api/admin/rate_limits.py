"""`/v1/organization/projects/{project_id}/rate_limits`, and under `/v1/homeport` where they come from: the tiers,
and the way back to them."""

from collections.abc import Sequence

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.rate_limits import RateLimits as Rules
from homeport.wire.admin.rate_limits import (
    ProjectRateLimit,
    ProjectRateLimitOrigin,
    ProjectRateLimitUpdateRequest,
    TierList,
)
from homeport.wire.fields import Deleted, Page


class RateLimits:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        limits = f"{PROJECT}/rate_limits"
        limit = f"{limits}/{{rate_limit_id:path}}"  # a model's name may have slashes
        return [
            Operation("GET", ORGANIZATION + limits, self.list, query=("limit", "after", "before")),
            Operation("GET", HOMEPORT + limits, self.origins, query=("limit", "after", "before")),
            Operation("GET", f"{HOMEPORT}/tiers", self.tiers),
            Operation("POST", ORGANIZATION + limit, self.modify, body=ProjectRateLimitUpdateRequest),
            Operation("DELETE", HOMEPORT + limit, self.delete),
        ]

    async def list(self, asked: Asked) -> Page[ProjectRateLimit]:
        return await self._rules.list(asked.project_id, asked.window(default=100, most=1000))

    async def origins(self, asked: Asked) -> Page[ProjectRateLimitOrigin]:
        return await self._rules.origins(asked.project_id, asked.window(default=100, most=1000))

    async def tiers(self, asked: Asked) -> TierList:
        return self._rules.tiers()

    async def modify(self, asked: Asked) -> ProjectRateLimit:
        return await self._rules.modify(asked.who, asked.project_id, asked.path["rate_limit_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, asked.project_id, asked.path["rate_limit_id"])
