"""The queue against a model of it, by hypothesis: workers that claim, write, die and come back in any order."""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from homeport.store.database import Database
from homeport.store.migrations import migrate
from homeport.store.queue import Beat, Job, LeaseLost, Queue
from tests.store.queues import Bench

LEASE = 30
#: Seconds, long against what a run takes.
PAUSES = st.sampled_from([10, 20, 30, 40])


@dataclass
class Modelled:
    """due: by the model's clock; set: how many times before any was set."""

    id: str
    subject: str
    priority: int
    due: int
    set: int
    running: bool = False
    fence: int = 0
    attempt: int = 0
    cancelled: bool = False
    checkpoint: dict[str, Any] | None = None


class Machine(RuleBasedStateMachine):
    claimed = Bundle("claimed")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        database = Database(f"sqlite:///{Path(self.folder.name) / 'state.db'}", synchronous="OFF")
        self.bench = Bench(self.runner, database, Queue(database, lease_seconds=LEASE))
        self.bench.run(migrate(database, "state"))
        self.jobs: dict[str, Modelled] = {}
        self.now = 0
        self.sets = 0
        self.subjects = 0

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.run(self.bench.database.close())
            self.runner.close()
            self.folder.cleanup()

    def due(self, seconds: int) -> dict[str, Any]:
        self.sets += 1
        return {"due": self.now + seconds, "set": self.sets}

    def mine(self, job: Job) -> Modelled | None:
        """Of the model, while whoever claimed it has it."""
        found = self.jobs.get(job.id)
        return found if found is not None and found.running and found.fence == job.fence else None

    def change(self, found: Modelled, **values: Any) -> None:
        self.jobs[found.id] = replace(found, **values)

    @rule(run_in=st.sampled_from([0, 10, 20]), priority=st.integers(-1, 1))
    def enqueue(self, run_in: int, priority: int) -> None:
        self.subjects += 1
        subject = f"s{self.subjects % 3}"
        made = self.bench.enqueue(subject, run_in=run_in, priority=priority)
        self.jobs[made] = Modelled(made, subject, priority, **self.due(run_in))

    @rule(seconds=PAUSES)
    def pass_time(self, seconds: int) -> None:
        self.bench.pass_time(seconds)
        self.now += seconds

    @rule(target=claimed, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Job | None:
        found = self.bench.claim(limit)
        due = [one for one in self.jobs.values() if one.due <= self.now]
        due = sorted(due, key=lambda one: (one.priority, one.due, one.set))[:limit]
        assert {job.id for job in found} == {one.id for one in due}
        for job in found:
            before = self.jobs[job.id]
            self.change(before, running=True, fence=before.fence + 1, attempt=before.attempt + 1, **self.due(LEASE))
            now = self.jobs[job.id]
            assert (job.fence, job.attempt, job.checkpoint, job.cancel_requested) == (
                *(now.fence, now.attempt, now.checkpoint),
                now.cancelled,
            )
        return found[0] if found else None

    def tried(self, job: Job | None, method: str, **more: Any) -> Modelled | None:
        """A write of whoever claimed the job, which must succeed exactly while they have it."""
        if job is None:
            return None
        found = self.mine(job)
        if found is None:
            with pytest.raises(LeaseLost):
                self.bench.do(method, job, **more)
        else:
            self.bench.do(method, job, **more)
        return found

    @rule(job=claimed, line=st.integers(0, 3))
    def come_further(self, job: Job | None, line: int) -> None:
        found = self.tried(job, "hold", checkpoint={"line": line})
        if found is not None and job is not None:
            attempt = found.attempt if job.checkpoint == {"line": line} else 1
            self.change(found, checkpoint={"line": line}, attempt=attempt, **self.due(LEASE))

    @rule(job=claimed)
    def finish(self, job: Job | None) -> None:
        if (found := self.tried(job, "finish")) is not None:
            del self.jobs[found.id]

    @rule(job=claimed, run_in=st.sampled_from([0, 10]), error=st.sampled_from(["", "KeyError"]))
    def put_off(self, job: Job | None, run_in: int, error: str) -> None:
        if (found := self.tried(job, "later", run_in=run_in, error=error)) is not None:
            attempt = found.attempt if error else found.attempt - 1
            self.change(found, running=False, attempt=attempt, **self.due(run_in))

    @rule(job=claimed)
    def beat(self, job: Job | None) -> None:
        if job is None:
            return
        beat = self.bench.run(self.bench.queue.beat([job]))
        found = self.jobs.get(job.id)
        lost = found is not None and found.fence != job.fence
        cancelled = not lost and (found is None or found.cancelled)
        assert beat == Beat(frozenset([job.claim] * lost), frozenset([job.claim] * cancelled))
        if (mine := self.mine(job)) is not None:
            self.change(mine, **self.due(LEASE))

    @rule(subject=st.sampled_from(["s0", "s1", "s2"]))
    def cancel(self, subject: str) -> None:
        self.bench.do("cancel", subject)
        for one in [*self.jobs.values()]:
            if one.subject == subject and one.running:
                self.change(one, cancelled=True)
            elif one.subject == subject:
                del self.jobs[one.id]

    @invariant()
    def same_rows(self) -> None:
        if hasattr(self, "bench"):
            rows = {row.id: (row.status == "running", row.fence, row.attempt) for row in self.bench.rows()}
            assert rows == {one.id: (one.running, one.fence, one.attempt) for one in self.jobs.values()}


def test_the_queue_does_what_its_model_does() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
