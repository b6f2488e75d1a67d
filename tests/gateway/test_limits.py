"""OpenAI's rate-limit arithmetic: the published messages, to the last digit; budgets that are never exceeded."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport import ids
from homeport.errors import HomeportError, InsufficientQuota, ModelNotFound, RateLimited, Unavailable
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Grant, Limits, Wanted, duration, family
from homeport.gateway.tiers import RateLimits, Tiers
from homeport.store.redis import RedisShared
from homeport.store.shared import Charge, MemoryShared, Shared, Taken
from tests import clocks
from tests.store.servers import RedisServer, redis_server

WHO = Principal("key_1", "proj_1", "org-home")
DAY = 86_400.0


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    time = Clock()
    clocks.own(monkeypatch, "store.shared", monotonic=time)
    return time


async def nothing(key: str) -> int:
    return 0


async def at_once() -> None:
    pass


class House:
    """Limits of a tier that a test sets, and what was told."""

    def __init__(
        self,
        limits: Mapping[str, int] | None = None,
        *,
        shared: Shared | None = None,
        strict: bool = False,
        spent: Callable[[str], Awaitable[int]] = nothing,
        lines_count: bool = False,
        **more: int,
    ) -> None:
        self.shared = shared or MemoryShared()
        home = {"max_requests_per_1_minute": 0, "max_tokens_per_1_minute": 0, **(limits or {}), **more}
        tiers = Tiers({"home": {"default": home}})
        self.limits = Limits(self.shared, tiers, spent=spent, written=at_once, strict=strict, lines_count=lines_count)
        self.told: list[bytes] = []

    async def admit(self, wanted: Wanted | None = None, *, who: Principal = WHO, model: str = "gpt-4") -> Grant:
        self.told = []
        return await self.limits.admit(who, model, wanted or Wanted(), self.told)

    @property
    def headers(self) -> dict[str, str]:
        return dict(line.split(": ") for line in b"".join(self.told).decode().split("\r\n") if line)

    def ask(self, tokens: int = 0, *, used: int | None = None, **options: Any) -> dict[str, str]:
        """One request from its beginning to its end; the headers."""

        async def main() -> None:
            with await self.admit(Wanted(tokens=tokens), **options) as grant:
                grant.used = tokens if used is None else used

        asyncio.run(main())
        return self.headers

    def refused(self, wanted: Wanted, **options: Any) -> HomeportError:
        with pytest.raises(HomeportError) as refused:
            asyncio.run(self.admit(wanted, **options))
        return refused.value


# The arithmetic and the messages.

#: As OpenAI sent them: the first eight are those of the contract's arithmetic.
PUBLISHED = [
    ("tokens per min (TPM)", "tokens", 30000, 14567, 24754, "18.642s"),
    ("tokens per min (TPM)", "tokens", 10000, 8554, 3082, "9.816s"),
    ("tokens per min (TPM)", "tokens", 200000, 162960, 42288, "1.574s"),
    ("requests per day (RPD)", "requests", 200, 200, 1, "7m12s"),
    ("requests per day (RPD)", "requests", 1000, 1000, 1, "1m26.4s"),
    ("tokens per min (TPM)", "tokens", 30000, 29937, 385, "644ms"),
    ("tokens per min (TPM)", "tokens", 50000, 47949, 3006, "1.146s"),
    ("tokens per min (TPM)", "tokens", 30000, 22999, 12528, "11.054s"),
    ("tokens per min (TPM)", "tokens", 200000, 195869, 4412, "84ms"),
    ("requests per day (RPD)", "requests", 2000, 2000, 1, "43.2s"),
    ("requests per day (RPD)", "requests", 50, 50, 1, "28m48s"),
    ("requests per min (RPM)", "requests", 3, 3, 1, "20s"),
]
FIELDS = {
    "requests per min (RPM)": ("max_requests_per_1_minute", "rpm", 60.0),
    "requests per day (RPD)": ("max_requests_per_1_day", "rpd", DAY),
    "tokens per min (TPM)": ("max_tokens_per_1_minute", "tpm", 60.0),
    "tokens per day (TPD)": ("max_tokens_per_1_day", "tpd", DAY),
}


@pytest.mark.parametrize(("text", "kind", "limit", "used", "requested", "wait"), PUBLISHED)
def test_the_published_messages(
    now: Clock, text: str, kind: str, limit: int, used: int, requested: int, wait: str
) -> None:
    field, counter, period = FIELDS[text]
    house = House({field: limit})
    asyncio.run(house.shared.take([Charge(f"{counter}:project:proj_1:gpt-4", limit, period)], [used]))
    error = house.refused(Wanted(tokens=requested) if kind == "tokens" else Wanted())
    assert isinstance(error, RateLimited)
    assert (error.status, error.kind, error.code, error.param) == (429, kind, "rate_limit_exceeded", None)
    assert error.message == (
        f"Rate limit reached for gpt-4 in organization org-home on {text}: Limit {limit}, Used {used}, "
        f"Requested {requested}. Please try again in {wait}."
    )
    milliseconds = int(dict(error.headers)["retry-after-ms"])
    assert dict(error.headers)["retry-after"] == str(-(-milliseconds // 1000))
    assert house.headers[f"x-ratelimit-remaining-{kind}"] == "0"
    now.now += milliseconds / 1000
    asyncio.run(house.admit(Wanted(tokens=requested)))


def test_a_request_that_can_never_fit_is_told_so_and_not_to_come_back(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=30000)
    error = house.refused(Wanted(tokens=31538), model="gpt-4o")
    assert error.message == (
        "Request too large for gpt-4o in organization org-home on tokens per min (TPM): Limit 30000, Requested 31538. "
        "The input or output tokens must be reduced in order to run successfully."
    )
    assert error.headers == ()
    assert house.headers["x-ratelimit-remaining-tokens"] == "30000"


def test_images_have_their_own_limit_and_openais_error_type(now: Clock) -> None:
    house = House(max_requests_per_1_minute=10, max_images_per_1_minute=5)
    asyncio.run(house.admit(Wanted(images=4), model="dall-e-3"))
    error = house.refused(Wanted(images=2), model="dall-e-3")
    assert isinstance(error, RateLimited)
    assert error.kind == "requests"
    assert error.message == (
        "Rate limit reached for dall-e-3 in organization org-home on images per min (IPM): Limit 5, Used 4, "
        "Requested 2. Please try again in 12s."
    )
    assert house.headers["x-ratelimit-remaining-requests"] == "9", "a refused request is not charged"
    assert "Request too large" in house.refused(Wanted(images=6), model="dall-e-3").message
    asyncio.run(house.admit(Wanted(), model="dall-e-3"))


def test_audio_is_limited_by_the_megabyte_and_parts_of_it(now: Clock) -> None:
    house = House(max_audio_megabytes_per_1_minute=25)
    asyncio.run(house.admit(Wanted(audio_megabytes=20.5), model="whisper-1"))
    error = house.refused(Wanted(audio_megabytes=4.75), model="whisper-1")
    assert "on audio megabytes per min: Limit 25, Used 21, Requested 4.75. Please try again in 1.8s." in error.message
    asyncio.run(house.admit(Wanted(audio_megabytes=4.5), model="whisper-1"))


def test_a_place_is_free_again_when_a_request_ends(now: Clock) -> None:
    house = House(max_concurrent_requests=2)

    async def main() -> None:
        with await house.admit():
            with await house.admit():
                with pytest.raises(RateLimited, match="requests: Limit 2, Used 2, Requested 1. Please try") as full:
                    await house.admit()
                assert dict(full.value.headers)["retry-after"] == "1"
                assert full.value.kind == "requests"
            with await house.admit():
                pass
        assert await used(house, "places:project:proj_1:gpt-4") == 0

    asyncio.run(main())


async def used(house: House, key: str, *, seeded: bool = False) -> float:
    taken = await house.shared.take([Charge(key, 10**15, None, seeded)], [0])
    return taken.used[0]


def test_the_first_limit_that_is_hit_gives_the_message(now: Clock) -> None:
    every = {field: 10 for field, _, _ in FIELDS.values()}
    order = list(FIELDS.items())
    for place, (text, _) in enumerate(order):
        wider = {field: 10_000 for _, (field, _, _) in order[:place]}
        house = House({**every, **wider}, max_images_per_1_minute=10)
        for _ in range(10):
            asyncio.run(house.admit(Wanted(tokens=1, images=1)))
        assert text in house.refused(Wanted(tokens=1, images=1)).message


def test_a_refusal_for_tokens_takes_no_request(now: Clock) -> None:
    house = House(max_requests_per_1_minute=10, max_tokens_per_1_minute=100)
    assert "Limit 100, Requested 101" in house.refused(Wanted(tokens=101)).message
    assert house.ask()["x-ratelimit-remaining-requests"] == "9"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (0.12, "120ms"),
        (0.644, "644ms"),
        (59.999, "59.999s"),
        (86.4, "1m26.4s"),
        (360, "6m0s"),
        (432, "7m12s"),
        (3600, "1h0m0s"),
        (86_399.5, "23h59m59.5s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Headers.


def test_headers_count_down_and_name_when_they_are_whole_again(now: Clock) -> None:
    house = House(max_requests_per_1_minute=60, max_tokens_per_1_minute=6000)
    assert house.ask(1500) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }
    now.now += 0.5
    assert house.ask()["x-ratelimit-reset-requests"] == "1.5s"


def test_the_tighter_of_two_limits_is_told(now: Clock) -> None:
    house = House(max_requests_per_1_minute=60, max_requests_per_1_day=3, max_tokens_per_1_minute=10)
    assert house.ask()["x-ratelimit-limit-requests"] == "3"
    assert house.headers["x-ratelimit-remaining-requests"] == "2"
    assert house.headers["x-ratelimit-reset-requests"] == "8h0m0s"
    who = Principal("key_1", "proj_1", "org-home", own_limits=RateLimits(max_tokens_per_1_minute=5))
    assert house.ask(4, who=who)["x-ratelimit-remaining-tokens"] == "1"


def test_no_limit_has_no_header() -> None:
    house = House()
    assert house.ask(10**9) == {}
    assert house.told == []


def test_a_limit_that_refuses_has_nothing_left_until_later(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000)
    house.ask(600)
    error = house.refused(Wanted(tokens=700))
    assert house.headers["x-ratelimit-remaining-tokens"] == "0"
    assert dict(error.headers)["retry-after-ms"] == "18000"
    now.now += 18.0
    house.ask(700)


# Whose limits.


def test_families_and_fine_tuned_models_share_a_limit(now: Clock) -> None:
    house = House(max_requests_per_1_minute=10)
    for left, model in enumerate(["gpt-4o-2024-08-06", "gpt-4o", "ft:gpt-4o-2024-08-06:home::abc"]):
        assert house.ask(model=model)["x-ratelimit-remaining-requests"] == str(9 - left)
    assert house.ask(model="gpt-4o-mini")["x-ratelimit-remaining-requests"] == "9"
    assert family("gpt-4-0613") == "gpt-4"


def test_keys_of_a_project_share_its_limits_and_may_have_their_own(now: Clock) -> None:
    house = House(max_requests_per_1_minute=10)
    careful = Principal("key_2", "proj_1", "org-home", own_limits=RateLimits(max_requests_per_1_minute=1))
    stranger = Principal("key_3", "proj_2", "org-home")
    assert house.ask()["x-ratelimit-remaining-requests"] == "9"
    assert house.ask(who=careful)["x-ratelimit-remaining-requests"] == "0"
    assert "Limit 1, Used 1" in house.refused(Wanted(), who=careful).message
    assert house.ask()["x-ratelimit-remaining-requests"] == "7"
    assert house.ask(who=stranger)["x-ratelimit-remaining-requests"] == "9"


def test_a_projects_own_limits_stand_over_the_tiers(now: Clock) -> None:
    house = House(max_requests_per_1_minute=10, max_tokens_per_1_minute=1000)
    own: Mapping[str, RateLimits] = {"gpt-4": RateLimits(max_requests_per_1_minute=2)}
    who = Principal("key_1", "proj_1", "org-home", rate_limits=own)
    headers = house.ask(1, who=who, model="gpt-4-0613")
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]) == ("2", "1000")
    changed = Principal("key_1", "proj_1", "org-home")
    assert house.ask(1, who=changed)["x-ratelimit-limit-requests"] == "10"


def test_a_tier_below_a_model_does_not_know_it() -> None:
    house = House()
    trial = Principal("key_1", "proj_1", "org-home", tier="trial")
    with pytest.raises(ModelNotFound, match="`gpt-4-0613` does not exist or you do not have access"):
        asyncio.run(house.admit(who=trial, model="gpt-4-0613"))
    asyncio.run(house.admit(who=trial, model="gpt-3.5-turbo"))
    assert house.headers["x-ratelimit-limit-requests"] == "3"


def test_made_up_names_do_not_fill_the_memory(now: Clock) -> None:
    shared = MemoryShared()
    house = House(shared=shared, max_requests_per_1_minute=10)
    for number in range(100):
        house.ask(model=f"name-x{number}")
    house.ask(model="x" * 10_000)
    assert max(map(len, shared._counters)) < 300
    assert len(house.limits._plans) == 100
    now.now += 1000
    house.ask()
    assert len(shared._counters) == 1


# Batches.

EVERY = {field: 10 for field, _, _ in FIELDS.values()}


def test_a_line_of_a_batch_takes_nothing_of_the_limits_a_minute_and_a_day(now: Clock) -> None:
    """Not at admission, and not when it is settled."""
    house = House(EVERY, max_images_per_1_minute=10)

    async def main() -> None:
        for took in (None, 0, 5, 100_000):
            with await house.admit(Wanted(tokens=9999, images=99, batch=True)) as grant:
                assert house.told == []
                grant.used = took
        with await house.admit(Wanted(tokens=9999, batch=True)) as grant:
            grant.settle_later()(77, 0)
            await asyncio.sleep(0)
        with await house.admit(Wanted(tokens=10)):
            assert house.headers["x-ratelimit-remaining-requests"] == "9"
            assert house.headers["x-ratelimit-remaining-tokens"] == "0"

    asyncio.run(main())


def test_where_lines_are_counted_they_are_charged_as_requests(now: Clock) -> None:
    house = House(max_requests_per_1_minute=2, max_tokens_per_1_minute=1000, lines_count=True)

    async def main() -> None:
        with await house.admit(Wanted(tokens=400, batch=True)) as grant:
            grant.used = 100
        with await house.admit(Wanted(tokens=400, batch=True)):
            assert house.headers["x-ratelimit-remaining-tokens"] == "500"
        with pytest.raises(RateLimited, match=r"requests per min \(RPM\): Limit 2, Used 2") as refused:
            await house.admit(Wanted(tokens=1, batch=True))
        assert dict(refused.value.headers)["retry-after"] == "30"

    asyncio.run(main())


@pytest.mark.parametrize(("limit", "lines"), [(0, 0), (1, 1), (2, 1), (4, 3), (16, 14)])
def test_lines_take_places_and_leave_some_to_requests(now: Clock, limit: int, lines: int) -> None:
    who = Principal("key_1", "proj_1", "org-home", own_limits=RateLimits(max_concurrent_requests=limit))

    async def main() -> None:
        house, grants = House(), list[Grant]()
        for _ in range(lines):
            grants.append(await house.admit(Wanted(batch=True), who=who))
        with pytest.raises(RateLimited) as refused:
            await house.admit(Wanted(batch=True), who=who)
        assert (dict(refused.value.headers).get("retry-after") == "1") is (limit > 0)
        for _ in range(limit - lines):
            grants.append(await house.admit(who=who))
        with pytest.raises(RateLimited):
            await house.admit(who=who)
        for grant in grants:
            with grant:
                grant.used = 0
        assert await used(house, "places:key:key_1:gpt-4") == 0

    asyncio.run(main())


def test_a_line_counts_against_budgets_as_any_request(now: Clock) -> None:
    house, budgets = House(), (("money:project", 1000),)

    async def main() -> None:
        with await house.admit(Wanted(money=600, budgets=budgets, batch=True)) as grant:
            with pytest.raises(InsufficientQuota):
                await house.admit(Wanted(money=600, budgets=budgets, batch=True))
            grant.cost = 300
        assert await used(house, "money:project", seeded=True) == 300

    asyncio.run(main())


@given(
    moves=st.lists(
        st.tuples(st.booleans(), st.integers(0, 50), st.none() | st.integers(0, 100), st.booleans()), max_size=30
    ),
    lines_count=st.booleans(),
)
@settings(max_examples=50)
def test_whatever_lines_do_requests_find_what_they_would_without_them(
    moves: list[tuple[bool, int, int | None, bool]], lines_count: bool
) -> None:
    """Where they are not counted; where they are, they are what requests would be."""
    with pytest.MonkeyPatch.context() as patch:
        clocks.own(patch, "store.shared", monotonic=Clock())
        limits = {"max_requests_per_1_minute": 40, "max_tokens_per_1_minute": 400}
        mixed, other = House(limits, lines_count=lines_count), House(limits)

        async def ask(house: House, tokens: int, took: int | None, *, batch: bool, later: bool) -> bool:
            try:
                with await house.admit(Wanted(tokens=tokens, batch=batch)) as grant:
                    if later:
                        grant.settle_later()(took or 0, 0)
                        await asyncio.sleep(0)
                    grant.used = took
            except RateLimited:
                return False
            return True

        async def main() -> None:
            for batch, tokens, took, later in moves:
                admitted = await ask(mixed, tokens, took, batch=batch, later=later)
                if lines_count or not batch:
                    assert admitted == await ask(other, tokens, took, batch=False, later=later)
                else:
                    assert admitted
            for key in ("rpm:project:proj_1:gpt-4", "tpm:project:proj_1:gpt-4"):
                assert await used(mixed, key) == await used(other, key)

        asyncio.run(main())


def test_what_batches_may_take_together() -> None:
    """OpenAI's words; the figures of tiers.toml, the project's own, and the key's."""
    limits = House(batch_1_day_max_input_tokens=2_000_000).limits
    (project,) = limits.enqueued(WHO, "gpt-4o-2024-08-06")
    assert (project.pool, project.key_id, project.limit) == ("gpt-4o", None, 2_000_000)
    project.check(1_500_000, 500_000)
    with pytest.raises(HomeportError) as refused:
        project.check(1_500_000, 500_001)
    assert refused.value.code == "token_limit_exceeded"
    assert refused.value.message == (
        "Enqueued token limit reached for gpt-4o-2024-08-06 in organization org-home. Limit: 2,000,000 enqueued "
        "tokens. Please try again once some in_progress batches have been completed."
    )
    narrow = Principal(
        "key_1",
        "proj_1",
        "org-home",
        rate_limits={"gpt-4o": RateLimits(batch_1_day_max_input_tokens=1000)},
        own_limits=RateLimits(batch_1_day_max_input_tokens=10),
    )
    found = limits.enqueued(narrow, "ft:gpt-4o-2024-08-06:me::1")
    assert [(one.pool, one.key_id, one.limit) for one in found] == [("gpt-4o", None, 1000), ("gpt-4o", "key_1", 10)]
    assert House().limits.enqueued(WHO, "gpt-4o") == []
    trial = Principal("key_1", "proj_1", "org-home", tier="trial")
    assert [one.limit for one in House().limits.enqueued(trial, "gpt-4o-mini")] == [200_000]
    with pytest.raises(ModelNotFound):
        House().limits.enqueued(trial, "gpt-4o")


