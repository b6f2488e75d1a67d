"""Usage tiers: the contract's figures, families, overrides, access and graduation."""

from decimal import Decimal
from itertools import pairwise

import pytest

from homeport.errors import SettingsError
from homeport.gateway.tiers import DEFAULT, LADDER, RateLimits, Tiers, family, pool

TIERS = Tiers()


@pytest.mark.parametrize(
    ("tier", "model", "requests", "tokens"),
    [
        ("trial", "gpt-3.5-turbo", 3, 40_000),
        ("trial", "smollm2-135m-instruct", 3, 40_000),
        ("1", "gpt-4", 500, 10_000),
        ("2", "gpt-4", 5_000, 450_000),
        ("3", "gpt-4", 10_000, 1_500_000),
        ("1", "gpt-3.5-turbo", 3_500, 90_000),
        ("2", "gpt-3.5-turbo", 5_000, 2_000_000),
        ("home", "gpt-4", 10_000, 10_000_000),
        ("home", "anything", 10_000, 10_000_000),
    ],
)
def test_the_contracts_figures(tier: str, model: str, requests: int, tokens: int) -> None:
    limits = TIERS.limits(tier, model)
    assert (limits.max_requests_per_1_minute, limits.max_tokens_per_1_minute) == (requests, tokens)


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-32k", "gpt-4"),
        ("gpt-4-turbo-2024-04-09", "gpt-4"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-3.5-turbo-16k-0613", "gpt-3.5-turbo"),
        ("ft:gpt-3.5-turbo-0125:home::abc123", "gpt-3.5-turbo"),
        ("text-embedding-3-small", "text-embedding"),
        ("tts-1-hd-1106", "tts-1-hd"),
        ("gpt-4.1", DEFAULT),
        ("gpt-40", DEFAULT),
        ("", DEFAULT),
    ],
)
def test_a_family_is_the_longest_name_that_a_models_name_begins_with(model: str, like: str) -> None:
    for tier in LADDER[1:]:
        assert TIERS.limits(tier, model) is TIERS.families(tier)[like]


def test_dated_snapshots_and_fine_tuned_models_are_counted_together() -> None:
    assert family("gpt-4o-2024-08-06") == pool("gpt-4o-2024-08-06") == "gpt-4o"
    assert pool("ft:gpt-4o-2024-08-06:home::abc") == "gpt-4o"
    assert pool("ft:") == "ft:"
    assert pool("gpt-4o-2024-08-06.ft-abc-name") == "gpt-4o", "as Azure has it"
    assert pool(".ft-abc") == ".ft-abc"
    assert family("ft:gpt-3.5-turbo-0125") == "ft:gpt-3.5-turbo", "but not priced together"


def test_no_tier_has_less_than_the_one_below_it() -> None:
    for lower, higher in pairwise(LADDER):
        for model, limits in TIERS.families(lower).items():
            above = TIERS.limits(higher, model)
            for name in RateLimits.__dataclass_fields__:
                more, less = getattr(above, name), getattr(limits, name)
                assert more is None or (less is not None and more >= less), (lower, model, name)


def test_every_tier_has_a_default_and_every_gate_a_tier() -> None:
    assert set(TIERS.names) == {"home", *LADDER}
    assert all(DEFAULT in TIERS.families(tier) for tier in TIERS.names)
    assert set(TIERS._access.values()) <= set(LADDER)


@pytest.mark.parametrize(
    ("tier", "model", "allowed"),
    [
        ("trial", "gpt-4", False),
        ("trial", "gpt-4-turbo-2024-04-09", False),
        ("trial", "gpt-4o", False),
        ("trial", "gpt-3.5-turbo", True),
        ("trial", "smollm2-135m-instruct", True),
        ("1", "gpt-4", True),
        ("5", "gpt-4-32k", True),
        ("home", "gpt-4", True),
        ("no longer there", "gpt-4", False),
        ("no longer there", "gpt-3.5-turbo", True),
    ],
)
def test_the_gpt_4_family_begins_with_tier_1(tier: str, model: str, allowed: bool) -> None:
    assert TIERS.allows(tier, model) is allowed


def test_a_tier_that_is_no_longer_there_is_the_lowest() -> None:
    assert TIERS.limits("no longer there", "x") is TIERS.limits("trial", "x")


def test_the_operator_changes_single_numbers_and_adds_tiers() -> None:
    tiers = Tiers(
        {
            "1": {"gpt-4": {"max_tokens_per_1_minute": 20_000}, "llama": {"max_requests_per_1_day": 7}},
            "home": {"default": {"max_requests_per_1_minute": 0}},
            "gold": {"default": {"max_concurrent_requests": 4}},
        }
    )
    gpt_4 = tiers.limits("1", "gpt-4")
    assert (gpt_4.max_tokens_per_1_minute, gpt_4.max_requests_per_1_minute) == (20_000, 500)
    llama = tiers.limits("1", "llama-3-8b")
    assert (llama.max_requests_per_1_day, llama.max_requests_per_1_minute) == (7, 3_500)
    assert tiers.limits("home", "x") == RateLimits(max_tokens_per_1_minute=10_000_000)
    assert tiers.limits("gold", "x") == RateLimits(max_concurrent_requests=4)
    assert tiers.allows("gold", "gpt-4")
    assert TIERS.limits("1", "gpt-4").max_tokens_per_1_minute == 10_000


def test_a_limit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tiers\.1\.gpt-4: there is no limit 'tpm'"):
        Tiers({"1": {"gpt-4": {"tpm": 1}}})


@pytest.mark.parametrize(
    ("paid", "days", "tier"),
    [
        ("4.99", 400, "trial"),
        ("5", 0, "1"),
        ("50", 6.9, "1"),
        ("50", 7, "2"),
        ("100", 7, "3"),
        ("250", 13, "3"),
        ("250", 14, "4"),
        ("1000", 29, "4"),
        ("1000", 30, "5"),
    ],
)
def test_tiers_are_earned_by_what_was_paid_and_since_when(paid: str, days: float, tier: str) -> None:
    assert TIERS.earned(Decimal(paid), days) == tier


def test_limits_of_one_stand_over_those_of_another() -> None:
    own = RateLimits(max_requests_per_1_minute=1, max_concurrent_requests=2)
    assert own.over(RateLimits(max_requests_per_1_minute=9, max_tokens_per_1_minute=8)) == RateLimits(
        max_requests_per_1_minute=1, max_tokens_per_1_minute=8, max_concurrent_requests=2
    )
