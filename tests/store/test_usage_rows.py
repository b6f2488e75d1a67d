"""Rows of usage: written exactly once, and every sum is what plain Python makes of the rows."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from homeport.errors import Unavailable
from homeport.store import usage_batch
from homeport.store.database import Database
from homeport.store.usage_batch import Batch
from homeport.store.usage_rows import UsageRow, UsageRows
from homeport.store.usage_sums import Span
from homeport.store.usage_tables import costs, hours, usage
from tests.store import made_usage
from tests.store.conftest import Store, check_hours
from tests.store.made_usage import DAY, HOUR, START, between, row


def test_a_row_is_the_table_s(store: Store) -> None:
    assert usage_batch.FIELDS == tuple(name for name in usage.c.keys() if name != "seq")
    assert {*usage_batch.GROUP, "hour"} == {
        "ran" if one == "model" else one for one in hours.primary_key.columns.keys()
    }
    assert tuple(hours.c.keys()) == (
        "hour",
        *("model" if name == "ran" else name for name in usage_batch.GROUP),
        "requests",
        *usage_batch.COUNTS,
        "cost_pico",
        "saved_pico",
        "unpriced",
        "list_pico",
        "unlisted",
    )
    assert tuple(costs.c.keys()) == ("hour", *usage_batch.WHOSE, "line_item", "unit", "quantity", "cost_pico")


def test_what_is_written_is_found(store: Store) -> None:
    whole = row(
        1,
        ended_at=START + 3.75,
        backend="openai",
        stream=True,
        batch=True,
        service_tier="flex",
        cache_hit=True,
        estimated=True,
        size="hd 1024x1792",
        saved_pico=12,
        price_rule="gpt-4o@2024-10-01",
        first_ms=120,
        total_ms=3500,
        tries=2,
        list_pico=34,
        **dict.fromkeys(made_usage.COUNTS, 3),
    )
    bare = row(2, cost_pico=None, price_lines=None)
    store.write(whole, bare)
    assert store.run(store.rows.find(whole.request_id)) == whole
    assert store.run(store.rows.find(bare.request_id)) == bare
    assert store.run(store.rows.find("req_nobody")) is None


@pytest.mark.parametrize("count", [1, 2, 8, 9, 64, 65, 255, 256, 257, 600])
def test_batches_of_any_length_are_written_once(store: Store, count: int) -> None:
    rows = made_usage.rows(count)
    store.write(*rows)
    check_hours(store, rows)
    assert sorted(one.request_id for one in store.stored(usage)) == sorted(one.request_id for one in rows)
    store.write(*rows)
    check_hours(store, rows)


def test_nothing_is_nothing(store: Store) -> None:
    store.write()
    assert store.stored(usage) == []


def test_batches_that_overlap_count_once(store: Store) -> None:
    rows = made_usage.rows(500)
    chance = random.Random(1)
    for start in range(0, 500, 50):
        batch = rows[max(0, start - 30) : start + 50]
        chance.shuffle(batch)
        store.write(*batch)
    check_hours(store, rows)


def test_of_one_request_in_a_batch_the_first_row_counts(store: Store) -> None:
    store.write(row(1), row(2), row(1, input_tokens=7), row(1, key_id="key_b"))
    check_hours(store, [row(1), row(2)])
    store.write(row(3), row(1, input_tokens=8))
    check_hours(store, [row(1), row(2), row(3)])


def test_writers_side_by_side_count_once(store: Store) -> None:
    rows = made_usage.rows(300)
    others = UsageRows(store.database)

    async def both() -> None:
        for start in range(0, 300, 60):
            batch = rows[start : start + 60]
            await asyncio.gather(store.rows.write(batch), others.write(batch[::-1]))
        await others.close()

    store.run(both())
    check_hours(store, rows)


def test_what_fails_is_not_written_by_half(store: Store) -> None:
    rows = made_usage.rows(20)
    store.execute(sa.text("ALTER TABLE usage_costs RENAME TO elsewhere"))
    try:
        with pytest.raises(Unavailable):
            store.write(*rows)
    finally:
        store.execute(sa.text("ALTER TABLE elsewhere RENAME TO usage_costs"))
    assert store.stored(usage) == []
    assert store.stored(hours) == []
    store.write(*rows)
    check_hours(store, rows)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'usage.db'}")
    with pytest.raises(Unavailable):
        asyncio.run(UsageRows(database).write([row()]))


ODD = [
    pytest.param({"model": "gpt\x004"}, {"model": "gpt\ufffd4"}, id="NUL"),
    pytest.param({"ran": "gpt\ud83d"}, {"ran": "gpt?"}, id="half a character"),
    pytest.param({"input_tokens": 10**40}, {"input_tokens": usage_batch.MOST}, id="tokens beyond measure"),
    pytest.param({"cached_tokens": -5}, {"cached_tokens": 0}, id="fewer than none"),
    pytest.param(
        {"cost_pico": 10**30, "price_lines": [("x", 1, "tokens", Decimal(10**18), 10**30)]},
        {
            "cost_pico": usage_batch.MOST_PICO,
            "price_lines": [("x", 1, "tokens", Decimal(10**18), usage_batch.MOST_PICO)],
        },
        id="money beyond measure",
    ),
]


@pytest.mark.parametrize(("odd", "kept"), ODD)
def test_an_odd_row_does_not_hold_up_the_others(store: Store, odd: dict[str, Any], kept: dict[str, Any]) -> None:
    store.write(row(1), row(2, **odd), row(3))
    check_hours(store, [row(1), row(2, **kept), row(3)])
    assert store.run(store.rows.find(row(2).request_id)) == row(2, **kept)


def test_a_cost_without_lines_is_a_line_of_its_own(store: Store) -> None:
    store.write(row(1), row(2, price_lines=None))
    line = ("gpt-4o-2024-08-06", 1, "requests", Decimal("0.00035"), 350_000_000)
    check_hours(store, [row(1), row(2, price_lines=[line])])


def test_a_batch_gives_hours_in_the_order_of_their_keys() -> None:
    by_hour, by_line = Batch.of(made_usage.rows(200)).sums()
    assert [one[:10] for one in by_hour] == sorted(one[:10] for one in by_hour)
    assert [one[:6] for one in by_line] == sorted(one[:6] for one in by_line)


def spans(count: int) -> Iterator[Span]:
    """On the edges of hours and off them, wide and narrow, in buckets of each width."""
    chance = random.Random(3)
    for _ in range(count):
        width = chance.choice([60, HOUR, DAY])
        start = START + chance.randrange(-DAY, 3 * DAY)
        end = start + chance.choice([1, 59, HOUR, chance.randrange(1, 3 * DAY)])
        if chance.random() < 0.5:
            start, end = start // HOUR * HOUR, -(-end // HOUR) * HOUR
        yield Span(start, end, width)


def bucket_of(span: Span) -> Callable[[UsageRow], int]:
    return lambda one: int(one.started_at) // span.width * span.width


def test_sums_of_any_span_are_those_of_the_rows(store: Store) -> None:
    rows = made_usage.rows(800)
    store.write(*rows)
    for span in spans(60):
        begin = bucket_of(span)
        counts = ("input_tokens", "output_tokens")
        wanted = made_usage.summed(
            between(rows, span.start, span.end, page="completions"),
            lambda one: (begin(one), one.project_id, one.ran, one.batch),  # noqa: B023
            counts,
        )
        found = store.run(store.sums.used("completions", span, counts, group_by=["project_id", "model", "batch"]))
        assert {(one.start, *one.group): dict(one.amounts) for one in found} == wanted, span


def test_sums_of_some(store: Store) -> None:
    rows = made_usage.rows(600)
    store.write(*rows)
    for span in (Span(START, START + 3 * DAY, DAY), Span(START + 1000, START + 2 * DAY + 77, DAY)):
        chosen = between(rows, span.start, span.end, page="images", user_id="user-ann")
        plain = [one for one in chosen if one.size.endswith("1024x1024")]
        only = {"user_id": ["user-ann"], "size": ["1024x1024"]}
        (found,) = _totals(store.run(store.sums.used("images", span, ["images"], only=only)))
        assert found == (len(plain), sum(one.images for one in plain))


def _totals(found: list[Any]) -> list[tuple[int, ...]]:
    """All buckets together."""
    return [tuple(sum(column) for column in zip(*(one.amounts.values() for one in found), strict=True))]


def test_spending_of_any_span_is_that_of_the_rows(store: Store) -> None:
    rows = made_usage.rows(600)
    store.write(*rows)
    for span in spans(40):
        begin = bucket_of(span)
        wanted = made_usage.spending(
            between(rows, span.start, span.end),
            lambda one, item, unit: (begin(one), one.key_id, item, unit),  # noqa: B023
        )
        found = store.run(store.sums.spending(span, group_by=["key_id", "line_item", "unit"]))
        assert {(one.start, *one.group): tuple(one.amounts.values()) for one in found} == wanted, span


def test_savings_of_any_span_are_those_of_the_rows(store: Store) -> None:
    rows = made_usage.rows(600)
    store.write(*rows)
    for span in spans(40):
        begin = bucket_of(span)
        wanted: Counter[tuple[Any, ...]] = Counter()
        for one in between(rows, span.start, span.end):
            if one.saved_pico:
                wanted[(begin(one), one.key_id, one.ran)] += one.saved_pico
        found = store.run(store.sums.saved(span, group_by=["key_id", "model"]))
        assert {(one.start, *one.group): one.amounts["pico"] for one in found} == wanted, span


@pytest.mark.parametrize("since", [None, START - 5, START, START + 7 * HOUR, START + 7 * HOUR + 0.5, START + 9 * DAY])
@pytest.mark.parametrize("whose", [{}, {"project_id": "proj_red"}, {"key_id": "key_b"}, {"key_id": "key_z"}])
def test_what_was_spent(store: Store, since: float | None, whose: dict[str, str]) -> None:
    rows = made_usage.rows(300)
    store.write(*rows)
    chosen = between(rows, 0 if since is None else since, START + 9 * DAY, **whose)
    assert store.run(store.rows.spent(since=since, **whose)) == sum(one.cost_pico or 0 for one in chosen)


def test_more_money_than_an_integer_of_the_database_holds(store: Store) -> None:
    most = usage_batch.MOST_PICO
    line = [("everything", 1, "tokens", Decimal(most).scaleb(-12), most)]
    rich = [row(n, started_at=float(START + n * HOUR), cost_pico=most, price_lines=line) for n in range(1000)]
    store.write(*rich)
    assert 1000 * most > 2**63
    assert store.run(store.rows.spent()) == 1000 * most
    found = store.run(store.sums.spending(Span(START, START + 1000 * HOUR, DAY)))
    assert sum(one.amounts["pico"] for one in found) == 1000 * most