# Settling.


def test_what_was_not_used_is_given_back(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000)
    house.ask(900, used=100)
    assert house.ask()["x-ratelimit-remaining-tokens"] == "900"
    house.ask(100, used=450)
    assert house.ask()["x-ratelimit-remaining-tokens"] == "450"


def test_strict_gives_nothing_back(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000, strict=True)
    house.ask(900, used=100)
    assert house.ask()["x-ratelimit-remaining-tokens"] == "100"


def test_a_grant_is_settled_once(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000, max_concurrent_requests=5)

    async def main() -> None:
        with await house.admit(Wanted(tokens=500)) as grant:
            grant.settle(used=100, cost=None)
            grant.settle(used=0, cost=None)
        await house.admit()
        assert house.headers["x-ratelimit-remaining-tokens"] == "900"
        assert await used(house, "places:project:proj_1:gpt-4") == 1

    asyncio.run(main())


def test_what_nobody_said_is_charged_as_it_was_reserved(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000)

    async def main() -> None:
        with pytest.raises(ZeroDivisionError), await house.admit(Wanted(tokens=300, money=7, budgets=BUDGETS)):
            raise ZeroDivisionError
        await house.admit()
        assert house.headers["x-ratelimit-remaining-tokens"] == "700"
        assert await used(house, "money:project", seeded=True) == 7

    asyncio.run(main())


