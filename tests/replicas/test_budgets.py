"""A budget is never exceeded, however many spend from it at once, and none of it is lost."""

import asyncio
import json
from collections import Counter

import pytest

from tests import openapi
from tests.api.raw import Answer
from tests.replicas.house import INPUT, OUTPUT, PICO_PER_CENT, Gate, House, Project, spent
from tests.replicas.http import at_once, chat, sent
from tests.upstreams.faults import status

DOLLAR = 100
#: Allowed to take eight tokens; the upstream says seven (tests.fake_upstream.USAGE), and about ten requests fit.
ASKED = chat("priced", stream=True, max_tokens=8)
#: Picodollars: what a request costs, and what it is reserved with.
COST = 1_000_000 * (11 * INPUT + 7 * OUTPUT)
WORST = 1_000_000 * (len(json.dumps(ASKED)) * INPUT + 8 * OUTPUT)


def served(answers: list[Answer]) -> int:
    """How many. The others were refused as OpenAI refuses, and told not to try again."""
    for answer in answers:
        if answer.status != 200:
            assert answer.status == 429
            openapi.validate("ErrorResponse", answer.json)
            assert (answer.error["type"], answer.error["code"]) == ("insufficient_quota", "insufficient_quota")
            assert answer.headers["x-should-retry"] == "false"
            assert "retry-after" not in answer.headers
    return sum(answer.status == 200 for answer in answers)


def spend_the_rest(house: House, project: Project) -> int:
    """One after the other until one is refused; how many were served."""
    for number in range(100):
        port = house.ports[number % len(house.ports)]
        if not served(at_once([port], project.key, ASKED, 1)):
            return number
    raise AssertionError("nothing stops it")


@pytest.mark.parametrize("interval", ["month", "total"])
@pytest.mark.parametrize("of_key", [False, True], ids=["project", "key"])
def test_fifty_streams_against_a_dollar(house: House, of_key: bool, interval: str) -> None:
    project = house.new_project()
    house.spend_limit(project, cents=DOLLAR, of_key=of_key, interval=interval)
    answers = at_once(house.ports, project.key, ASKED, 50)
    assert {answer.status for answer in answers} == {200, 429}
    count = served(answers) + spend_the_rest(house, project)
    rows = house.rows(project, count)
    assert len(rows) == count
    assert {row["cost_pico"] for row in rows} == {COST}
    assert spent(rows) <= DOLLAR * PICO_PER_CENT < spent(rows) + WORST


def test_what_failed_costs_nothing_and_what_was_left_costs_what_it_came_to(house: House) -> None:
    """The tokens of an answer that its client left are counted by the thread that writes the ledger."""
    project = house.new_project()
    house.spend_limit(project, cents=DOLLAR)
    house.fake.by_model["priced-left"] = status(500)
    failed = at_once(house.ports, project.key, {**ASKED, "model": "priced-left"}, 6)
    assert {answer.status for answer in failed} == {500}
    gate = Gate()
    house.fake.by_model["priced-left"] = gate.behave
    left = asyncio.run(leave(house, project, 6))
    house.rows(project, 6 + left)
    gate.open()
    more = spend_the_rest(house, project)
    rows = house.rows(project, 6 + left + more)
    assert Counter(row["outcome"] for row in rows) == {"failed": 6, "left": left, "completed": more}
    assert {row["cost_pico"] for row in rows if row["outcome"] == "failed"} == {0}
    assert all(0 < row["cost_pico"] < COST for row in rows if row["outcome"] == "left")
    assert spent(rows) <= DOLLAR * PICO_PER_CENT < spent(rows) + WORST


async def leave(house: House, project: Project, count: int) -> int:
    """Streams that have begun; how many."""
    async with sent(house.ports, project.key, {**ASKED, "model": "priced-left"}, count) as clients:
        for client in clients:
            await client.head()
            await client.reader.readuntil(b"\n\n")
        return sum(client.status == 200 for client in clients)
