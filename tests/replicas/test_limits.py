"""A limit lets through what it says, however many clients and replicas there are."""

import asyncio
import time

from tests import openapi
from tests.api.raw import Answer
from tests.replicas.house import Gate, House
from tests.replicas.http import at_once, chat, sent

LIMIT, CLIENTS = 100, 130


def admitted(answers: list[Answer], *, wait: float) -> list[Answer]:
    """The others were refused as OpenAI refuses. wait: seconds until there is place for one more, at most."""
    for answer in answers:
        if answer.status != 200:
            assert answer.status == 429
            openapi.validate("ErrorResponse", answer.json)
            assert answer.error["code"] == "rate_limit_exceeded"
            assert answer.error["type"] == "requests"
            assert answer.error["param"] is None
            assert 1 <= int(answer.headers["retry-after"]) <= max(1, wait)
    return [answer for answer in answers if answer.status == 200]


def test_a_hundred_a_minute_over_all_replicas(house: House) -> None:
    project = house.new_project()
    house.rate_limit(project, "minutely", max_requests_per_1_minute=LIMIT)
    began = time.monotonic()
    answers = at_once(house.ports, project.key, chat("minutely"), CLIENTS)
    given_back = (time.monotonic() - began) * LIMIT / 60
    found = admitted(answers, wait=1)
    assert LIMIT <= len(found) <= LIMIT + given_back  # a hundred, if all of it took less than 0.6 s
    told = {answer.headers["x-ratelimit-remaining-requests"] for answer in answers if answer not in found}
    assert told == {"0"}
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {str(LIMIT)}
    assert len(house.rows(project, len(found))) == len(found) == len(house.fake.received_for("minutely"))


def test_a_hundred_a_day_over_all_replicas(house: House) -> None:
    """In no time that this test could take does another one come back."""
    project = house.new_project()
    house.rate_limit(project, "daily", max_requests_per_1_day=LIMIT)
    answers = at_once(house.ports, project.key, chat("daily", stream=True), CLIENTS)
    found = admitted(answers, wait=86_400 / LIMIT)
    assert len(found) == LIMIT == len(house.fake.received_for("daily"))
    assert len(house.rows(project, LIMIT)) == LIMIT


def test_ten_at_once_over_all_replicas_and_ten_more_when_they_have_ended(house: House) -> None:
    project = house.new_project()
    house.rate_limit(project, "crowded", max_concurrent_requests=10)
    gate = Gate()
    house.fake.by_model["crowded"] = gate.behave

    async def come() -> list[Answer]:
        gate.shut()
        async with sent(house.ports, project.key, chat("crowded", stream=True), 40) as clients:
            for client in clients:
                await client.head()
            gate.open()
            return [await client.answer() for client in clients]

    for _ in range(2):
        assert len(admitted(asyncio.run(come()), wait=1)) == 10
