"""`spend_limit` of the organization and of projects; under `/v1/homeport` also of keys, and for good."""

from collections.abc import Sequence
from typing import cast

from homeport.api.admin.table import HOMEPORT, ORGANIZATION, PROJECT, Asked, Operation
from homeport.control.spend_limits import SpendLimits as Rules
from homeport.control.spend_limits import Subject
from homeport.wire.admin.spend import (
    AnySpendLimitRequest,
    Interval,
    SpendLimit,
    SpendLimitDeleted,
    SpendLimitList,
    SpendLimitRequest,
)


class SpendLimits:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def operations(self) -> Sequence[Operation]:
        return [
            *self._monthly(f"{ORGANIZATION}/spend_limit"),
            *self._monthly(f"{ORGANIZATION}{PROJECT}/spend_limit"),
            *self._any(f"{HOMEPORT}{PROJECT}/spend_limit"),
            *self._any(f"{HOMEPORT}{PROJECT}/api_keys/{{api_key_id}}/spend_limit"),
        ]

    def _monthly(self, path: str) -> Sequence[Operation]:
        return [
            Operation("GET", path, self.retrieve),
            Operation("POST", path, self.set, body=SpendLimitRequest),
            Operation("DELETE", path, self.delete),
        ]

    def _any(self, path: str) -> Sequence[Operation]:
        return [
            Operation("GET", path, self.list),
            Operation("POST", path, self.set, body=AnySpendLimitRequest),
            Operation("DELETE", path, self.delete_any, query=("interval",)),
        ]

    async def retrieve(self, asked: Asked) -> SpendLimit:
        return await self._rules.retrieve(_subject(asked))

    async def set(self, asked: Asked) -> SpendLimit:
        return await self._rules.set(asked.who, _subject(asked), asked.body)

    async def delete(self, asked: Asked) -> SpendLimitDeleted:
        return await self._rules.delete(asked.who, _subject(asked), "month")

    async def list(self, asked: Asked) -> SpendLimitList:
        return await self._rules.list(_subject(asked))

    async def delete_any(self, asked: Asked) -> SpendLimitDeleted:
        """Without an interval, both."""
        interval = None
        if asked.text("interval") is not None:
            interval = cast(Interval, asked.choice("interval", "month", "total"))
        return await self._rules.delete(asked.who, _subject(asked), interval)


def _subject(asked: Asked) -> Subject:
    return Subject(asked.path.get("project_id"), asked.path.get("api_key_id"))
