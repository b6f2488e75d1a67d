"""Which backends answer to a name, in which order."""

import random
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

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
    local: it runs on this machine. retries: how often it is asked again."""

    name: str
    backend: Any
    model: str
    owner: str
    local: bool = False
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
    """A line of `/v1/models`. `alias_of`: the model that really runs, when the name is an alias."""

    id: str
    owner: str
    alias_of: str | None = None


class Router:
    """A table from names to targets, made once from the settings.

    A name is looked up as: an alias or a route of the settings; a local model; a model that an upstream lists; any
    name, for an upstream that lists `*`; OpenAI's names, for the local model.
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
    ) -> None:
        """models: exact names. routes: name -> targets by weight. aliases: name -> names tried in order; a name may be
        a route's. wildcards: targets for every other name. defaults: (name, model) pairs that hold only where nothing
        above claims the name. chance: what picks by weight."""
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

    def targets(self, name: str) -> tuple[Target, ...]:
        """At least one. Raises ModelNotFound."""
        found = self._table.get(name)
        if isinstance(found, Weighted):
            return found.targets()
        if found is None and name in RETIRED:
            raise ModelNotFound(
                f"The model `{name}` has been deprecated, learn more here: "
                "https://platform.openai.com/docs/deprecations",
            )
        found = found or self._through_wildcard(name)
        if not found:
            raise ModelNotFound.named(name)
        return found

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

    @property
    def wildcards(self) -> tuple[Target, ...]:
        return self._wildcards
