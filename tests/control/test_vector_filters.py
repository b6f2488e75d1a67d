"""Filters over attributes: whatever they are, the databases say what the rules say."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from homeport.control.vector_filters import condition
from homeport.errors import InvalidRequest
from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.tables import vector_store_files
from homeport.wire.vector_store_search import read_filter
from tests.control import databases
from tests.store.vector_stores import make_file, make_store

KEYS = ["a", "b", "é", 'x"y', "a.b", "$[0]", "1", " ", "\\", "🦮", "'", "%s", ":a", "#-1", "[0]"]
TEXTS = st.sampled_from(["", "1", "1.0", "true", "a", "b", "ab", "A", "é", "z", "🦮", "2024-05-01"]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4
)
NUMBERS = st.sampled_from([0, 1, 1.0, 2, -1, 0.1, 1e300, -0.0, 2**53, 2**53 + 1, 10**18, 1.5]) | st.floats(
    allow_nan=False, allow_infinity=False
)
VALUES = TEXTS | NUMBERS | st.booleans()
ATTRIBUTES = st.none() | st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


def comparisons() -> st.SearchStrategy[Any]:
    keys = st.sampled_from(KEYS)
    return st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": keys, "value": VALUES}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["gt", "gte", "lt", "lte"]), "key": keys, "value": TEXTS | NUMBERS}
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["in", "nin"]), "key": keys, "value": st.lists(TEXTS | NUMBERS, max_size=4)}
        ),
    )


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def naive(asked: dict[str, Any], attributes: dict[str, Any]) -> bool:
    """The rules, as one would write them down."""
    kind = asked["type"]
    if kind in ("and", "or"):
        each = [naive(one, attributes) for one in asked["filters"]]
        return all(each) if kind == "and" else any(each)
    if kind in ("ne", "nin"):
        return not naive({**asked, "type": "eq" if kind == "ne" else "in"}, attributes)
    if asked["key"] not in attributes:
        return False
    stored, value = attributes[asked["key"]], asked["value"]
    if kind == "in":
        return any(equal(stored, one) for one in value)
    if kind == "eq":
        return equal(stored, value)
    if kind_of(stored) != kind_of(value):
        return False
    if kind_of(stored) is float:
        stored, value = float(stored), float(value)
    return bool({"gt": stored > value, "gte": stored >= value, "lt": stored < value, "lte": stored <= value}[kind])


def equal(one: Any, other: Any) -> bool:
    if kind_of(one) != kind_of(other):
        return False
    return float(one) == float(other) if kind_of(one) is float else bool(one == other)


def kind_of(value: Any) -> type:
    return float if type(value) in (int, float) else type(value)


class Bench:
    """A store in a database, whose files are as each example has them."""

    def __init__(self, database: Database) -> None:
        self.runner = asyncio.Runner()
        self.database = database

        async def prepare() -> int:
            await migrate(database, "state")
            async with database.write() as connection:
                return await make_store(connection)

        self.store = self.runner.run(prepare())

    def found(self, every: list[dict[str, Any] | None], asked: dict[str, Any]) -> list[bool]:
        async def work() -> list[bool]:
            async with self.database.write() as connection:
                seqs = [
                    await make_file(connection, self.store, f"file-{at}", attributes=one)
                    for at, one in enumerate(every)
                ]
                where = condition(read_filter(asked), sqlite=self.database.sqlite)
                found = {*await connection.scalars(sa.select(vector_store_files.c.seq).where(where))}
                await connection.rollback()
                return [seq in found for seq in seqs]

        return self.runner.run(work())


@pytest.fixture(scope="module", params=databases.KINDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("filters")
    made = Bench(Database(databases.empty(request.param, folder, lambda: request.getfixturevalue("postgres"))))
    yield made
    made.runner.run(made.database.close())
    made.runner.close()


@example([{"a": 1}], {"type": "eq", "key": "a", "value": True})
@example([{"a": True}], {"type": "eq", "key": "a", "value": 1})
@example([{"a": "1"}], {"type": "eq", "key": "a", "value": 1})
@example([{"a": "5"}], {"type": "gt", "key": "a", "value": 1})
@example([None, {}, {"a": 2}], {"type": "ne", "key": "a", "value": 2})
@example([None, {}, {"a": 2}], {"type": "nin", "key": "a", "value": []})
@example([{"a": 2**53 + 1}], {"type": "eq", "key": "a", "value": 2**53})
@given(st.lists(ATTRIBUTES, min_size=1, max_size=5), FILTERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_says_what_the_rules_say(
    bench: Bench, every: list[dict[str, Any] | None], asked: dict[str, Any]
) -> None:
    assert bench.found(every, asked) == [naive(asked, one or {}) for one in every]


@pytest.mark.parametrize(
    ("asked", "param", "message"),
    [
        ([], "filters", "Invalid type for 'filters': expected an object, but got an array instead."),
        ({}, "filters.type", "Missing required parameter: 'filters.type'."),
        (
            {"type": "like", "key": "a", "value": 1},
            "filters.type",
            "Invalid value: 'like'. Supported values are: 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'and', "
            "and 'or'.",
        ),
        ({"type": "eq", "key": "a"}, "filters.value", "Missing required parameter: 'filters.value'."),
        ({"type": "eq", "key": "a", "value": 1, "x": 2}, "filters.x", "Unknown parameter: 'filters.x'."),
        (
            {"type": "eq", "key": "a", "value": None},
            "filters.value",
            "Invalid type for 'filters.value': expected a string, a number or a boolean, but got null instead.",
        ),
        (
            {
                "type": "and",
                "filters": [{"type": "eq", "key": "a", "value": 1}, {"type": "gt", "key": "a", "value": True}],
            },
            "filters.filters[1].value",
            "Invalid type for 'filters.filters[1].value': expected a string or a number, but got a boolean instead.",
        ),
        (
            {"type": "or", "filters": [{"type": "in", "key": "a", "value": ["x", [1]]}]},
            "filters.filters[0].value[1]",
            "Invalid type for 'filters.filters[0].value[1]': expected a string or a number, but got an array instead.",
        ),
        (
            {"type": "and", "filters": []},
            "filters.filters",
            "Invalid 'filters.filters': empty array. Expected an array with minimum length 1, but got an empty array "
            "instead.",
        ),
        (
            {"type": "eq", "key": 1, "value": 1},
            "filters.key",
            "Invalid type for 'filters.key': expected a string, but got an integer instead.",
        ),
        (
            {"type": "eq", "key": "a", "value": 10**400},
            "filters.value",
            "Invalid 'filters.value': the number is too large.",
        ),
        ({"type": "eq", "key": "a\0", "value": 1}, "filters.key", "Invalid 'filters.key': it has a NUL character."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(asked: Any, param: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_filter(asked)
    assert (raised.value.param, raised.value.message) == (param, message)


def test_filters_have_an_end() -> None:
    deep: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(16):
        deep = {"type": "and", "filters": [deep]}
    wide = {"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}] * 257}
    many = {"type": "in", "key": "a", "value": [1] * 10_001}
    for asked in (deep, wide, many):
        with pytest.raises(InvalidRequest, match="at most|more than"):
            read_filter(asked)


def test_the_largest_filters_run(bench: Bench) -> None:
    deep: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(15):
        deep = {"type": "and", "filters": [deep]}
    wide = {"type": "or", "filters": [{"type": "eq", "key": "a", "value": at} for at in range(256)]}
    many = {"type": "in", "key": "a", "value": list(range(10_000))}
    for asked in (deep, wide, many):
        assert bench.found([{"a": 1}, {"a": -1}], asked) == [True, False]
