"""`spend_alerts` of the organization and of projects."""

from collections.abc import Sequence

from homeport.api.admin.table import ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.spend_alerts import SpendAlerts as Rules
from homeport.wire.admin.spend import SpendAlert, SpendAlertRequest
from homeport.wire.fields import Deleted, Page


class SpendAlerts:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        return [*self._at(f"{ORGANIZATION}/spend_alerts"), *self._at(f"{ORGANIZATION}{PROJECT}/spend_alerts")]

    def _at(self, alerts: str) -> Sequence[Operation]:
        alert = f"{alerts}/{{alert_id}}"
        return [
            Operation("GET", alerts, self.list, query=("limit", "order", "after", "before")),
            Operation("POST", alerts, self.create, body=SpendAlertRequest),
            Operation("GET", alert, self.retrieve),
            Operation("POST", alert, self.modify, body=SpendAlertRequest),
            Operation("DELETE", alert, self.delete),
        ]

    async def list(self, asked: Asked) -> Page[SpendAlert]:
        return await self._rules.list(_project(asked), asked.window(least=0))

    async def create(self, asked: Asked) -> SpendAlert:
        return await self._rules.create(asked.who, _project(asked), asked.body)

    async def retrieve(self, asked: Asked) -> SpendAlert:
        return await self._rules.retrieve(_project(asked), asked.path["alert_id"])

    async def modify(self, asked: Asked) -> SpendAlert:
        return await self._rules.modify(asked.who, _project(asked), asked.path["alert_id"], asked.body)

    async def delete(self, asked: Asked) -> Deleted:
        return await self._rules.delete(asked.who, _project(asked), asked.path["alert_id"])


def _project(asked: Asked) -> str | None:
    return asked.path.get("project_id")
