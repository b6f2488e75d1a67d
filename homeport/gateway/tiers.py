"""Usage tiers: what a project may use, by model family. The figures are data (tiers.toml); homeport.toml changes them.

home                    the default of this house: nobody meets its limits by accident
trial, 1, 2, 3, 4, 5    OpenAI's, each qualified for by what was paid and since when
any other name          the operator's own: `[tiers.NAME.default]`
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from importlib import resources
from typing import Any

from homeport.errors import SettingsError
from homeport.wire.models import family as family
from homeport.wire.models import made_from

HOME = "home"
#: From the lowest on. Tiers that are not among them may use every model.
LADDER = ("trial", "1", "2", "3", "4", "5")
DEFAULT = "default"


def pool(model: str) -> str:
    """The name under which limits are counted: a fine-tuned model uses up those of the model that it was made from."""
    return family(made_from(model) or model)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Under the names of OpenAI's `project.rate_limit`, and two of ours. None: no limit; where these override others,
    none of their own."""

    max_requests_per_1_minute: int | None = None
    max_tokens_per_1_minute: int | None = None
    max_images_per_1_minute: int | None = None
    max_audio_megabytes_per_1_minute: int | None = None
    max_requests_per_1_day: int | None = None
    batch_1_day_max_input_tokens: int | None = None
    max_tokens_per_1_day: int | None = None
    max_concurrent_requests: int | None = None

    def over(self, others: "RateLimits") -> "RateLimits":
        """These where they are set, the others where not."""
        own = {name: value for name in NAMES if (value := getattr(self, name)) is not None}
        return replace(others, **own)


NAMES = tuple(field.name for field in fields(RateLimits))


class Tiers:
    def __init__(self, overrides: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None) -> None:
        """overrides: tier -> family -> limit -> number, 0 for no limit. Raises SettingsError."""
        table = tomllib.loads((resources.files("homeport.gateway") / "tiers.toml").read_text("utf-8"))
        self._access: Mapping[str, str] = table["access"]
        self._qualifications: Mapping[str, Mapping[str, int]] = table["qualifications"]
        self._tiers: dict[str, dict[str, RateLimits]] = {}
        for tier, families in table["tiers"].items():
            self._tiers[tier] = {name: RateLimits(**limits) for name, limits in families.items()}
        for tier, changed in (overrides or {}).items():
            known = self._tiers.setdefault(tier, {DEFAULT: RateLimits()})
            for name, limits in changed.items():
                unknown = [limit for limit in limits if limit not in NAMES]
                if unknown:
                    raise SettingsError(f"tiers.{tier}.{name}: there is no limit {unknown[0]!r}: {', '.join(NAMES)}.")
                base = known[longest(name, known) or DEFAULT]
                known[name] = replace(base, **{limit: value or None for limit, value in limits.items()})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tiers)

    def families(self, tier: str) -> Mapping[str, RateLimits]:
        """What a tier sets, by family; `default` is every other name. Of a tier that does not exist: the lowest."""
        return self._tiers.get(tier) or self._tiers[LADDER[0]]

    def limits(self, tier: str, model: str) -> RateLimits:
        families = self.families(tier)
        return families[longest(pool(model), families) or DEFAULT]

    def allows(self, tier: str, model: str) -> bool:
        """Whether a tier may use a model at all."""
        listed = longest(pool(model), self._access)
        if listed is None:
            return True
        if tier in LADDER:
            return LADDER.index(tier) >= LADDER.index(self._access[listed])
        return tier in self._tiers

    def earned(self, paid: Decimal, days: float) -> str:
        """The highest tier that somebody qualifies for who has paid so many dollars, the first of them so long ago."""
        tier = LADDER[0]
        for name, needed in self._qualifications.items():
            if paid >= needed["dollars"] and days >= needed["days"]:
                tier = name
        return tier


def longest(model: str, names: Mapping[str, Any]) -> str | None:
    """The longest of the names that a model's name is or begins with: `gpt-4` of `gpt-4-32k`, not of `gpt-4o`."""
    while model:
        if model in names:
            return model
        model = model.rpartition("-")[0]
    return None
