"""One suite over both stores that replicas share; then what only Redis can meet: other replicas, and being away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from homeport import clock, ids
from homeport.errors import SettingsError, Unavailable
from homeport.store import shared as seam
from homeport.store.redis import RedisShared
from homeport.store.shared import Charge, MemoryShared, Shared
from tests import clocks
from tests.store.servers import RedisServer, redis_server

#: So slow that nothing comes back while a test runs.
AGES = 1e12
PATIENT = 5.0

Store = Callable[[], Shared]
Test = Callable[[Any], Awaitable[None]]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def fragile() -> Iterator[RedisServer]:
    """One that a test may stop."""
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryShared
    server: RedisServer = request.getfixturevalue("redis")
    return lambda: RedisShared(server.url, prefix=ids.random_text(8), deadline=PATIENT)


def run(store: Store, test: Test) -> None:
    async def main() -> None:
        shared = store()
        await shared.start()
        try:
            await test(shared)
        finally:
            await shared.close()

    asyncio.run(main())


def bucket(limit: int, key: str = "bucket", period: float = AGES) -> Charge:
    return Charge(key, limit, period)


def places(limit: int) -> Charge:
    return Charge("places", limit, None)


def money(limit: int) -> Charge:
    return Charge("money", limit, None, seeded=True)


async def used(shared: Shared, charge: Charge) -> float:
    taken = await shared.take([charge], [0])
    assert not taken.missing
    return round(taken.used[0], 6)


# Both stores.


def test_a_bucket_takes_what_fits_and_tells_what_was_used_before(store: Store) -> None:
    async def test(shared: Shared) -> None:
        taken = await shared.take([bucket(10)], [7])
        assert (taken.refused, list(taken.used), list(taken.missing), taken.share) == (None, [0], [], 1)
        taken = await shared.take([bucket(10)], [4])
        assert (taken.refused, round(taken.used[0], 6)) == (0, 7)
        assert (await shared.take([bucket(10)], [3])).refused is None
        assert (await shared.take([bucket(10)], [1])).refused == 0

    run(store, test)


def test_everything_is_charged_or_nothing(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 0)
        charges = [bucket(10, "requests"), bucket(100, "tokens"), places(3), money(1000)]
        assert (await shared.take(charges, [1, 50, 1, 400])).refused is None
        assert (await shared.take(charges, [1, 51, 1, 400])).refused == 1
        assert (await shared.take(charges, [1, 10, 1, 601])).refused == 3
        assert [await used(shared, charge) for charge in charges] == [1, 50, 1, 400]

    run(store, test)


def test_the_first_that_does_not_fit_is_named(store: Store) -> None:
    async def test(shared: Shared) -> None:
        charges = [bucket(10, "a"), bucket(5, "b"), bucket(5, "c")]
        assert (await shared.take(charges, [6, 6, 6])).refused == 1

    run(store, test)


def test_a_bucket_refills_by_its_limit_a_period(store: Store) -> None:
    async def test(shared: Shared) -> None:
        charge = bucket(40, period=0.4)
        began = clock.monotonic()
        assert (await shared.take([charge], [40])).refused is None
        await clock.sleep(0.1)
        taken = await shared.take([charge], [0])
        assert taken.used[0] == pytest.approx(40 - 100 * (clock.monotonic() - began), abs=6) or taken.used[0] == 0
        await clock.sleep(0.4)
        assert (await shared.take([charge], [40])).refused is None

    run(store, test)


def test_what_is_given_back_is_free_at_once_and_never_more_than_all(store: Store) -> None:
    async def test(shared: Shared) -> None:
        charge = bucket(10)
        taken = await shared.take([charge], [8])
        shared.give([charge], [8], [3], taken.session)
        assert await used(shared, charge) == 3
        shared.give([charge], [8], [0], taken.session)
        assert await used(shared, charge) == 0
        shared.give([charge], [0], [25], taken.session)
        taken = await shared.take([charge], [1])
        assert (taken.refused, round(taken.used[0], 6)) == (0, 25)

    run(store, test)


def test_zero_always_fits(store: Store) -> None:
    async def test(shared: Shared) -> None:
        charge = bucket(1)
        taken = await shared.take([charge], [1])
        shared.give([charge], [0], [5], taken.session)
        assert (await shared.take([charge, bucket(0, "none"), places(0)], [0, 0, 0])).refused is None
        assert (await shared.take([bucket(0, "none")], [1])).refused == 0

    run(store, test)


def test_parts_of_a_unit_are_counted_in_buckets(store: Store) -> None:
    async def test(shared: Shared) -> None:
        assert (await shared.take([bucket(1)], [0.75])).refused is None
        assert await used(shared, bucket(1)) == 0.75
        assert (await shared.take([bucket(1)], [0.25])).refused is None

    run(store, test)


def test_places_count_until_they_are_given_back(store: Store) -> None:
    async def test(shared: Shared) -> None:
        for _ in range(30):
            taken = await shared.take([places(1)], [1])
            assert taken.refused is None
            assert (await shared.take([places(1)], [1])).refused == 0
            shared.give([places(1)], [1], [0], taken.session)

    run(store, test)


def test_money_is_missing_until_it_is_seeded_once(store: Store) -> None:
    async def test(shared: Shared) -> None:
        charges = [bucket(10), money(100)]
        taken = await shared.take(charges, [1, 30])
        assert (taken.refused, list(taken.missing)) == (None, [1])
        await shared.seed("money", 60)
        await shared.seed("money", 99)
        taken = await shared.take(charges, [1, 30])
        assert (taken.refused, [round(value, 6) for value in taken.used]) == (None, [0, 60])
        assert (await shared.take(charges, [1, 11])).refused == 1

    run(store, test)


def test_money_is_settled_to_the_last_nanodollar(store: Store) -> None:
    async def test(shared: Shared) -> None:
        large = 2**53 - 2
        await shared.seed("money", 2**52)
        taken = await shared.take([money(large)], [2**52 - 2])
        assert taken.refused is None
        assert (await shared.take([money(large)], [1])).refused == 0
        shared.give([money(large)], [2**52 - 2], [1], taken.session)
        assert (await shared.take([money(large)], [0])).used[0] == 2**52 + 1

    run(store, test)


def test_forgotten_money_keeps_what_is_reserved(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 10)
        taken = await shared.take([money(100)], [40])
        await shared.forget(["money", "never heard of"])
        assert list((await shared.take([money(100)], [1])).missing) == [0]
        await shared.seed("money", 25)
        assert await used(shared, money(100)) == 65
        shared.give([money(100)], [40], [5], taken.session)
        assert await used(shared, money(100)) == 30

    run(store, test)


def test_what_is_settled_while_the_database_is_asked_goes_on_top_of_what_it_says(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 0)
        for _ in range(3):
            taken = await shared.take([money(100)], [20])
        await shared.forget(["money"])
        shared.give([money(100)], [20], [15], taken.session)
        assert list((await shared.take([money(100)], [1])).missing) == [0]
        await shared.expect("money")
        shared.give([money(100)], [20], [7], taken.session)
        await shared.seed("money", 30)
        assert await used(shared, money(100)) == 20 + 30 + 7

    run(store, test)


def test_more_may_be_held_than_was_reserved(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 0)
        taken = await shared.take([money(100)], [10])
        shared.give([money(100)], [10 - 30], [0], taken.session)
        assert await used(shared, money(100)) == 30
        shared.give([money(100)], [30], [30], taken.session)
        assert await used(shared, money(100)) == 30
        await shared.forget(["money"])
        await shared.seed("money", 30)
        assert await used(shared, money(100)) == 30

    run(store, test)


def test_what_it_really_cost_may_be_more_than_was_reserved(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 0)
        taken = await shared.take([money(100)], [10])
        shared.give([money(100)], [10], [120], taken.session)
        assert await used(shared, money(100)) == 120
        assert (await shared.take([money(100)], [1])).refused == 0

    run(store, test)


def test_150_at_once_at_a_limit_of_100_let_exactly_100_through(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await shared.seed("money", 0)
        charges = [bucket(100), places(100), money(100)]
        taken = await asyncio.gather(*(shared.take(charges, [1, 1, 1]) for _ in range(150)))
        assert [one.refused for one in taken].count(None) == 100
        assert [await used(shared, charge) for charge in charges] == [100, 100, 100]

    run(store, test)


def test_whoever_goes_while_asking_has_taken_nothing(store: Store) -> None:
    async def test(shared: Shared) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(shared.take([bucket(100), places(100)], [1, 1])) for _ in range(20)]
            await asyncio.sleep(0)
            gone = [task for number, task in enumerate(tasks) if number % 2 and task.cancel()]
        assert [await used(shared, charge) for charge in (bucket(100), places(100))] == [20 - len(gone)] * 2

    run(store, test)


def test_messages_reach_everybody_who_listens(store: Store) -> None:
    async def test(shared: Shared) -> None:
        async with shared.subscribe("news") as one, shared.subscribe("news") as two, shared.subscribe("else") as other:
            await shared.publish("news", b"\x00first")
            await shared.publish("news", b"second")
            await shared.publish("else", b"third")
            async with asyncio.timeout(PATIENT):
                assert [await anext(one), await anext(one)] == [b"\x00first", b"second"]
                assert [await anext(two), await anext(two)] == [b"\x00first", b"second"]
                assert await anext(other) == b"third"
        await shared.publish("news", b"nobody listens")

    run(store, test)


def test_bytes_are_kept_for_their_time(store: Store) -> None:
    async def test(shared: Shared) -> None:
        assert await shared.get("answer") is None
        await shared.set("answer", b"\xff42", 60)
        await shared.set("soon gone", b"1", 0.05)
        assert await shared.get("answer") == b"\xff42"
        await clock.sleep(0.1)
        assert await shared.get("soon gone") is None
        await shared.set("answer", b"43", 60)
        assert await shared.get("answer") == b"43"

    run(store, test)


def test_bytes_that_are_wanted_together_each_find_their_asker(store: Store) -> None:
    async def test(shared: Shared) -> None:
        for number in range(0, 100, 2):
            await shared.set(str(number), b"%d" % number, 60)
        found = await asyncio.gather(*(shared.get(str(number)) for number in range(100)))
        assert found == [None if number % 2 else b"%d" % number for number in range(100)]

    run(store, test)


def test_bytes_are_cleared_by_their_prefix(store: Store) -> None:
    async def test(shared: Shared) -> None:
        await asyncio.gather(*(shared.set(f"answers:{number}", b"x", 60) for number in range(2500)))
        await shared.set("else", b"x", 60)
        await shared.clear("answers:")
        assert [await shared.get(key) for key in ("answers:0", "answers:2499", "else")] == [None, None, b"x"]

    run(store, test)


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give", "forget"]), *(st.integers(0, 60) for _ in range(3))), max_size=25
)


async def play(shared: Shared, steps: Sequence[Step]) -> list[Any]:
    """The answers to a sequence of steps; what was taken is given back oldest first, at some other cost."""
    charges = [bucket(100), places(150), money(200)]
    answers: list[Any] = []
    open_: list[tuple[Sequence[int], int]] = []
    spent = 0
    for step, *amounts in steps:
        if step == "take":
            taken = await shared.take(charges, amounts)
            if taken.missing:
                await shared.seed("money", spent)
                taken = await shared.take(charges, amounts)
            answers.append((taken.refused, [round(value, 3) for value in taken.used]))
            if taken.refused is None:
                open_.append((amounts, taken.session))
        elif step == "give" and open_:
            reserved, session = open_.pop(0)
            shared.give(charges, reserved, [amounts[0], 0, amounts[2]], session)
            spent += amounts[2]
        elif step == "forget":
            await shared.forget(["money"])
    for reserved, session in open_:
        shared.give(charges, reserved, [0, 0, reserved[2]], session)
        spent += reserved[2]
    await shared.take(charges, [0, 0, 0])
    await shared.seed("money", spent)
    assert [await used(shared, charge) for charge in charges[1:]] == [0, spent]
    return answers


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_stores_give_the_same_answers_and_money_ends_as_the_sum_of_costs(
    redis: RedisServer, steps: list[Step]
) -> None:
    async def main() -> None:
        over_redis = RedisShared(redis.url, prefix=ids.random_text(8), deadline=PATIENT)
        await over_redis.start()
        try:
            assert await play(MemoryShared(), steps) == await play(over_redis, steps)
        finally:
            await over_redis.close()

    asyncio.run(main())


# Memory.


def test_counters_that_are_as_if_never_used_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    clocks.own(monkeypatch, "store.shared", monotonic=lambda: now[0])

    async def test(shared: MemoryShared) -> None:
        await shared.seed("money", 5)
        for number in range(100):
            await shared.take([bucket(10, f"name-{number}", 60.0), bucket(200, f"day-{number}", 86_400.0)], [1, 1])
        taken = await shared.take([places(10)], [1])
        now[0] += 100
        await shared.take([bucket(10)], [1])
        assert len(shared._counters) == 103
        now[0] += 400
        await shared.take([bucket(10)], [1])
        assert set(shared._counters) == {"bucket", "money", "places"}
        shared.give([places(10)], [1], [0], taken.session)
        now[0] += 2 * seam.IDLE_SECONDS
        await shared.take([bucket(10)], [1])
        assert set(shared._counters) == {"bucket"}

    run(MemoryShared, test)


def test_the_oldest_bytes_go_when_memory_is_full() -> None:
    async def test(shared: MemoryShared) -> None:
        await shared.set("one", b"x" * 40, 60)
        await shared.set("two", b"x" * 40, 60)
        assert await shared.get("one") is not None
        await shared.set("three", b"x" * 40, 60)
        await shared.set("too large", b"x" * 101, 60)
        assert [await shared.get(key) is not None for key in ("one", "two", "three", "too large")] == [1, 0, 1, 0]

    run(lambda: MemoryShared(cache_bytes=100), test)


def test_the_settings_name_the_store() -> None:
    assert isinstance(seam.connect(), MemoryShared)
    assert isinstance(seam.connect("redis://127.0.0.1:1/0", on_failure="local"), RedisShared)
    with pytest.raises(SettingsError, match="redis_url"):
        seam.connect("http://127.0.0.1")


# Redis: other replicas.


def replicas(url: str, count: int, test: Callable[..., Awaitable[None]], **options: Any) -> None:
    """The test gets so many replicas, a plain client and the prefix of their keys."""

    async def main() -> None:
        name = ids.random_text(8)
        chosen = {"deadline": PATIENT, "grace": 0, **options}
        each = [RedisShared(url, prefix=name, **chosen) for _ in range(count)]
        client = Redis.from_url(url)
        for replica in each:
            await replica.start()
        try:
            await test(*each, client, f"{{{name}}}:")
        finally:
            for replica in each:
                await replica.close()
            await client.aclose()

    asyncio.run(main())


def test_replicas_share_every_limit(redis: RedisServer) -> None:
    async def test(one: Shared, two: Shared, client: Redis, prefix: str) -> None:
        await one.seed("money", 0)
        await two.seed("money", 50)
        charges = [bucket(100), places(100), money(100)]
        asked = [replica.take(charges, [1, 1, 1]) for replica in (one, two) for _ in range(75)]
        taken = await asyncio.gather(*asked)
        assert [answer.refused for answer in taken].count(None) == 100
        for replica in (one, two):
            assert [await used(replica, charge) for charge in charges] == [100, 100, 100]

    replicas(redis.url, 2, test)


def test_a_dead_replica_gives_up_its_places_but_not_its_money(redis: RedisServer) -> None:
    async def test(alive: RedisShared, dead: RedisShared, client: Redis, prefix: str) -> None:
        await alive.seed("money", 10)
        assert (await dead.take([places(2), money(100)], [2, 50])).refused is None
        assert (await alive.take([places(2)], [1])).refused == 0
        await client.zrem(prefix + "replicas", dead._name)  # as when its lease has ended
        assert (await alive.take([places(2)], [1])).refused is None
        assert await used(alive, money(100)) == 60
        await alive.forget(["money"], ["somebody else"])
        await alive.seed("money", 10)
        assert await used(alive, money(100)) == 60
        await alive.forget(["money"], [dead._replica])
        await alive.seed("money", 35)
        assert await used(alive, money(100)) == 35

    replicas(redis.url, 2, test)


def test_a_replica_that_was_only_slow_joins_again_with_what_it_holds(redis: RedisServer) -> None:
    async def test(slow: RedisShared, other: RedisShared, client: Redis, prefix: str) -> None:
        await slow.seed("money", 10)
        taken = await slow.take([places(2), money(100)], [1, 50])
        await client.zrem(prefix + "replicas", slow._name)
        assert (await slow.take([places(2), money(100)], [1, 20])).refused is None
        assert [await used(other, charge) for charge in (places(2), money(100))] == [2, 80]
        slow.give([places(2), money(100)], [1, 50], [0, 5], taken.session)
        assert await used(slow, places(2)) == 1
        assert await used(other, money(100)) == 35

    replicas(redis.url, 2, test)


def test_a_redis_that_lost_its_memory_is_told_what_is_held(redis: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 10)
        taken = await one.take([bucket(100), places(2), money(100)], [50, 1, 60])
        await client.delete(*await client.keys(prefix.replace("{", "\\{") + "*"))
        await client.script_flush()
        assert list((await one.take([money(100)], [1])).missing) == [0]
        await one.seed("money", 10)
        assert (await one.take([places(2), money(100)], [2, 1])).refused == 0
        assert (await one.take([places(2), money(100)], [1, 31])).refused == 1
        one.give([bucket(100), places(2), money(100)], [50, 1, 60], [1, 0, 7], taken.session)
        assert [await used(one, charge) for charge in (bucket(100), places(2), money(100))] == [0, 0, 17]

    replicas(redis.url, 1, test)


def test_money_waits_until_the_others_can_have_said_what_they_hold(redis: RedisServer) -> None:
    async def test(one: RedisShared, two: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 10)
        assert (await two.take([money(100)], [50])).refused is None
        await client.delete(*await client.keys(prefix.replace("{", "\\{") + "*"))
        with pytest.raises(Unavailable):
            await one.take([places(2), money(100)], [1, 1])
        assert (await one.take([places(2)], [2])).refused is None
        await two.take([places(2)], [0])  # it joins again, too
        while True:
            try:
                assert list((await one.take([money(100)], [1])).missing) == [0]
                break
            except Unavailable:
                await clock.sleep(0.02)
        await one.seed("money", 10)
        assert await used(one, money(100)) == 60

    replicas(redis.url, 2, test, grace=0.5)


def test_a_seed_is_void_when_redis_has_forgotten_that_it_was_expected(redis: RedisServer) -> None:
    async def test(one: RedisShared, two: RedisShared, client: Redis, prefix: str) -> None:
        await one.expect("money")
        await two.expect("money")
        await two.forget(["money"])
        await one.seed("money", 10)
        assert list((await one.take([money(100)], [1])).missing) == [0]
        await one.expect("money")
        await one.seed("money", 15)
        await two.seed("money", 10)
        assert await used(two, money(100)) == 15

    replicas(redis.url, 2, test)


def test_a_replica_that_was_killed_and_started_again_at_once_holds_nothing(redis: RedisServer) -> None:
    """Its lease has not ended: the name of its former life does it."""

    async def test(one: RedisShared, killed: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 10)
        await one.seed("other", 5)
        other = Charge("other", 100, None, seeded=True)
        assert (await killed.take([places(2), money(100), other], [2, 50, 7])).refused is None
        await one.forget(["money"], [killed._replica])
        await one.seed("money", 35)
        assert [await used(one, charge) for charge in (places(2), money(100), other)] == [0, 35, 5]

    replicas(redis.url, 2, test)


def test_every_key_has_an_end(redis: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 0)
        await one.take([bucket(100, period=60.0), places(2), money(100)], [50, 1, 60])
        await one.set("cached", b"1", 60)
        keys = [bytes(key).decode() for key in await client.keys(prefix + "*")]  # type: ignore[arg-type]
        assert len(keys) == 5
        ends = {key.removeprefix(prefix): await client.pttl(key) for key in keys}
        assert 20_000 < ends["bucket"] <= 31_000, "as long as it takes to refill"
        assert all(milliseconds > 0 for milliseconds in ends.values()), ends

    replicas(redis.url, 1, test)


def test_who_closes_leaves_nothing_behind(redis: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        taken = await one.take([places(2)], [1])
        one.give([places(2)], [1], [0], taken.session)
        await one.close()
        assert await client.keys(prefix + "*") == []

    replicas(redis.url, 1, test)


# Redis: away.


def test_closed_refuses_while_redis_is_away_and_goes_on_exactly_afterwards(
    fragile: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 10)
        charges = [bucket(100), places(5), money(100)]
        ended, running = [await one.take(charges, [1, 1, 40]) for _ in range(2)]
        fragile.kill()
        for _ in range(20):
            began = clock.monotonic()
            with pytest.raises(Unavailable) as refused:
                await one.take(charges, [1, 1, 1])
            assert refused.value.code == "limits_unavailable"
            assert clock.monotonic() - began < PATIENT
        with pytest.raises(Unavailable):
            await one.seed("money", 0)
        one.give(charges, [1, 1, 40], [1, 0, 3], ended.session)
        await one.publish("news", b"nobody hears it")
        await one.set("cached", b"1", 60)
        assert await one.get("cached") is None
        fragile.start()
        await back(one)
        # The database has closed one of them: 10 + 3. The other still holds its 40.
        assert list((await one.take(charges, [1, 1, 1])).missing) == [2]
        await one.seed("money", 13)
        assert [await used(one, charge) for charge in charges] == [0, 1, 53]
        one.give(charges, [1, 1, 40], [1, 0, 4], running.session)
        assert [await used(one, charge) for charge in charges] == [0, 0, 17]

    with caplog.at_level(logging.INFO, "homeport.redis"):
        replicas(fragile.url, 1, test, pause=0.1)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], caplog.text


def test_nobody_waits_for_a_redis_that_does_not_answer_and_nothing_counts_twice(fragile: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        await one.seed("money", 0)
        charges = [places(5), money(100)]
        await one.take(charges, [1, 10])
        fragile.freeze()
        began = clock.monotonic()
        results = await asyncio.gather(*(one.take(charges, [1, 10]) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, Unavailable) for result in results)
        with pytest.raises(Unavailable):
            await one.take(charges, [1, 10])
        assert clock.monotonic() - began < PATIENT
        fragile.thaw()
        await back(one)
        await one.seed("money", 0)
        assert [await used(one, charge) for charge in charges] == [1, 10]

    replicas(fragile.url, 1, test, deadline=0.3, pause=0.1)


def test_local_counts_against_this_replicas_share(fragile: RedisServer) -> None:
    async def test(one: RedisShared, two: RedisShared, client: Redis, prefix: str) -> None:
        one._replicas = 2  # as the next heartbeat tells it
        await one.seed("money", 20)
        charges = [bucket(100), places(4), money(100)]
        before = await one.take(charges, [30, 1, 10])
        fragile.kill()
        assert list((await one.take(charges, [1, 1, 1])).missing) == [2]
        await one.seed("money", 20)
        # Of the budget 70 are left: 35 for this replica. Of the bucket 50, of the places 2, one of which is taken.
        assert (await one.take(charges, [1, 0, 36])).refused == 2
        assert (await one.take(charges, [51, 0, 1])).refused == 0
        assert (await one.take(charges, [1, 2, 1])).refused == 1
        during = await one.take(charges, [50, 1, 35])
        assert (during.refused, during.share) == (None, 2)
        one.give(charges, [30, 1, 10], [30, 0, 4], before.session)
        assert (await one.take(charges, [0, 1, 6])).refused is None
        one.give(charges, [50, 1, 35], [10, 0, 35], during.session)
        assert round((await one.take(charges, [0, 0, 0])).used[0]) == 10
        fragile.start()
        await back(one)
        assert list((await one.take(charges, [1, 1, 1])).missing) == [2]
        await one.seed("money", 20 + 4 + 35)
        assert [await used(one, charge) for charge in charges] == [0, 1, 65]

    replicas(fragile.url, 2, test, on_failure="local", pause=0.1)


def test_what_begins_and_ends_while_it_joins_is_counted(fragile: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has been told what is held; before its answer is here one request ends and another begins."""

    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        charges = [bucket(100), places(9), money(100)]
        await one.seed("money", 0)
        ending = await one.take(charges, [1, 1, 40])
        await one.take(charges, [1, 1, 10])
        execute = one._execute
        began = asyncio.Event()

        async def meanwhile(steps: Any, *, load: bool = False) -> list[Any]:
            replies = await execute(steps, load=load)
            if load and not began.is_set():
                await one.seed("money", 0)
                assert (await one.take(charges, [1, 3, 0])).refused is None
                one.give(charges, [1, 1, 40], [1, 0, 2], ending.session)
                began.set()
            return replies

        fragile.kill()
        with pytest.raises(AssertionError):
            await used(one, money(100))  # missing: counted here now
        fragile.start()
        monkeypatch.setattr(one, "_execute", meanwhile)
        await back(one)
        assert began.is_set()
        await one.seed("money", 2)
        assert [await used(one, charge) for charge in charges] == [0, 4, 12]

    replicas(fragile.url, 1, test, on_failure="local", pause=0.1)


