"""Which backends answer to a name, in which order."""

import random
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from homeport.errors import ModelNotFound, SettingsError
from homeport.gateway.retries import NEVER, Retries

#: Switched off by OpenAI on 2024-01-04 (completions, embeddings) or since: a request for one gets OpenAI's own answer.
RETIRED = frozenset(
    """
    text-davinci-003 text-davinci-002 text-davinci-001 text-curie-001 text-babbage-001 text-ada-001 davinci curie
    babbage ada davinci-instruct-beta curie-instruct-beta code-davinci-002 code-davinci-001 code-cushman-001
    code-cushman-002 text-davinci-edit-001 code-davinci-edit-001 text-similarity-ada-001 text-similarity-babbage-001
    text-similarity-curie-001 text-similarity-davinci-001 text-search-ada-doc-001 text-search-ada-query-001
    text-search-babbage-doc-001 text-search-babbage-query-001 text-search-curie-doc-001 text-search-curie-query-001
    text-search-davinci-doc-001 text-search-davinci-query-001 code-search-ada-code-001 code-search-ada-text-001
    code-search-babbage-code-001 code-search-babbage-text-001 gpt-3.5-turbo-0301 gpt-3.5-turbo-0613
    gpt-3.5-turbo-16k-0613 gpt-4-0314 gpt-4-32k-0314 gpt-4-vision-preview
    """.split()
)


@dataclass(frozen=True, slots=True)
class Target:
    """One backend that can answer. model: the backend's own name for what was asked; owner: `owned_by` of the list.
    local: it runs on this machine. base: of a fine-tuned model of this machine, what it was made from. retries: how
    often it is asked again."""

    name: str
    backend: Any
    model: str
    owner: str
    local: bool = False
    base: str = ""
    retries: Retries = field(default=NEVER, compare=False, repr=False)


class Share(NamedTuple):
    """A target of a route: itself, or the name that leads to it. weight: its share of the requests; 0: it stands in for
    others."""

    target: Target | str
    weight: float