BUDGETS = (("money:project", 1_000_000_000),)


def test_what_is_counted_later_is_settled_from_another_thread(now: Clock) -> None:
    house = House(max_tokens_per_1_minute=1000, max_concurrent_requests=5)

    async def main() -> None:
        with await house.admit(Wanted(tokens=500, money=70, budgets=BUDGETS)) as grant:
            settle = grant.settle_later()
        assert await used(house, "places:project:proj_1:gpt-4") == 0
        assert await used(house, "money:project", seeded=True) == 70
        counting = threading.Thread(target=settle, args=(50, 30))
        counting.start()
        await asyncio.to_thread(counting.join)
        await asyncio.sleep(0)
        assert await used(house, "money:project", seeded=True) == 30
        assert await used(house, "places:project:proj_1:gpt-4") == 0
        await house.admit()
        assert house.headers["x-ratelimit-remaining-tokens"] == "950"

    asyncio.run(main())
    house.told = []


# Budgets.


def test_a_budget_refuses_as_openai_does_and_says_not_to_try_again() -> None:
    house = House(max_requests_per_1_minute=100)
    error = house.refused(Wanted(money=1_000_000_001, budgets=BUDGETS))
    assert isinstance(error, InsufficientQuota)
    assert (error.status, error.param) == (429, None)
    assert error.type == error.code == "insufficient_quota"
    assert error.message.startswith("You exceeded your current quota, please check your plan and billing details. ")
    assert error.headers == (("x-should-retry", "false"),)
    assert house.headers["x-ratelimit-remaining-requests"] == "100", "nothing was charged"


