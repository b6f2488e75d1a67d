"""What training costs: money that is reserved while a job may still cost it, and one row of the ledger when it has
ended, however it did.

The row's id is the job's: written again after a kill it is there already. It stands in the month in which the job
ended, and what budgets have spent is counted anew from the rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from homeport import clock
from homeport.gateway.budgets import counters, unknown
from homeport.gateway.keyring import Principal
from homeport.gateway.ledger import nano, short
from homeport.gateway.limits import Grant, Limits
from homeport.gateway.pricing import Cost, Price, Prices, Units
from homeport.gateway.watching import LEFT
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows

ENDPOINT, PAGE = "fine_tuning.jobs", "fine_tuning"
#: What a job has ended as -> outcome and status of its row.
_OUTCOMES = {"succeeded": ("completed", 200), "failed": ("failed", 500), "cancelled": ("left", LEFT)}

#: A row of `fine_tuning_jobs`.
Job = Mapping[Any, Any]


class TrainingBills:
    def __init__(self, prices: Prices, limits: Limits, rows: UsageRows) -> None:
        self._prices = prices
        self._limits = limits
        self._rows = rows

    async def check(self, principal: Principal, job: Job) -> None:
        """Whether anything is left for a job that is only asked for. job: the columns that say what is trained.

        Raises InsufficientQuota, Unavailable; PermissionDenied: nobody knows what the upstream will want for it.
        """
        _, cost = self._cost(job, 1, clock.now())
        if principal.budgets and job["upstream"] is not None and cost is None:
            raise unknown(job["base"])
        with await self.reserve(principal, job, 1) as grant:
            grant.cost = 0

    async def reserve(self, principal: Principal, job: Job, tokens: int) -> Grant:
        """What so many tokens cost, of all budgets that it counts against. A model without a price costs nothing.

        Raises InsufficientQuota, Unavailable.
        """
        now = clock.now()
        _, cost = self._cost(job, tokens, now)
        money = nano(cost.pico) if cost is not None else 0
        budgets = [(budget.counter(now), budget.limit_nano) for budget in principal.budgets] if money else []
        return await self._limits.reserve(budgets, money)

    async def book(self, job: Job, principal: Principal | None = None) -> None:
        """Of a job that has ended. principal: on whose account, where that is still known. Raises Unavailable."""
        if job["finished_at"] is None or not _tokens(job):
            return
        row = self._row(job, principal)
        await self._rows.write([row])
        if row.cost_pico:
            await self._limits.recount(counters([row]))

    def _row(self, job: Job, principal: Principal | None) -> UsageRow:
        at, tokens = float(job["finished_at"]), _tokens(job)
        outcome, status = _OUTCOMES[job["status"]]
        price, cost = self._cost(job, tokens, at)
        listed = self._at_list(job, tokens, at)
        return UsageRow(
            request_id=job["id"],
            started_at=at,
            ended_at=at,
            key_id=short(job["key_id"]),
            project_id=job["project_id"],
            user_id=principal.user if principal is not None else "",
            endpoint=ENDPOINT,
            page=PAGE,
            model=short(job["model"]),
            ran=short(job["base"]),
            backend=job["upstream"] or "local",
            outcome=outcome,
            status=status,
            input_tokens=tokens,
            cost_pico=cost.pico if cost is not None else None,
            price_lines=cost.lines if cost is not None else None,
            price_rule=price.rule if price is not None and cost is not None else None,
            list_pico=listed.pico if listed is not None else None,
        )

    def _cost(self, job: Job, tokens: int, at: float) -> tuple[Price | None, Cost | None]:
        """By the name of what is trained, or by the one that was asked for; lists have it with what comes of it, under
        `ft:`. A model of this machine costs what the operator says, an upstream's what lists do where the operator does
        not."""
        for listed in (False, True) if job["upstream"] is not None else (False,):
            for name in _names(job["base"], job["model"]):
                price = self._prices.find(name, at, listed=listed)
                cost = price.cost(Units(training=tokens)) if price is not None else None
                if cost is not None:
                    return price, cost
        return None, None

    def _at_list(self, job: Job, tokens: int, at: float) -> Cost | None:
        """What OpenAI takes for training what was asked for."""
        for name in _names(job["model"], job["base"]):
            price = self._prices.at_list(name, at)
            cost = price.cost(Units(training=tokens)) if price is not None else None
            if cost is not None:
                return cost
        return None


def _names(*models: str) -> Iterator[str]:
    for model in models:
        yield f"ft:{model.removeprefix('ft:')}"
        yield model


def _tokens(job: Job) -> int:
    """Of a job of this machine those of every step, however it has ended; of an upstream's what that has told."""
    tokens: int | None = job["tokens"] or job["trained_tokens"]
    return tokens or 0