class Weighted:
    """Targets of which one is picked by its weight; the others stand in for it, in the order of the route."""

    def __init__(self, shares: Sequence[tuple[Target, float]], chance: Callable[[], float]) -> None:
        """shares: one weight at least is not 0. chance: from 0 to below 1."""
        self._chance = chance
        self._reach = list(accumulate(weight for _, weight in shares if weight))
        by_weight = [target for target, weight in shares if weight] + [
            target for target, weight in shares if not weight
        ]
        self.orders = [
            (picked, *(target for target in by_weight if target is not picked))
            for picked in by_weight[: len(self._reach)]
        ]

    def targets(self) -> tuple[Target, ...]:
        return self.orders[bisect(self._reach, self._chance() * self._reach[-1])]


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `/v1/models`. `alias_of`: the model that really runs, when the name is an alias; of a fine-tuned model
    what it was made from. created: unix seconds, where that is known."""

    id: str
    owner: str
    alias_of: str | None = None
    created: int | None = None


class Named(Protocol):
    """Models that are not in the settings, and come and go: fine-tuned ones (tuned.py)."""

    async def look_for(self, name: str) -> None: ...

    def targets(self, name: str, project: str | None) -> tuple[Target, ...] | None: ...

    def listed(self, project: str) -> Sequence[Listed]: ...

    def has(self, name: str) -> bool: ...


class Router:
    """A table from names to targets, made once from the settings.

    A name is looked up as: an alias or a route of the settings; a local model; a model that an upstream lists; a
    fine-tuned model; any name, for an upstream that lists `*`; OpenAI's names, for the local model.

    tuned: the fine-tuned models, where there can be any.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, Target],
        aliases: Mapping[str, Sequence[str]],
        routes: Mapping[str, Sequence[Share]] | None = None,
        wildcards: Sequence[Target] = (),
        defaults: Iterable[tuple[str, str]] = (),
        chance: Callable[[], float] = random.random,
        through: Callable[[str, str], Target] | None = None,
    ) -> None:
        """models: exact names. routes: name -> targets by weight. aliases: name -> names tried in order; a name may be
        a route's. wildcards: targets for every other name. defaults: (name, model) pairs that hold only where nothing
        above claims the name. chance: what picks by weight. through: as the method."""
        self.tuned: Named | None = None
        self._through = through
        self._wildcards = tuple(wildcards)
        self._table: dict[str, tuple[Target, ...] | Weighted] = {name: (target,) for name, target in models.items()}
        self._alias_of: dict[str, str] = {}
        self._table |= {name: self._route(name, shares, chance) for name, shares in (routes or {}).items()}
        for alias, names in aliases.items():
            self._add_alias(alias, names)
        if not self._wildcards:
            for alias, name in defaults:
                if alias not in self._table:
                    self._add_alias(alias, (name,))

    def _route(self, route: str, shares: Sequence[Share], chance: Callable[[], float]) -> tuple[Target, ...] | Weighted:
        """Names lead to models, not to other routes. Raises SettingsError."""
        found: list[tuple[Target, float]] = []
        for target, weight in shares:
            if isinstance(target, str):
                through = self._table.get(target) or self._through_wildcard(target)
                if not isinstance(through, tuple) or not through:
                    raise SettingsError(
                        f"The route {route!r} names {target!r}, which is no model of this configuration."
                    )
                found += [(through[0], weight), *((other, 0.0) for other in through[1:])]
            else:
                found.append((target, weight))
        if not found:
            raise SettingsError(f"The route {route!r} has no targets.")
        return Weighted(found, chance) if any(weight for _, weight in found) else tuple([one for one, _ in found])

    def _add_alias(self, alias: str, names: Sequence[str]) -> None:
        targets: list[Target] = []
        if not names:
            raise SettingsError(f"The alias {alias!r} names no model.")
        self._alias_of[alias] = names[0]
        for name in names:
            found = self._table.get(name) or self._through_wildcard(name)
            if not found:
                raise SettingsError(f"The alias {alias!r} names {name!r}, which is no model of this configuration.")
            if isinstance(found, Weighted):
                if len(names) > 1:
                    raise SettingsError(
                        f"The alias {alias!r} names the route {name!r} beside others. Put them into the route."
                    )
                self._table[alias] = found
                return
            targets.extend(found)
        self._table[alias] = tuple(targets)

    async def look_for(self, name: str) -> None:
        """Of a name that begins with `ft:`, before `targets`: it may be of a model that has just been made."""
        if self.tuned is not None and name not in self._table:
            await self.tuned.look_for(name)

    def targets(self, name: str, project: str | None = None) -> tuple[Target, ...]:
        """At least one. project: that asks; None: whoever does may. Raises ModelNotFound; Unavailable: nobody knows
        just now which fine-tuned models there are."""
        found = self._table.get(name)
        if isinstance(found, Weighted):
            return found.targets()
        if found is None and self.tuned is not None:  # an upstream calls what it has tuned as it likes
            found = self.tuned.targets(name, project)
        if found is None and name in RETIRED:
            raise ModelNotFound(
                f"The model `{name}` has been deprecated, learn more here: "
                "https://platform.openai.com/docs/deprecations",
            )
        found = found or self._through_wildcard(name)
        if not found:
            raise ModelNotFound.named(name)
        return found

    def through(self, upstream: str, model: str) -> Target:
        """A model of an upstream that it does not list. Raises KeyError: there is no such upstream."""
        if self._through is None:
            raise KeyError(upstream)
        return self._through(upstream, model)

    def _through_wildcard(self, name: str) -> tuple[Target, ...]:
        return tuple(
            [Target(wild.name, wild.backend, name, wild.owner, retries=wild.retries) for wild in self._wildcards]
        )

    def listed(self) -> list[Listed]:
        """A route is listed as what its first target is."""
        lines: list[Listed] = []
        for name, found in self._table.items():
            first = found.orders[0][0] if isinstance(found, Weighted) else found[0]
            lines.append(Listed(name, first.owner, self._alias_of.get(name)))
        return lines

    def table(self) -> Mapping[str, Sequence[Target]]:
        """Every name of the settings, with what answers to it, the first first."""
        return {name: found.orders[0] if isinstance(found, Weighted) else found for name, found in self._table.items()}

    @property
    def wildcards(self) -> tuple[Target, ...]:
        return self._wildcards