def test_the_tightest_of_several_budgets_holds() -> None:
    house = House()
    budgets = (("money:organization", 100), ("money:project", 50), ("money:key", 80))

    async def main() -> None:
        with await house.admit(Wanted(money=50, budgets=budgets)) as grant:
            grant.cost = 10
        await house.admit(Wanted(money=40, budgets=budgets))
        with pytest.raises(InsufficientQuota):
            await house.admit(Wanted(money=1, budgets=budgets))
        await house.admit(Wanted(money=1, budgets=budgets[:1]))
        await house.admit(Wanted(money=0, budgets=budgets))

    asyncio.run(main())


def test_what_was_spent_before_is_asked_for_once() -> None:
    asked: list[str] = []

    async def spent(key: str) -> int:
        asked.append(key)
        await asyncio.sleep(0.01)
        return 999_999_950

    house = House(spent=spent)

    async def main() -> None:
        wanted = Wanted(money=1, budgets=BUDGETS)
        results = await asyncio.gather(*(house.admit(wanted) for _ in range(60)), return_exceptions=True)
        assert [isinstance(result, Grant) for result in results].count(True) == 50
        assert {type(result) for result in results} == {Grant, InsufficientQuota}

    asyncio.run(main())
    assert asked == ["money:project"]


class Amnesiac(MemoryShared):
    """Forgets what it is told."""

    async def seed(self, key: str, used: int) -> None:
        pass


