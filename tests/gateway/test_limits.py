"""OpenAI's rate-limit arithmetic: the published messages, to the last digit."""

import pytest

from homeport import clock
from homeport.errors import RateLimited
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Bucket, Limits, duration, family

WHO = Principal("key_1", "default", "org-home")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it."""
    time = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


@pytest.mark.parametrize(
    ("limit", "used", "requested", "wait"),
    [(30000, 14567, 24754, "18.642s"), (10000, 8554, 3082, "9.816s"), (200000, 162960, 42288, "1.574s")],
)
def test_the_published_waits_of_token_limits(limit: int, used: int, requested: int, wait: str) -> None:
    bucket = Bucket(limit, 0.0)
    bucket.used = used
    assert duration(bucket.wait(requested)) == wait


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (0.12, "120ms"),
        (0.644, "644ms"),
        (86.4, "1m26.4s"),
        (360, "6m0s"),
        (432, "7m12s"),
        (3600, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def admit(limits: Limits, tokens: int = 1, model: str = "gpt-4", used: int | None = None) -> dict[str, str]:
    told: list[bytes] = []
    with limits.admit(WHO, model, tokens, told) as grant:
        grant.used = tokens if used is None else used
    return dict(line.split(": ") for line in b"".join(told).decode().split("\r\n") if line)


def test_headers_count_down_and_name_when_they_are_whole_again(now: list[float]) -> None:
    limits = Limits(requests_per_minute=60, tokens_per_minute=6000)
    assert admit(limits, 1500) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }
    now[0] += 0.5
    assert admit(limits, 0)["x-ratelimit-reset-requests"] == "1.5s"


def test_requests_over_the_limit_wait_for_their_turn(now: list[float]) -> None:
    limits = Limits(requests_per_minute=3, tokens_per_minute=0)
    for _ in range(3):
        admit(limits)
    with pytest.raises(RateLimited) as refused:
        admit(limits)
    assert refused.value.kind == "requests"
    assert dict(refused.value.headers)["retry-after"] == "20"
    assert refused.value.message == (
        "Rate limit reached for gpt-4 in organization org-home on requests per min (RPM): Limit 3, Used 3, "
        "Requested 1. Please try again in 20s."
    )
    now[0] += 20.0
    admit(limits)


def test_a_limit_that_refuses_has_nothing_left_until_later(now: list[float]) -> None:
    limits = Limits(requests_per_minute=0, tokens_per_minute=1000)
    admit(limits, 600)
    told: list[bytes] = []
    with pytest.raises(RateLimited) as refused:
        limits.admit(WHO, "gpt-4", 700, told)
    assert b"x-ratelimit-remaining-tokens: 0\r\n" in told[0]
    assert dict(refused.value.headers)["retry-after-ms"] == "18000"
    now[0] += 18.0
    admit(limits, 700)


def test_what_was_not_used_is_given_back(now: list[float]) -> None:
    limits = Limits(requests_per_minute=0, tokens_per_minute=1000)
    admit(limits, 900, used=100)
    assert admit(limits, 0)["x-ratelimit-remaining-tokens"] == "900"


def test_strict_gives_nothing_back(now: list[float]) -> None:
    limits = Limits(requests_per_minute=0, tokens_per_minute=1000, strict=True)
    admit(limits, 900, used=100)
    assert admit(limits, 0)["x-ratelimit-remaining-tokens"] == "100"


def test_a_refusal_for_tokens_takes_no_request(now: list[float]) -> None:
    limits = Limits(requests_per_minute=10, tokens_per_minute=100)
    with pytest.raises(RateLimited, match="Request too large .* Limit 100, Requested 101"):
        admit(limits, 101)
    assert admit(limits, 0)["x-ratelimit-remaining-requests"] == "9"


def test_families_share_a_limit_and_keys_do_not(now: list[float]) -> None:
    limits = Limits(requests_per_minute=10, tokens_per_minute=0)
    admit(limits, model="gpt-4o-2024-08-06")
    assert admit(limits, model="gpt-4o")["x-ratelimit-remaining-requests"] == "8"
    assert family("gpt-4-0613") == "gpt-4"
    told: list[bytes] = []
    with limits.admit(Principal("key_2", "default", "org-home"), "gpt-4o", 1, told):
        pass
    assert b"x-ratelimit-remaining-requests: 9\r\n" in b"".join(told)


def test_idle_buckets_are_forgotten(now: list[float]) -> None:
    limits = Limits(requests_per_minute=10, tokens_per_minute=10)
    for number in range(100):
        admit(limits, 1, model=f"name-{number}")
    now[0] += 1000
    admit(limits, 1)
    assert len(limits._buckets) == 1
