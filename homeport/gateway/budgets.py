"""What a request may cost at most, and against which budgets that counts.

The worst case is reserved at admission and settled to the real cost at the end, so however many requests run at once, a
budget is never exceeded. It can only be promised for what has a price and an end: a model of this machine that has no
price costs nothing; whoever has a budget is refused an upstream's model that has none, and an answer of one that may
be of any length.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from homeport import clock
from homeport.backends.capabilities import Call
from homeport.errors import InvalidRequest, PermissionDenied
from homeport.gateway.endpoints import Endpoint
from homeport.gateway.keyring import Budget, Principal, month
from homeport.gateway.ledger import nano, price_of, units
from homeport.gateway.limits import Wanted
from homeport.gateway.pricing import Prices
from homeport.gateway.routing import Target
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows


class Budgets:
    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def wanted(self, endpoint: Endpoint, principal: Principal, call: Call, targets: Sequence[Target]) -> Wanted:
        """What admission reserves. Raises for a budget: PermissionDenied, a model whose price nobody knows;
        InvalidRequest, an answer whose length nobody limits."""
        tokens = endpoint.tokens(endpoint, call)
        images, megabytes = (0, 0.0) if endpoint.media is None else _media(endpoint, call)
        if not principal.budgets:
            return Wanted(tokens=tokens, images=images, audio_megabytes=megabytes, batch=call.background)
        now = clock.now()
        worst = max(self._worst(endpoint, call, target, now) for target in targets)
        counters = tuple([(budget.counter(now), budget.limit_nano) for budget in principal.budgets])
        return Wanted(
            tokens=tokens,
            images=images,
            audio_megabytes=megabytes,
            money=nano(worst),
            budgets=counters,
            batch=call.background,
        )

    def _worst(self, endpoint: Endpoint, call: Call, target: Target, now: float) -> int:
        price = price_of(self._prices, target, now)
        if price is None and target.local:
            return 0
        if price is None:
            raise unknown(target.model)
        answer = endpoint.most_answer(call)
        if answer is None and price.max_output is None and not target.local:
            raise InvalidRequest(
                f"The longest answer of the model `{target.model}` is not known, so on a budget its requests must set "
                "`max_completion_tokens` (or `max_tokens`). Or ask the operator to set it in homeport.toml: "
                f'[prices."{target.model}"] max_output.',
                param="max_completion_tokens",
                code="missing_required_parameter",
            )
        if answer is not None and answer < 1 and endpoint.writes and endpoint.media is None:
            name = "max_completion_tokens" if b"max_completion_tokens" in call.body else "max_tokens"
            raise InvalidRequest(
                f"Invalid '{name}': integer below minimum value. On a budget it must be 1 or more: there are servers "
                "that take less for no limit.",
                param=name,
                code="integer_below_min_value",
            )
        tier = _asked_tier(call) if len(price.modes) > 1 else ""
        worst = price.worst(endpoint.most_prompt(call), answer, call.batch, choices=call.choices, service_tier=tier)
        if endpoint.media is not None:
            media = endpoint.media(call)
            cost = price.cost(units(media), call.batch, service_tier=tier)
            pico = None if cost is None else cost.pico
            if cost is None and media.images:
                pico = price.dearest_pictures(media.images)  # of a size that has no price, if it is drawn at all
            if pico is None and not price.of_tokens:
                raise unknown(target.model)
            worst += pico or 0  # by tokens alone: those are in the worst case
        return worst


def unknown(model: str) -> PermissionDenied:
    return PermissionDenied(
        f"The price of the model `{model}` is not known, so it cannot be used on a budget. Ask the operator to set it "
        f'in homeport.toml: [prices."{model}"].',
        code="model_price_unknown",
    )


def _media(endpoint: Endpoint, call: Call) -> tuple[int, float]:
    """Images, and megabytes of audio, that it takes of the limits."""
    assert endpoint.media is not None
    heard = sum(file.bytes for file in call.attached) / 1e6 if endpoint.hears else 0.0
    return endpoint.media(call).images, heard


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


def counters(rows: Iterable[UsageRow]) -> set[str]:
    """Of every budget that they may count against."""
    whose = {(row.project_id, row.key_id, month(row.started_at)): row for row in rows}
    return {
        Budget(scope, subject, interval, 0).counter(row.started_at)
        for row in whose.values()
        for scope, subject in (("organization", ""), ("project", row.project_id), ("key", row.key_id))
        for interval in ("month", "total")
    }
