"""Rules of usage and costs: sums of the store, chosen and grouped as OpenAI's Admin API does it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from homeport.control.usage_pages import PICO, Amounts, Page, cost, listed_cost, saving
from homeport.control.usage_window import COSTS_WIDTHS, WIDTHS, Window
from homeport.store.usage_sums import Sum, UsageSums
from homeport.store.vector_store_usage import VectorStoreUsage
from homeport.wire import admin_usage as wire

#: What can be grouped by -> the column of it. `api_source` has none: nothing here is an agent's.
COLUMNS = {
    "project_id": "project_id",
    "user_id": "user_id",
    "api_key_id": "key_id",
    "model": "model",
    "batch": "batch",
    "service_tier": "service_tier",
    "size": "size",
    "source": "endpoint",
    "line_item": "line_item",
}
#: What can be chosen -> what it is.
FILTERS = {
    "project_ids": "project_id",
    "user_ids": "user_id",
    "api_key_ids": "api_key_id",
    "models": "model",
    "batch": "batch",
    "sizes": "size",
    "sources": "source",
    "line_items": "line_item",
}
#: Endpoints as the page of images names them.
SOURCES = {
    "images.generations": "image.generation",
    "images.edits": "image.edit",
    "images.variations": "image.variation",
}
_ENDPOINTS = {source: endpoint for endpoint, source in SOURCES.items()}
UNATTRIBUTED = "unlabeled"

Results = Mapping[int, list[wire.Result]]


class Usage:
    def __init__(self, sums: UsageSums, stored: VectorStoreUsage) -> None:
        self._sums = sums
        self._stored = stored

    async def page(self, page: Page, asked: wire.UsageParameters) -> wire.UsageResponse:
        """Raises InvalidRequest; Unavailable."""
        window = Window.of(page.name, asked, WIDTHS[asked.bucket_width])
        if page.result is None or not window.buckets:
            return window.response({})
        groups = _groups(asked)
        columns, chosen = _columns(groups), _chosen(asked)
        if page.stored:
            found = await self._stored.used(window.span, group_by=columns, only=chosen)
        else:
            found = await self._sums.used(page.name, window.span, page.counts, group_by=columns, only=chosen)
        return window.response(_results(found, groups, page.result))

    async def costs(self, asked: wire.CostsParameters) -> wire.UsageResponse:
        """Raises InvalidRequest; Unavailable."""
        window = Window.of("costs", asked, COSTS_WIDTHS[asked.bucket_width])
        if not window.buckets:
            return window.response({})
        groups = _groups(asked)
        by_unit = "line_item" in groups
        columns = [*_columns(groups), *(["unit"] if by_unit else [])]
        found = await self._sums.spending(window.span, group_by=columns, only=_chosen(asked))
        return window.response(_results([_money(one, by_unit=by_unit) for one in found], groups, cost))

    async def savings(self, asked: wire.ModelParameters) -> wire.UsageResponse:
        """Raises InvalidRequest; Unavailable."""
        window = Window.of("savings", asked, WIDTHS[asked.bucket_width])
        if not window.buckets:
            return window.response({})
        groups = _groups(asked)
        found = await self._sums.saved(window.span, group_by=_columns(groups), only=_chosen(asked))
        return window.response(_results(found, groups, saving))

    async def listed_costs(self, asked: wire.ModelParameters) -> wire.UsageResponse:
        """What was spent, and what it costs at list price. Raises InvalidRequest; Unavailable."""
        window = Window.of("listed_costs", asked, WIDTHS[asked.bucket_width])
        if not window.buckets:
            return window.response({})
        groups = _groups(asked)
        found = await self._sums.money(window.span, group_by=_columns(groups), only=_chosen(asked))
        return window.response(_results(found, groups, listed_cost))


def _groups(asked: wire.Parameters) -> Sequence[str]:
    return list(dict.fromkeys(getattr(asked, "group_by", None) or ()))


def _columns(groups: Sequence[str]) -> list[str]:
    return [COLUMNS[name] for name in groups if name in COLUMNS]


def _chosen(asked: wire.Parameters) -> dict[str, Sequence[Any]]:
    """Column -> the values that it may have."""
    found: dict[str, Sequence[Any]] = {}
    for parameter, name in FILTERS.items():
        values = getattr(asked, parameter, None)
        if isinstance(values, bool):
            found[COLUMNS[name]] = [values]
        elif values is not None:
            found[COLUMNS[name]] = [_ENDPOINTS[value] for value in values] if name == "source" else values
    return found


def _money(found: Sum, *, by_unit: bool) -> Sum:
    """A quantity stands under its unit: what is shown as one line may have several."""
    if not by_unit:
        return found._replace(amounts={PICO: found.amounts["pico"]})
    *group, unit = found.group
    return Sum(found.start, tuple(group), {PICO: found.amounts["pico"], unit: found.amounts["quantity"]})


def _results(
    found: Iterable[Sum], groups: Sequence[str], show: Callable[[Amounts, dict[str, Any]], wire.Result]
) -> Results:
    """Bucket -> results, in the order of their groups. What differs in the store may be shown as one: add it up."""
    buckets: dict[int, dict[tuple[Any, ...], dict[str, int]]] = {}
    for start, group, amounts in found:
        sums = buckets.setdefault(start, {}).setdefault(_shown(groups, group), {})
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount
    return {
        start: [show(by_group[group], dict(zip(groups, group, strict=True))) for group in sorted(by_group, key=_order)]
        for start, by_group in buckets.items()
    }


def _shown(groups: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    rest = iter(values)
    return tuple(_as_shown(name, next(rest)) if name in COLUMNS else UNATTRIBUTED for name in groups)


def _as_shown(name: str, value: Any) -> Any:
    """A size without the grade before it; null where there is none."""
    if name == "size":
        value = value.rpartition(" ")[2]
    elif name == "source":
        value = SOURCES.get(value)
    return None if value == "" else value


def _order(group: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(value is None, "" if value is None else value) for value in group]
