"""kill -9 in the middle of a run: whoever takes it over goes on at the turn that was in hand, and asks for nothing
again that was written down."""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from openai.types.beta.threads import Run
from openai.types.beta.threads.runs import RunStep

from homeport.control.run_states import KIND
from homeport.store.tables import jobs
from tests import talkers
from tests.api.assistants import DEPRECATED
from tests.fake_upstream import STREAM_HEAD, Visit, chunked, until
from tests.replicas.conftest import stores
from tests.replicas.house import House, housed, read
from tests.replicas.processes import Replica
from tests.replicas.test_batches_killing import client_of
from tests.store.servers import PostgresServer, RedisServer
from tests.talkers import call, says, spoken, turns

pytestmark = DEPRECATED
PATIENCE = 90.0
MODEL = "worker"
SETTINGS = """
[jobs]
lease_seconds = 1.5
poll_seconds = 0.2
[assistants]
poll_after_ms = 50
"""
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
#: What each turn says. Nobody has the first tool, so the loop answers itself and goes on.
TURNS: list[list[Any]] = [
    ["First. ", call("count", {"to": 1})],
    ["Second. ", call("count", {"to": 2})],
    [call("weather", {"city": "Kiel"})],
    ["Third. ", call("count", {"to": 3})],
    ["It ", "rains."],
]


class Interrupted:
    """A model that falls silent in the middle of some turns, when they are asked for the first time, until whoever asks
    is gone. fell: it did so, once more."""

    def __init__(self, *turns_of_silence: int) -> None:
        self._silent = set(turns_of_silence)
        self._well = turns(*[says(*one) for one in TURNS])
        self.fell = threading.Semaphore(0)
        self.asked: list[int] = []

    def __call__(self, visit: Visit) -> None:
        turn = spoken(visit)
        self.asked.append(turn)
        if turn not in self._silent:
            return self._well(visit)
        self._silent.remove(turn)
        visit.send(STREAM_HEAD + chunked(talkers.answer(visit, TURNS[turn])[0]))
        self.fell.release()
        visit.wait_until_left()


def begin(replica: Replica) -> Run:
    with client_of(replica) as client:
        assistant = client.beta.assistants.create(model=MODEL, tools=[FUNCTION])
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "How is the weather?"}])
        return client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)


def comes_to(replica: Replica, run: Run, status: str) -> Run:
    found: list[Run] = []
    with client_of(replica) as client:

        def is_there() -> bool:
            found[:] = [client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)]
            return found[0].status == status

        assert until(is_there, PATIENCE), found
    return found[0]


def submit(replica: Replica, run: Run) -> None:
    assert run.required_action is not None
    (wanted,) = run.required_action.submit_tool_outputs.tool_calls
    with client_of(replica) as client:
        outputs: Any = [{"tool_call_id": wanted.id, "output": "rain"}]
        client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs)


def check(replica: Replica, run: Run, model: Interrupted, silent: set[int]) -> None:
    """Each turn is there once, and those alone were asked for twice that were in hand."""
    assert Counter(model.asked) == {turn: 2 if turn in silent else 1 for turn in range(len(TURNS))}
    with client_of(replica) as client:
        ended = client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
        messages = [*client.beta.threads.messages.list(run.thread_id, order="asc")]
        steps = [*client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc")]
    assert ended.usage is not None
    assert ended.usage.total_tokens == len(TURNS) * talkers.USAGE["total_tokens"]
    said = [part.text.value for one in messages for part in one.content if part.type == "text"]
    assert [one.strip() for one in said] == ["How is the weather?", "First.", "Second.", "Third.", "It rains."]
    assert {one.status for one in messages[1:]} == {"completed"}
    made, called = "message_creation", "tool_calls"
    assert [one.type for one in steps] == [made, called, made, called, called, made, called, made]
    assert {one.status for one in steps} == {"completed"}
    check_told(replica, run, steps)


def check_told(replica: Replica, run: Run, steps: list[RunStep]) -> None:
    """What was told survives: every step and message that was begun has an end, in the order of numbers."""
    path = f"/v1/threads/{run.thread_id}/runs/{run.id}?stream=true"
    lines = replica.ask("GET", path, headers={"OpenAI-Beta": "assistants=v2"}).body.decode().splitlines()
    numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert numbers == sorted({*numbers})
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[-2:] == ["thread.run.completed", "done"]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    ends: dict[str, str] = {}
    for name, data in zip(names[:-1], told, strict=True):
        if name.startswith(("thread.run.step.", "thread.message.")) and not name.endswith(".delta"):
            ends[data["id"]] = name.rpartition(".")[2]
    assert [one for one, end in ends.items() if end == "completed" and one.startswith("step_")] == [
        one.id for one in steps
    ]
    assert {*ends.values()} <= {"completed", "incomplete", "failed"}


@pytest.mark.timeout(240)
def test_on_sqlite(tmp_path: Path) -> None:
    with housed(tmp_path, settings=SETTINGS) as house:
        model = house.fake.by_model[MODEL] = Interrupted(1)
        run = begin(house.first)
        assert model.fell.acquire(timeout=PATIENCE)
        house.first.kill()
        house.first.start()
        waiting = comes_to(house.first, run, "requires_action")
        house.first.kill()
        house.first.start()
        submit(house.first, comes_to(house.first, run, "requires_action"))
        assert comes_to(house.first, run, "completed").started_at == waiting.started_at
        check(house.first, run, model, {1})


@pytest.mark.timeout(240)
def test_on_postgresql_the_other_replica_takes_it_over(
    postgres: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    with housed(tmp_path, replicas=2, settings=SETTINGS, **stores(postgres, redis)) as house:
        model = house.fake.by_model[MODEL] = Interrupted(3)
        run = begin(house.first)
        submit(house.first, comes_to(house.first, run, "requires_action"))
        assert model.fell.acquire(timeout=PATIENCE)
        other = kill_its_worker(house)
        comes_to(other, run, "completed")
        check(other, run, model, {3})


def kill_its_worker(house: House) -> Replica:
    """The other one is left."""
    (job,) = read(house.usage_url, sa.select(jobs.c.owner).where(jobs.c.kind == KIND))
    pid = int(job["owner"].rpartition("/")[2])
    (victim,) = (one for one in house.replicas if one.process is not None and one.process.pid == pid)
    (other,) = (one for one in house.replicas if one is not victim)
    victim.kill()
    return other
