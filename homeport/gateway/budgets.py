"""What a request may cost at most, and against which budgets that counts.

The worst case is reserved at admission and settled to the real cost at the end, so however many requests run at once, a
budget is never exceeded. It can only be promised for what has a price: a model of this machine that has none costs
nothing, an upstream's model that has none is refused to whoever has a budget.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from homeport import clock
from homeport.backends.capabilities import Call
from homeport.errors import PermissionDenied
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Principal
from homeport.gateway.ledger import nano
from homeport.gateway.limits import Wanted
from homeport.gateway.pricing import Prices
from homeport.gateway.routing import Target
from homeport.store.usage_rows import UsageRows


class Budgets:
    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def wanted(self, endpoint: Endpoint, principal: Principal, call: Call, targets: Sequence[Target]) -> Wanted:
        """What admission reserves. Raises PermissionDenied: a budget, and a model whose price nobody knows."""
        tokens = endpoint.tokens(endpoint, call)
        if not principal.budgets:
            return Wanted(tokens=tokens)
        now = clock.now()
        worst = max(self._worst(endpoint, call, target, now) for target in targets)
        counters = tuple([(budget.counter(now), budget.limit_nano) for budget in principal.budgets])
        return Wanted(tokens=tokens, money=nano(worst), budgets=counters)

    def _worst(self, endpoint: Endpoint, call: Call, target: Target, now: float) -> int:
        price = self._prices.find(target.model, now)
        if price is not None:
            return price.worst(endpoint.most_prompt(call), endpoint.most_answer(call), choices=call.choices)
        if target.local:
            return 0
        raise PermissionDenied(
            f"The price of the model `{target.model}` is not known, so it cannot be used on a budget. Ask the operator "
            f'to set it in homeport.toml: [prices."{target.model}"].',
            code="model_price_unknown",
        )


async def spent_on(rows: UsageRows, counter: str) -> int:
    """Nanodollars that the ledger has for the counter of a budget (Budget.counter)."""
    _, scope, subject, since = counter.split(":")
    begin = None if since == "total" else datetime.strptime(since, "%Y-%m").replace(tzinfo=UTC).timestamp()
    project = subject if scope == "project" else None
    key = subject if scope == "key" else None
    return nano(await rows.spent(since=begin, project_id=project, key_id=key))
