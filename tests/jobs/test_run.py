"""What a worker makes of a run: how it begins, is left, goes on and ends, whatever happens in between."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from homeport import clock, ids
from homeport.control import run_states
from homeport.control.owners import Owner
from homeport.errors import HomeportError, InvalidRequest, ModelNotReady, RateLimited, Unavailable, UpstreamFailed
from homeport.jobs.run import RunJobs, last_error
from homeport.jobs.worker import Task
from homeport.loop.asking import Asking
from homeport.loop.loop import Loop
from homeport.loop.tools import Hosted
from homeport.store.events import Events
from homeport.store.queue import LeaseLost
from homeport.store.tables import items, jobs, projects, run_events, run_steps, runs, threads
from tests.loop.models import WEATHER, WHO, Callers, Model, Pause, Tool, Turn, call
from tests.store.queues import Bench

T = TypeVar("T")


class Toolbox:
    def __init__(self, *tools: Tool) -> None:
        self.tools = tools
        self.fails: HomeportError | None = None

    async def of_run(self, who: Owner, **asked: Any) -> Sequence[Hosted]:
        assert who == WHO
        if self.fails:
            raise self.fails
        return self.tools


class NoPictures:
    async def picture(self, owner: Owner, file_id: str, *, param: str, most: int) -> str:
        raise AssertionError("there are none")


class House:
    """One run of one thread, and whoever works on it."""

    def __init__(self, bench: Bench, *turns: Turn, tools: Sequence[Tool] = (), **run: Any) -> None:
        self.bench = bench
        self.model = Model(*turns)
        self.toolbox = Toolbox(*tools)
        self.events = Events(bench.queue, run_events, runs)
        loop = Loop(Asking(self.model, Callers()), max_turns=8)  # type: ignore[arg-type]
        tools_of: Any = self.toolbox
        self.jobs = RunJobs(bench.queue, self.events, loop, tools_of, NoPictures(), at_once=2)
        self.id, self.thread = bench.run(self._made(run))

    async def _made(self, run: dict[str, Any]) -> tuple[str, int]:
        async with self.bench.database.write() as connection:
            if await connection.scalar(sa.select(projects.c.id).where(projects.c.id == WHO.project)) is None:
                await connection.execute(projects.insert().values(id=WHO.project, name="P", created_at=0))
            thread = threads.insert().values(id=ids.thread(), project_id=WHO.project, created_at=0)
            seq: int = (await connection.execute(thread.returning(threads.c.seq))).scalar_one()
            said = {
                "id": ids.message(),
                "project_id": WHO.project,
                "thread_seq": seq,
                "output": False,
                "created_at": 0,
                "type": "message",
                "role": "user",
                "status": "completed",
                "content": [{"type": "text", "text": {"value": "Hello!", "annotations": []}}],
            }
            await connection.execute(items.insert().values(said))
            values = {
                "project_id": WHO.project,
                "key_id": WHO.key_id,
                "thread_seq": seq,
                "assistant_id": "asst_1",
                "model": "m",
                "instructions": "",
                "tools": [WEATHER],
                "parallel_tool_calls": True,
                **run,
            }
            made = await run_states.create(connection, self.bench.queue, values, run_seconds=600)
        assert made is not None
        return made["id"], seq

    def task(self) -> Task:
        (job,) = self.bench.claim(kind=run_states.KIND)
        return Task(job)

    def work(self, task: Task | None = None) -> None:
        """Until the job has ended, or is put back."""
        self.bench.run(self.jobs.run(task or self.task()))

    def until(self, pause: Pause, then: Any = None, task: Task | None = None) -> None:
        """Work, and as soon as it has come to a pause do something; what is raised is raised."""
        at_work = task or self.task()

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(_kept(self.jobs.run(at_work)))
                await pause.reached.wait()
                if then is not None:
                    await then()
            if (error := working.result()) is not None:
                raise error

        self.bench.run(both())

    def state(self) -> tuple[str, list[str], list[str]]:
        """The run's status, its steps' and its messages'."""

        async def read() -> tuple[str, list[str], list[str]]:
            async with self.bench.database.read() as connection:
                run = await connection.scalar(sa.select(runs.c.status).where(runs.c.id == self.id))
                mine = sa.select(runs.c.seq).where(runs.c.id == self.id).scalar_subquery()
                steps = sa.select(run_steps.c.status).where(run_steps.c.run_seq == mine).order_by(run_steps.c.seq)
                said = sa.select(items.c.status).where(items.c.run_id == self.id).order_by(items.c.seq)
                return str(run), [*await connection.scalars(steps)], [*await connection.scalars(said)]

        return self.bench.run(read())

    def row(self) -> Any:
        async def read() -> Any:
            async with self.bench.database.read() as connection:
                return await run_states.find(connection, self.id)

        return self.bench.run(read())

    def told(self) -> list[str]:
        """Names of its events, without `thread.run.` and those of steps and messages."""

        async def read() -> list[str]:
            async with self.bench.database.read() as connection:
                mine = sa.select(runs.c.seq).where(runs.c.id == self.id).scalar_subquery()
                query = sa.select(run_events.c.event).where(run_events.c.run_seq == mine).order_by(run_events.c.number)
                return [*await connection.scalars(query)]

        names = [one.removeprefix("thread.run.") for one in self.bench.run(read())]
        return [one for one in names if "." not in one]

    async def change(self, **values: Any) -> None:
        async with self.bench.database.write() as connection:
            await connection.execute(sa.update(runs).where(runs.c.id == self.id).values(values))

    async def cancel(self) -> None:
        async with self.bench.database.write() as connection:
            run = await run_states.find(connection, self.id)
            assert run is not None
            await run_states.cancel(connection, self.bench.queue, run)