def test_what_is_to_be_forgotten_while_redis_is_away_is_forgotten_later(fragile: RedisServer) -> None:
    async def test(alive: RedisShared, dead: RedisShared, client: Redis, prefix: str) -> None:
        await alive.seed("money", 10)
        await dead.take([money(100)], [50])
        await client.zrem(prefix + "replicas", dead._name)
        fragile.freeze()
        with pytest.raises(Unavailable):
            await alive.take([places(1)], [1])
        await alive.forget(["money"], [dead._replica])
        fragile.thaw()
        await back(alive)
        assert list((await alive.take([money(100)], [1])).missing) == [0]
        await alive.seed("money", 20)
        assert await used(alive, money(100)) == 20

    replicas(fragile.url, 2, test, deadline=0.3, pause=0.1)


def test_a_server_starts_without_redis_and_joins_it_later(fragile: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        with pytest.raises(Unavailable):
            await one.take([bucket(1)], [1])
        fragile.start()
        await back(one)
        assert (await one.take([bucket(1)], [1])).refused is None

    fragile.kill()
    replicas(fragile.url, 1, test, pause=0.1)


def test_listeners_listen_again_when_redis_is_back(fragile: RedisServer) -> None:
    async def test(one: RedisShared, client: Redis, prefix: str) -> None:
        async with one.subscribe("news") as messages:
            fragile.kill()
            fragile.start()
            await back(one)

            async def tell() -> None:
                while True:
                    await one.publish("news", b"again")
                    await clock.sleep(0.05)

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                telling = group.create_task(tell())
                assert await anext(messages) == b"again"
                telling.cancel()

    replicas(fragile.url, 1, test, pause=0.1)


async def back(one: RedisShared) -> None:
    """Until it has noticed that Redis was away, and that it is there again."""
    async with asyncio.timeout(20):
        while True:
            try:
                await one.take([Charge("probe", 10**9, AGES)], [0])
            except Unavailable:
                await clock.sleep(0.05)
                continue
            if one._fallback is None:
                return
            await clock.sleep(0.05)
