"""What a request may cost at most, and against which budgets that counts.

The worst case is reserved at admission and settled to the real cost at the end, so however many requests run at once, a
budget is never exceeded. It can only be promised for what has a price and an end: a model of this machine that has no
price costs nothing; whoever has a budget is refused an upstream's model that has none, and an answer of one that may
be of any length.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from homeport import clock
from homeport.backends.capabilities import Call
from homeport.errors import InvalidRequest, PermissionDenied
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
        """What admission reserves. Raises for a budget: PermissionDenied, a model whose price nobody knows;
        InvalidRequest, an answer whose length nobody limits."""
        tokens = endpoint.tokens(endpoint, call)
        if not principal.budgets:
            return Wanted(tokens=tokens, batch=call.batch)
        now = clock.now()
        worst = max(self._worst(endpoint, call, target, now) for target in targets)
        counters = tuple([(budget.counter(now), budget.limit_nano) for budget in principal.budgets])
        return Wanted(tokens=tokens, money=nano(worst), budgets=counters, batch=call.batch)

    def _worst(self, endpoint: Endpoint, call: Call, target: Target, now: float) -> int:
        price = self._prices.find(target.model, now, listed=not target.local)
        if price is None and target.local:
            return 0
        if price is None:
            raise PermissionDenied(
                f"The price of the model `{target.model}` is not known, so it cannot be used on a budget. Ask the "
                f'operator to set it in homeport.toml: [prices."{target.model}"].',
                code="model_price_unknown",
            )
        answer = endpoint.most_answer(call)
        if answer is None and price.max_output is None and not target.local:
            raise InvalidRequest(
                f"The longest answer of the model `{target.model}` is not known, so on a budget its requests must set "
                "`max_completion_tokens` (or `max_tokens`). Or ask the operator to set it in homeport.toml: "
                f'[prices."{target.model}"] max_output.',
                param="max_completion_tokens",
                code="missing_required_parameter",
            )
        if answer is not None and answer < 1 and endpoint.writes:
            name = "max_completion_tokens" if b"max_completion_tokens" in call.body else "max_tokens"
            raise InvalidRequest(
                f"Invalid '{name}': integer below minimum value. On a budget it must be 1 or more: there are servers "
                "that take less for no limit.",
                param=name,
                code="integer_below_min_value",
            )
        tier = _asked_tier(call) if len(price.modes) > 1 else ""
        return price.worst(endpoint.most_prompt(call), answer, call.batch, choices=call.choices, service_tier=tier)


def _asked_tier(call: Call) -> str:
    """As the request spells it. What is spelled oddly is no tier that is known, and reserved at the dearest price."""
    if b'"service_tier"' not in call.body:
        return ""
    return bytes(call.fields.get("service_tier", b"")).decode(errors="replace").strip('"')


async def spent_on(rows: UsageRows, counter: str) -> int:
    """Nanodollars that the ledger has for the counter of a budget (Budget.counter)."""
    _, scope, subject, since = counter.split(":")
    begin = None if since == "total" else datetime.strptime(since, "%Y-%m").replace(tzinfo=UTC).timestamp()
    project = subject if scope == "project" else None
    key = subject if scope == "key" else None
    return nano(await rows.spent(since=begin, project_id=project, key_id=key))
