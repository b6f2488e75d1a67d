"""What has been spent this month (UTC), and how full budgets are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from homeport import clock
from homeport.dashboard.client import Client

_CENTS = 100


class Budget(NamedTuple):
    """interval: `month` or `total`. limit, spent: dollars. enforcing: requests are refused."""

    interval: str
    limit: Decimal
    spent: Decimal
    enforcing: bool

    @property
    def fill(self) -> float:
        return float(self.spent / self.limit)


def budgets(limits: Sequence[Mapping[str, Any]]) -> Mapping[str, Budget]:
    """limits: `spend_limit`s of `/v1/homeport`. By their interval."""
    return {one["interval"]: budget(one, Decimal(str(one["spent"]["value"]))) for one in limits}


def budget(limit: Mapping[str, Any], spent: Decimal) -> Budget:
    enforcing = limit["enforcement"]["status"] == "enforcing"
    return Budget(limit["interval"], Decimal(limit["threshold_amount"]) / _CENTS, spent, enforcing)


async def this_month(client: Client, group: str, **chosen: Any) -> Mapping[str | None, Decimal]:
    """Dollars, by `project_id` or `api_key_id`. chosen: as the costs are. Raises Refused."""
    costs = await client.get("/v1/organization/costs", start_time=_begin(), limit=31, group_by=[group], **chosen)
    found: dict[str | None, Decimal] = defaultdict(Decimal)
    for bucket in costs["data"]:
        for result in bucket["results"]:
            found[result[group]] += Decimal(str(result["amount"]["value"]))
    return found


def _begin() -> int:
    now = datetime.fromtimestamp(clock.now(), UTC)
    return int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