async def _kept(work: Awaitable[None]) -> BaseException | None:
    try:
        await work
    except Exception as error:
        return error
    return None


def test_a_run_is_answered_and_its_job_is_over(bench: Bench) -> None:
    house = House(bench, ["Good ", "day."])
    task = house.task()
    house.work(task)
    assert house.state() == ("completed", ["completed"], ["completed"])
    assert house.told() == ["in_progress", "completed"]
    assert task.over.is_set()
    assert not bench.rows()
    assert (house.row()["prompt_tokens"], house.row()["completion_tokens"]) == (10, 5)


def test_a_run_that_is_there_no_more_is_nothing_to_do(bench: Bench) -> None:
    house = House(bench)
    task = house.task()
    bench.run(house.change(status="completed"))
    house.work(task)
    assert not bench.rows()
    assert not house.model.asked


def test_functions_end_the_job_and_not_the_run(bench: Bench) -> None:
    house = House(bench, ["I look. ", call("weather", "{}")])
    house.work()
    assert house.state() == ("requires_action", ["completed", "in_progress"], ["completed"])
    assert house.told() == ["in_progress", "requires_action"]
    assert not bench.rows()


def test_a_process_that_ends_puts_the_run_back_and_the_turn_is_done_again(bench: Bench) -> None:
    pause = Pause()
    house = House(bench, ["Good ", pause], ["Good day."])
    task = house.task()

    async def stop() -> None:
        task.stopping.set()

    house.until(pause, stop, task)
    assert house.state() == ("in_progress", [], [])
    (row,) = bench.rows()
    assert (row.status, row.attempt) == ("queued", 0)
    house.work()
    assert house.state() == ("completed", ["completed"], ["completed"])
    assert house.model.asked[0]["messages"] == house.model.asked[1]["messages"]
    assert house.told() == ["in_progress", "completed"]


def test_a_hosted_call_that_was_cut_off_is_made_again_and_its_turn_is_not(bench: Bench) -> None:
    search = Tool()
    search.pause = Pause()
    calls = [call("file_search", '{"queries":["a"]}'), call("file_search", '{"queries":["b"]}', at=1)]
    house = House(bench, ["I look. ", *calls], ["Found."], tools=[search], tool_choice="required")
    task = house.task()

    async def stop() -> None:
        task.stopping.set()

    house.until(search.pause, stop, task)
    assert house.state() == ("in_progress", ["completed", "in_progress"], ["completed"])
    search.pause = None
    house.work()
    assert house.state()[0] == "completed"
    assert search.called == ['{"queries":["a"]}', '{"queries":["a"]}', '{"queries":["b"]}']
    first, second = house.model.asked
    assert first["tool_choice"] == "required"
    assert "tool_choice" not in second
    assistant, *outputs = second["messages"][1:]
    assert assistant["content"] == "I look. "
    assert len(assistant["tool_calls"]) == len(outputs) == 2


def test_a_run_that_comes_further_has_its_attempts_counted_anew(bench: Bench) -> None:
    search = Tool()
    search.pause = Pause()
    house = House(bench, [call("file_search", "{}")], tools=[search])
    bench.execute(sa.update(jobs).values(attempt=3))
    task = house.task()
    assert task.job.attempt == 4

    async def stop() -> None:
        task.stopping.set()

    house.until(search.pause, stop, task)
    assert bench.rows()[0].attempt == 0


def test_a_run_that_is_cancelled_ends_with_what_was_said(bench: Bench) -> None:
    pause = Pause()
    house = House(bench, ["Good ", pause])
    task = house.task()

    async def cancel() -> None:
        await house.cancel()
        task.cancelled.set()

    house.until(pause, cancel, task)
    assert house.state() == ("cancelled", ["cancelled"], ["incomplete"])
    assert house.told() == ["in_progress", "cancelling", "cancelled"]
    assert not bench.rows()