def test_a_store_that_does_not_learn_is_not_asked_for_ever() -> None:
    error = House(shared=Amnesiac()).refused(Wanted(money=1, budgets=BUDGETS))
    assert isinstance(error, Unavailable)
    assert error.code == "limits_unavailable"


# Properties.

MOVES = st.lists(st.tuples(st.floats(0, 90), st.integers(0, 120), st.floats(0, 1.5)), max_size=30)


@given(limit=st.integers(1, 100), moves=MOVES)
@settings(max_examples=30)
def test_no_window_takes_more_than_the_bucket_and_what_comes_back_in_it(
    limit: int, moves: list[tuple[float, int, float]]
) -> None:
    """And whoever waits as he was told is let in."""
    with pytest.MonkeyPatch.context() as patch:
        now = Clock()
        clocks.own(patch, "store.shared", monotonic=now)
        house = House(max_tokens_per_1_minute=limit)
        admitted: list[tuple[float, int]] = []
        for pause, tokens, part in moves:
            now.now += pause
            taken = 0
            try:
                with asyncio.run(house.admit(Wanted(tokens=tokens))) as grant:
                    grant.used = taken = min(tokens, int(tokens * part))
            except RateLimited as error:
                if "Request too large" in error.message:
                    assert tokens > limit
                    continue
                now.now += int(dict(error.headers)["retry-after-ms"]) / 1000
                with asyncio.run(house.admit(Wanted(tokens=tokens))):
                    taken = tokens
            admitted.append((now.now, taken))
        for first, (begin, _) in enumerate(admitted):
            total = 0
            for end, taken in admitted[first:]:
                total += taken
                assert total <= limit + (end - begin) * limit / 60 + 1e-3


