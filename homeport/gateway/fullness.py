"""How full the limits and the budgets are, of a project at a time; nothing is taken of them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from homeport import clock
from homeport.errors import ModelNotFound
from homeport.gateway.keyring import Budget, Principal
from homeport.gateway.limits import Found, Limits
from homeport.gateway.tiers import pool
from homeport.store.shared import TOLERANCE, Charge, share_of


class Full(NamedTuple):
    """key_id: as Found. name: of the limit, as in `project.rate_limit`. period: seconds in which all of it comes back,
    None for what is given back. used: now."""

    model: str
    key_id: str | None
    name: str
    period: float | None
    limit: int
    used: float

    @property
    def remaining(self) -> int:
        """As the header says it."""
        return max(0, int(self.limit - self.used + TOLERANCE))

    @property
    def reset(self) -> float | None:
        """Seconds until nothing of it is used."""
        if self.period is None:
            return None
        return self.used * self.period / self.limit if self.limit else 0.0


class Spent(NamedTuple):
    """nano: nanodollars that are spent, with what requests that run have reserved. begins_anew: unix seconds."""

    budget: Budget
    nano: int
    begins_anew: int | None


class Waiting(NamedTuple):
    """A batch that has not ended. tokens: of its input."""

    model: str
    key_id: str
    tokens: int


class Fullness:
    def __init__(
        self,
        limits: Limits,
        *,
        keys: Callable[[], Mapping[str, Principal]],
        models: Callable[[], Iterable[str]],
        waiting: Callable[[str], Awaitable[Sequence[Waiting]]],
    ) -> None:
        """keys: by id. models: that are served. waiting: batches of a project. The first and the last raise
        Unavailable."""
        self._limits = limits
        self._keys = keys
        self._models = models
        self._waiting = waiting

    def projects(self) -> Sequence[str]:
        """Those that have a key: nobody else can use anything. Raises Unavailable."""
        return sorted({who.project for who in self._keys().values() if who.project})

    async def limits(self, project: str, *, only: Iterable[str] | None = None) -> Sequence[Full]:
        """By model and measure. only: pools of models, or names in them. Raises Unavailable."""
        wanted = None if only is None else {pool(name) for name in only}
        found: dict[str, tuple[str, Found]] = {}
        batches: dict[tuple[str, str | None], int] = {}
        for who in self._limited(project):
            for name in {pool(model) for model in (*self._models(), *who.rate_limits)}:
                if wanted is not None and name not in wanted:
                    continue
                with suppress(ModelNotFound):  # the tier may not use it
                    found |= {one.charge.key: (name, one) for one in self._limits.charges(who, name)}
                    batches |= {(name, one.key_id): one.limit for one in self._limits.enqueued(who, name)}
        full = [*await self._full(list(found.values())), *await self._of_batches(project, batches)]
        return sorted(full, key=lambda one: (one.model, one.key_id or ""))

    async def budgets(self, project: str, *, organization: bool) -> Sequence[Spent]:
        """Of the project and of its keys. organization: that of all projects, too. Raises Unavailable."""
        now = clock.now()
        budgets = dict.fromkeys(budget for who in self._of(project) for budget in who.budgets)
        found = [budget for budget in budgets if organization or budget.scope != "organization"]
        if not found:
            return []
        taken = await self._limits.look(
            [Charge(budget.counter(now), budget.limit_nano, None, seeded=True) for budget in found]
        )
        return [
            Spent(budget, round(used), _next_month(now) if budget.interval == "month" else None)
            for budget, used in zip(found, taken.used, strict=True)
        ]

    async def _full(self, found: Sequence[tuple[str, Found]]) -> Sequence[Full]:
        if not found:
            return []
        taken = await self._limits.look([one.charge for _, one in found])
        return [
            Full(name, one.key_id, one.measure.limit, one.measure.period, _part(one.charge.limit, taken.share), used)
            for (name, one), used in zip(found, taken.used, strict=True)
        ]

    async def _of_batches(self, project: str, limits: Mapping[tuple[str, str | None], int]) -> Sequence[Full]:
        if not limits:
            return []
        waiting = await self._waiting(project)
        return [
            Full(name, key_id, "batch_1_day_max_input_tokens", None, limit, _tokens(waiting, name, key_id))
            for (name, key_id), limit in limits.items()
        ]

    def _of(self, project: str) -> Sequence[Principal]:
        return [who for who in self._keys().values() if who.project == project]

    def _limited(self, project: str) -> Sequence[Principal]:
        """One of them, for the limits that they have in common, and those that have their own."""
        found = self._of(project)
        return [who for place, who in enumerate(found) if not place or who.own_limits is not None]


def _part(limit: int, share: int) -> int:
    return limit if share == 1 else share_of(limit, share)


def _tokens(waiting: Iterable[Waiting], name: str, key_id: str | None) -> int:
    return sum(one.tokens for one in waiting if pool(one.model) == name and key_id in (None, one.key_id))


def _next_month(now: float) -> int:
    today = datetime.fromtimestamp(now, UTC)
    year, month = divmod(today.year * 12 + today.month, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())
