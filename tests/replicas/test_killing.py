"""kill -9, and a start with the same data: the ledger has every request once, and no limit or budget was passed."""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from itertools import count

from tests.replicas.house import INPUT, OUTPUT, PICO_PER_CENT, Gate, House, Project, spent
from tests.replicas.http import Client, at_once, chat, sent

PATIENCE = 90.0
STREAMS, QUICK = 200, 20
SLOW = chat("priced-slow", stream=True, max_tokens=8)
ASKED = chat("priced", stream=True, max_tokens=8)
#: Picodollars: what a stream is reserved with, and charged when nobody knows how far it came.
WORST = 1_000_000 * (len(json.dumps(SLOW)) * INPUT + 8 * OUTPUT)
CENTS = (STREAMS + QUICK + 2) * WORST // PICO_PER_CENT


def test_in_the_middle_of_two_hundred_streams(house: House) -> None:
    """Beside them are requests that have ended, and whose rows are hardly written."""
    project = house.new_project()
    house.spend_limit(project, cents=CENTS, interval="total")
    house.rate_limit(project, "priced-slow", max_requests_per_1_day=STREAMS)
    gate = Gate()
    house.fake.by_model["priced-slow"] = gate.behave
    outcomes = asyncio.run(kill_among(house, project, gate))
    assert sum(outcome != "refused" for outcome in outcomes.values()) == STREAMS + QUICK
    admitted = {request_id: outcome for request_id, outcome in outcomes.items() if outcome != "refused"}
    rows = house.rows(project, len(admitted))
    assert Counter(row["request_id"] for row in rows) == Counter(admitted.keys())
    assert {row["request_id"]: row["outcome"] for row in rows} == admitted
    for row in rows:
        if row["outcome"] == "killed":
            assert row["estimated"]
            assert (row["cost_pico"], row["stream"]) == (WORST, True)
    spend_the_rest(house, project, len(rows))


async def kill_among(house: House, project: Project, gate: Gate) -> dict[str, str]:
    """Request id -> what the ledger shall say of it."""
    first = house.first
    async with sent(house.ports, project.key, SLOW, STREAMS + 10) as streams:
        for stream in streams:
            await stream.head()
            if stream.status == 200:
                await stream.reader.readuntil(b"\n\n")
        async with sent([first.port], project.key, ASKED, QUICK) as quick:
            answers = [await client.answer() for client in quick]
        killed_port = first.port
        first.kill()
        await asyncio.to_thread(first.start)
        gate.open()
        outcomes = {client.request_id: await outcome(client, killed_port) for client in streams}
    assert {answer.status for answer in answers} == {200}
    return outcomes | {answer.headers["x-request-id"]: "completed" for answer in answers}


async def outcome(client: Client, killed_port: int) -> str:
    if client.status != 200:
        assert client.status == 429
        return "refused"
    whole = b"data: [DONE]" in await client.rest()
    assert whole == (client.port != killed_port)
    return "completed" if whole else "killed"


def test_in_the_middle_of_admission(house: House) -> None:
    """Some have reserved and are not in the journal, some are and have heard nothing."""
    project = house.new_project()
    house.spend_limit(project, cents=CENTS, interval="total")
    gate = Gate()
    house.fake.by_model["priced-slow"] = gate.behave
    heard, completed, killed = asyncio.run(kill_early(house, project, gate))
    rows = house.rows(project, completed + killed)
    assert Counter(row["outcome"] for row in rows) == Counter(completed=completed, killed=killed)
    assert len({row["request_id"] for row in rows}) == len(rows)
    assert heard <= {row["request_id"] for row in rows}
    spend_the_rest(house, project, len(rows))


async def kill_early(house: House, project: Project, gate: Gate) -> tuple[set[str], int, int]:
    """Ids of requests that clients were told; how many were answered whole, and how many the next process found."""
    first = house.first
    async with sent(house.ports, project.key, SLOW, STREAMS) as streams:
        await streams[0].head()
        killed_port = first.port
        first.kill()
        await asyncio.to_thread(first.start)
        killed = len(await asyncio.to_thread(house.rows, project))
        gate.open()
        completed = 0
        for stream in streams:
            with suppress(OSError, asyncio.IncompleteReadError):  # it has heard nothing
                if not stream.status:
                    await stream.head()
                completed += await outcome(stream, killed_port) == "completed"
        return {stream.request_id for stream in streams if stream.status}, completed, killed


def spend_the_rest(house: House, project: Project, rows: int) -> None:
    """One after the other until there is no room for another: nothing of what is left is held for anybody any more.

    rows: that the ledger has already. What has just been written is held a moment longer.
    """
    numbers = count()
    deadline = time.monotonic() + PATIENCE
    while True:
        port = house.ports[next(numbers) % len(house.ports)]
        (answer,) = at_once([port], project.key, ASKED, 1)
        if answer.status == 200:
            rows += 1
            continue
        assert answer.error["code"] == "insufficient_quota"
        found = house.rows(project, rows)
        assert len(found) == rows
        assert spent(found) <= CENTS * PICO_PER_CENT
        if CENTS * PICO_PER_CENT < spent(found) + WORST:
            return
        assert time.monotonic() < deadline, "money is held that nobody will give back"
        time.sleep(0.05)