@given(
    requests=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 100), st.booleans()), max_size=30),
    before=st.integers(0, 500),
)
@settings(max_examples=30)
def test_when_everything_is_settled_what_is_used_is_what_it_cost(
    requests: list[tuple[int, int, bool]], before: int
) -> None:
    budgets = (("money:project", 1000),)

    async def spent(key: str) -> int:
        return before

    async def main() -> None:
        house = House(spent=spent, max_concurrent_requests=8)
        running: list[tuple[Grant, int]] = []
        costs = before
        for worst, percent, ends in requests:
            try:
                grant = await house.admit(Wanted(money=worst, budgets=budgets))
            except InsufficientQuota:
                assert costs + sum(grant.money for grant, _ in running) + worst > 1000
            except RateLimited:
                assert len(running) == 8
            else:
                running.append((grant, worst * percent // 100))
            assert costs + sum(grant.money for grant, _ in running) <= 1000
            if ends and running:
                grant, cost = running.pop(0)
                grant.settle(used=0, cost=cost)
                costs += cost
        for grant, cost in running:
            with grant:
                grant.cost = cost
                costs += cost
        assert costs <= 1000
        if requests:
            await house.admit(Wanted(budgets=budgets))
            assert await used(house, "money:project", seeded=True) == costs
        assert await used(house, "places:project:proj_1:gpt-4") <= 1

    asyncio.run(main())


# Over Redis.


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_150_at_a_limit_of_100_let_exactly_100_through(store: str, request: pytest.FixtureRequest) -> None:
    """Over Redis: half of them at each of two replicas."""

    async def main() -> None:
        stores: list[Shared] = [MemoryShared()]
        if store == "redis":
            url, prefix = request.getfixturevalue("redis").url, ids.random_text(8)
            stores = [RedisShared(url, prefix=prefix, deadline=5.0) for _ in range(2)]
        for shared in stores:
            await shared.start()
        houses = [House(shared=shared, max_requests_per_1_day=100) for shared in stores]
        asked = [house.admit() for house in houses for _ in range(150 // len(houses))]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(result) for result in results].count(Grant) == 100
        assert {type(result) for result in results} == {Grant, RateLimited}
        for shared in stores:
            await shared.close()

    asyncio.run(main())


def test_fifty_at_once_against_one_dollar_stop_at_one_dollar(redis: RedisServer) -> None:
    dollar = (("money:project", 1_000_000_000),)

    async def main() -> None:
        shared = RedisShared(redis.url, deadline=5.0)
        await shared.start()
        house = House(shared=shared)

        async def stream(number: int) -> int:
            try:
                with await house.admit(Wanted(money=60_000_000, budgets=dollar)) as grant:
                    await asyncio.sleep(0.001 * (number % 7))
                    grant.cost = 55_000_000 + number
                    return grant.cost
            except InsufficientQuota:
                return 0

        costs = sum(await asyncio.gather(*(stream(number) for number in range(50))))
        assert 0 < costs <= 1_000_000_000
        assert await used(house, "money:project", seeded=True) == costs
        await shared.close()

    asyncio.run(main())


@pytest.mark.parametrize("policy", ["closed", "local"])
def test_without_redis_requests_are_refused_or_counted_here(redis: RedisServer, policy: Any) -> None:
    async def main() -> None:
        shared = RedisShared(redis.url, on_failure=policy, deadline=1.0)
        await shared.start()
        shared._replicas = 2
        house = House(shared=shared, max_requests_per_1_minute=10)
        with await house.admit():
            redis.kill()
        if policy == "closed":
            with pytest.raises(Unavailable) as refused:
                await house.admit()
            assert (refused.value.status, refused.value.code) == (503, "limits_unavailable")
        else:
            for left in range(4, -1, -1):
                await house.admit()
                assert house.headers["x-ratelimit-limit-requests"] == "5"
                assert house.headers["x-ratelimit-remaining-requests"] == str(left)
            with pytest.raises(RateLimited, match="Limit 5, Used 5, Requested 1"):
                await house.admit()
        await shared.close()

    asyncio.run(main())


def test_a_stores_answer_may_be_of_its_share() -> None:
    """Told by the store: limits are divided while replicas cannot see each other."""

    class Alone(MemoryShared):
        async def take(self, charges: Any, amounts: Any) -> Taken:
            return Taken(0, [4.0, 0.0], share=3)

    error = House(shared=Alone(), max_requests_per_1_minute=12, max_tokens_per_1_minute=600).refused(Wanted())
    assert "Limit 4, Used 4, Requested 1. Please try again in 15s." in error.message