def test_a_cancelled_run_whose_worker_was_killed_ends_with_the_next(bench: Bench) -> None:
    house = House(bench)
    task = house.task()
    bench.run(house.change(status="cancelling"))
    house.work(task)
    assert house.state()[0] == "cancelled"
    assert house.told() == ["cancelling", "cancelled"]
    assert not house.model.asked


def test_a_run_that_was_to_be_cancelled_and_has_ended_by_then(bench: Bench) -> None:
    pause = Pause()
    house = House(bench, ["Good ", pause, "day."])

    async def cancel() -> None:
        await house.cancel()  # and nobody tells the worker
        pause.goes_on.set()

    house.until(pause, cancel)
    assert house.state() == ("completed", ["completed"], ["completed"])
    assert house.told() == ["in_progress", "completed"]


def test_a_run_that_wants_outputs_and_is_cancelled_wants_none(bench: Bench) -> None:
    pause = Pause()
    house = House(bench, [pause, call("weather", "{}")])

    async def cancel() -> None:
        await house.cancel()  # and nobody tells the worker
        pause.goes_on.set()

    house.until(pause, cancel)
    assert house.state() == ("cancelled", ["cancelled"], [])
    assert house.told() == ["in_progress", "cancelling", "cancelled"]


def test_a_run_expires(bench: Bench) -> None:
    house = House(bench, ["Good ", Pause()])
    task = house.task()
    bench.run(house.change(expires_at=int(clock.now()) + 1))
    house.work(task)  # it may have begun to speak by then
    status, steps, messages = house.state()
    assert status == "expired"
    assert {*steps} <= {"expired"}
    assert {*messages} <= {"incomplete"}
    assert house.told() == ["in_progress", "expired"]
    assert not bench.rows()


def test_a_run_that_has_expired_by_then_is_not_begun(bench: Bench) -> None:
    house = House(bench)
    bench.run(house.change(expires_at=int(clock.now())))
    house.work()
    assert house.state() == ("expired", [], [])
    assert not house.model.asked


def test_the_end_of_a_run_that_was_written_down_but_for_its_status(bench: Bench) -> None:
    """Whoever had it was killed between the two."""
    house = House(bench, ["Good day.", "<length>"])
    house.work()
    assert house.state()[0] == "incomplete"
    bench.run(house.change(status="in_progress", incomplete_reason=None))
    bench.enqueue(house.id, kind=run_states.KIND, lane=run_states.LANE)
    house.work()
    assert house.state() == ("incomplete", ["completed"], ["incomplete"])
    assert house.row()["incomplete_reason"] == "max_completion_tokens"
    assert len(house.model.asked) == 1


def test_what_a_tool_refuses_fails_the_run(bench: Bench) -> None:
    house = House(bench)
    house.toolbox.fails = InvalidRequest("The vector store vs_1 has expired.")
    house.work()
    assert house.state()[0] == "failed"
    assert house.row()["last_error"] == {"code": "invalid_prompt", "message": "The vector store vs_1 has expired."}
    assert house.told() == ["in_progress", "failed"]


def test_a_database_that_is_away_fails_no_run(bench: Bench) -> None:
    house = House(bench)
    house.toolbox.fails = Unavailable("The database cannot be reached.")
    with pytest.raises(Unavailable):
        house.work()
    assert house.state()[0] == "in_progress"


def test_a_run_that_is_given_up_has_failed(bench: Bench) -> None:
    house = House(bench)
    task = house.task()
    bench.run(house.change(status="in_progress"))

    async def give_up() -> None:
        async with bench.database.write() as connection:
            await house.jobs.give_up(connection, task.job, "It was broken.")

    bench.run(give_up())
    assert house.state()[0] == "failed"
    assert house.row()["last_error"]["code"] == "server_error"
    assert house.told() == ["failed"]
    assert not bench.run(bench.queue.holds(task.job))


def test_a_thread_that_is_deleted_meanwhile_is_nobodys_work(bench: Bench) -> None:
    pause = Pause()
    house = House(bench, ["Good ", pause])
    task = house.task()

    async def delete() -> None:
        async with bench.database.write() as connection:
            await connection.execute(sa.select(threads).where(threads.c.seq == house.thread).with_for_update())
            await run_states.abandon(connection, bench.queue, house.thread)
            await connection.execute(sa.delete(threads).where(threads.c.seq == house.thread))
        task.cancelled.set()

    with pytest.raises(LeaseLost):
        house.until(pause, delete, task)
    assert not bench.rows()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RateLimited("Slow down.", kind="requests"), "rate_limit_exceeded"),
        (UpstreamFailed("Busy.", headers=(("retry-after", "1"),)), "rate_limit_exceeded"),
        (ModelNotReady("It is not pulled."), "server_error"),
        (InvalidRequest("No."), "invalid_prompt"),
        (HomeportError("A bug."), "server_error"),
    ],
)
def test_what_a_run_says_of_its_error(error: HomeportError, code: str) -> None:
    assert last_error(error).code == code
    assert last_error(error).message == error.message
