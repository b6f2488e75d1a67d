"""Which backends answer to a name, in which order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.errors import ModelNotFound, SettingsError

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
    local: it runs on this machine."""

    name: str
    backend: Any
    model: str
    owner: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `/v1/models`. `alias_of`: the model that really runs, when the name is an alias."""

    id: str
    owner: str
    alias_of: str | None = None


class Router:
    """A table from names to targets, made once from the settings.

    A name is looked up as: an alias of the settings; a local model; a model that an upstream lists; any name, for an
    upstream that lists `*`; OpenAI's names, for the local model.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, Target],
        aliases: Mapping[str, Sequence[str]],
        wildcards: Sequence[Target] = (),
        defaults: Iterable[tuple[str, str]] = (),
    ) -> None:
        """models: exact names. aliases: name -> names tried in order. wildcards: targets for every other name.
        defaults: (name, model) pairs that hold only where nothing above claims the name."""
        self._wildcards = tuple(wildcards)
        self._table: dict[str, tuple[Target, ...]] = {name: (target,) for name, target in models.items()}
        self._alias_of: dict[str, str] = {}
        for alias, names in aliases.items():
            self._add_alias(alias, names)
        if not self._wildcards:
            for alias, name in defaults:
                if alias not in self._table:
                    self._add_alias(alias, (name,))

    def _add_alias(self, alias: str, names: Sequence[str]) -> None:
        targets: list[Target] = []
        for name in names:
            found = self._table.get(name) or self._through_wildcard(name)
            if not found:
                raise SettingsError(f"The alias {alias!r} names {name!r}, which is no model of this configuration.")
            targets.extend(found)
        self._table[alias] = tuple(targets)
        self._alias_of[alias] = names[0]

    def targets(self, name: str) -> tuple[Target, ...]:
        """At least one. Raises ModelNotFound."""
        found = self._table.get(name)
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
        return tuple(Target(wild.name, wild.backend, name, wild.owner) for wild in self._wildcards)

    def listed(self) -> list[Listed]:
        return [Listed(name, targets[0].owner, self._alias_of.get(name)) for name, targets in self._table.items()]

    @property
    def wildcards(self) -> tuple[Target, ...]:
        return self._wildcards
