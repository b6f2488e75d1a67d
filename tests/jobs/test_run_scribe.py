"""What happens in a loop, as rows and events of a run, on SQLite and on PostgreSQL alike."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from homeport.control import run_states, run_steps
from homeport.control.run_states import Run
from homeport.jobs.run_scribe import RunScribe
from homeport.loop.turns import Annotation, Used
from homeport.store.calls import Calling, MadeFile, Passage, Ran, Searched
from homeport.store.events import Events
from homeport.store.queue import Job, LeaseLost
from homeport.store.tables import items, run_events, runs, threads
from tests import openapi
from tests.store.queues import Bench, opened
from tests.store.runs import make_run
from tests.store.servers import PostgresServer, postgres_server

USED = Used(20, 10)
MESSAGE = [
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
]
SCHEMAS = {
    "thread.message.delta": "MessageDeltaObject",
    "thread.run.step.delta": "RunStepDeltaObject",
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('scribe') / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create("scribe")


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    with opened(url) as made:
        yield made


class House:
    """A run, and whoever works on it."""

    def __init__(self, bench: Bench) -> None:
        self.database = bench.database
        self.queue = bench.queue
        self.events = Events(bench.queue, run_events, runs)
        self.run: Run = {}
        self.job: Job

    async def begin(self, **values: Any) -> None:
        async with self.database.write() as connection:
            seq = await make_run(connection, **values)
            run_id = await connection.scalar(sa.select(runs.c.id).where(runs.c.seq == seq))
            await self.queue.enqueue(connection, "runs", "run", str(run_id))
            found = await run_states.find(connection, str(run_id))
        assert found is not None
        self.run = found
        await self.claim()

    async def claim(self) -> None:
        (self.job,) = await self.queue.claim({"run": 1}, "me")

    @asynccontextmanager
    async def working(self, *, again: bool = False) -> AsyncGenerator[RunScribe, None]:
        seq = self.run["seq"]
        async with self.database.read() as connection:
            first = await connection.scalar(sa.select(runs.c.events).where(runs.c.seq == seq))
        async with self.events.telling(seq, first or 0, self.job, again=again) as telling:
            yield RunScribe(self.queue, self.job, self.run, telling)

    async def told(self) -> list[tuple[str, Any]]:
        query = sa.select(run_events.c.event, run_events.c.data).where(run_events.c.run_seq == self.run["seq"])
        async with self.database.read() as connection:
            found = await connection.execute(query.order_by(run_events.c.number))
            return [(row.event, msgspec.json.decode(row.data)) for row in found]

    async def names(self) -> list[str]:
        return [name for name, _ in await self.told()]

    async def steps(self) -> list[Any]:
        async with self.database.read() as connection:
            return [*await run_steps.of_run(connection, self.run["seq"])]

    async def messages(self) -> list[Any]:
        query = sa.select(items).where(items.c.run_id == self.run["id"]).order_by(items.c.seq)
        async with self.database.read() as connection:
            return [*(await connection.execute(query)).mappings()]


def calling(kind: Any = "function", name: str = "weather", number: int = 1) -> Calling:
    return Calling(id=f"call_{number}", type=kind, name=name, arguments="")


async def write(scribe: RunScribe, call: Calling, *pieces: str) -> None:
    await scribe.call_began(call)
    for piece in pieces:
        call.arguments += piece
        await scribe.arguments(call, piece)


def deltas(told: list[tuple[str, Any]], name: str) -> list[Any]:
    return [data["delta"] for event, data in told if event == name]


def test_a_message_and_its_step(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            await scribe.text("Good ", [])
            assert [(row["status"], row["content"]) for row in await house.messages()] == [("in_progress", [])]
            assert await house.names() == MESSAGE
            cited = Annotation("file_citation", "【1】", 5, 8, "file-1", "a.txt")
            await scribe.text("day【1】", [cited])
            await scribe.text("!", [Annotation("file_path", "sandbox:/mnt/data/b", 0, 4, "file-2", "b")])
            await scribe.message_ended("")
            await scribe.turn_ended([], USED)
        told = await house.told()
        assert [name for name, _ in told] == [
            *MESSAGE,
            *["thread.message.delta"] * 3,
            "thread.message.completed",
            "thread.run.step.completed",
        ]
        parts = [one["content"] for one in deltas(told, "thread.message.delta")]
        assert parts[0] == [{"index": 0, "type": "text", "text": {"value": "Good ", "annotations": []}}]
        assert parts[1][0]["text"]["annotations"] == [
            {
                "index": 0,
                "type": "file_citation",
                "text": "【1】",
                "start_index": 5,
                "end_index": 8,
                "file_citation": {"file_id": "file-1"},
            }
        ]
        assert parts[2][0]["text"]["annotations"][0]["index"] == 1
        assert told[2][1]["content"] == []
        completed = told[-2][1]
        openapi.validate("MessageObject", completed)
        (text,) = completed["content"]
        assert text["text"]["value"] == "Good day【1】!"
        assert [one["type"] for one in text["text"]["annotations"]] == ["file_citation", "file_path"]
        assert "index" not in text["text"]["annotations"][0]
        (message,) = await house.messages()
        assert (message["status"], message["content"]) == ("completed", [text])
        (step,) = await house.steps()
        assert (step["status"], step["prompt_tokens"], step["completion_tokens"]) == ("completed", 20, 10)
        assert told[-1][1]["usage"] == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        for name, data in told:
            if name in SCHEMAS:
                openapi.validate(SCHEMAS[name], data)

    bench.run(tell())


def test_a_message_before_calls_has_ended_when_they_begin(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            await scribe.text("Let me see.", [])
            await scribe.message_ended("")
            first, second = calling(), calling(number=2)
            await write(scribe, first, '{"city":', '"Kiel"}')
            await write(scribe, second, "{}")
            await scribe.turn_ended([first, second], USED)
        told = await house.told()
        step = ["thread.run.step.created", "thread.run.step.in_progress"]
        ended = ["thread.message.completed", "thread.run.step.completed"]
        assert [name for name, _ in told] == [
            *MESSAGE,
            "thread.message.delta",
            *ended,
            *step,
            *["thread.run.step.delta"] * 5,
        ]
        assert [one["step_details"]["tool_calls"] for one in deltas(told, "thread.run.step.delta")[:3]] == [
            [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "", "output": None},
                }
            ],
            [{"index": 0, "type": "function", "function": {"arguments": '{"city":'}}],
            [{"index": 0, "type": "function", "function": {"arguments": '"Kiel"}'}}],
        ]
        made, called = await house.steps()
        assert (made["status"], made["prompt_tokens"], made["completion_tokens"]) == ("completed", 0, 0)
        assert (called["status"], called["prompt_tokens"]) == ("in_progress", 20)
        assert [one.arguments for one in run_steps.pending(called)] == ['{"city":"Kiel"}', "{}"]

    bench.run(tell())


def test_code_is_told_while_it_is_written_and_what_came_of_it(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin(tools=[{"type": "code_interpreter"}])
        code = 'print("ü\\n")\n'
        async with house.working() as scribe:
            call = calling("code_interpreter", "code_interpreter")
            pieces = ['{"co', 'de": "print(', '\\"', "\\u00f", "c", "\\\\n", '\\")', "\\n", '"}']
            await write(scribe, call, *pieces)
            await scribe.turn_ended([call], USED)
            files = [MadeFile("a.png", "file-1", "cfile_1", 9, True), MadeFile("a.csv", "file-2", "cfile_2", 9)]
            call.result = Ran("cntr_1", code, "ü\n", files)
            call.output = "ü"
            await scribe.call_ended(call)
            await scribe.text("Drawn.", [])
            await scribe.message_ended("")
            await scribe.turn_ended([], USED)
        told = await house.told()
        pieces_told = [one["step_details"]["tool_calls"][0] for one in deltas(told, "thread.run.step.delta")]
        assert pieces_told[0] == {
            "index": 0,
            "id": "call_1",
            "type": "code_interpreter",
            "code_interpreter": {"input": "", "outputs": []},
        }
        said = [one["code_interpreter"].get("input", "") for one in pieces_told]
        assert "".join(said) == code
        assert len([one for one in said if one]) > 3
        assert pieces_told[-1]["code_interpreter"] == {
            "outputs": [
                {"index": 0, "type": "logs", "logs": "ü\n"},
                {"index": 1, "type": "image", "image": {"file_id": "file-1"}},
            ]
        }
        picture, text = [one["content"][0] for one in deltas(told, "thread.message.delta")]
        assert picture == {"index": 0, "type": "image_file", "image_file": {"file_id": "file-1", "detail": "auto"}}
        assert text["index"] == 1
        (message,) = await house.messages()
        assert [part["type"] for part in message["content"]] == ["image_file", "text"]
        for name, data in told:
            if name in SCHEMAS:
                openapi.validate(SCHEMAS[name], data)

    bench.run(tell())


def test_what_was_found_comes_with_the_step(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            calls = [calling("file_search", "file_search", number) for number in (1, 2)]
            for call in calls:
                await write(scribe, call, '{"query": "x"}')
            await scribe.turn_ended(calls, USED)
            for number, call in enumerate(calls):
                call.result = Searched(["x"], [Passage("【1:0†a】", "file-1", "a.txt", 0.5, "text")])
                call.output = "found"
                await scribe.call_ended(call)
                (step,) = await house.steps()
                assert step["status"] == ("in_progress", "completed")[number]
        told = await house.told()
        assert [one["step_details"]["tool_calls"] for one in deltas(told, "thread.run.step.delta")] == [
            [{"index": at, "id": f"call_{at + 1}", "type": "file_search", "file_search": {}}] for at in range(2)
        ]
        name, data = told[-1]
        assert name == "thread.run.step.completed"
        found = data["step_details"]["tool_calls"][1]["file_search"]["results"]
        assert found == [{"file_id": "file-1", "file_name": "a.txt", "score": 0.5}]

    bench.run(tell())


def test_refusals_and_messages_that_are_cut_off(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            await scribe.reasoning("Hm.")
            await scribe.refusal("I will ")
            await scribe.refusal("not.")
            await scribe.message_ended("max_tokens")
            await scribe.turn_ended([], USED)
        told = await house.told()
        assert [one["content"][0] for one in deltas(told, "thread.message.delta")] == [
            {"index": 0, "type": "refusal", "refusal": "I will "},
            {"index": 0, "type": "refusal", "refusal": "not."},
        ]
        assert [name for name, _ in told[-2:]] == ["thread.message.incomplete", "thread.run.step.completed"]
        assert told[-2][1]["incomplete_details"] == {"reason": "max_tokens"}
        assert told[-2][1]["content"] == [{"type": "refusal", "refusal": "I will not."}]

    bench.run(tell())


def test_calls_that_are_cut_off_are_never_made(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            await write(scribe, calling(), '{"city": "Ki')
            await scribe.turn_ended([], USED)
        (step,) = await house.steps()
        assert (step["status"], step["calls"]) == ("failed", [])
        assert (await house.names())[-1] == "thread.run.step.failed"

    bench.run(tell())


def test_calls_that_nobody_can_make_have_their_outputs_at_once(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            call = calling(name="nothing")
            await write(scribe, call, "{}")
            call.output = "There is no tool."
            await scribe.turn_ended([call], USED)
        told = await house.told()
        assert [name for name, _ in told[-2:]] == ["thread.run.step.delta", "thread.run.step.completed"]
        assert told[-2][1]["delta"]["step_details"]["tool_calls"][0]["function"] == {"output": "There is no tool."}

    bench.run(tell())


@pytest.mark.parametrize("put_back", [False, True], ids=["killed", "put back"])
@pytest.mark.parametrize("called", [False, True], ids=["in its message", "in its calls"])
def test_half_a_turn_is_told_its_end_and_done_again(bench: Bench, *, called: bool, put_back: bool) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            done = calling("file_search", "file_search")
            await write(scribe, done, "{}")
            await scribe.turn_ended([done], USED)
            await scribe.text("Half a ", [Annotation("file_path", "Half", 0, 4, "file-1", "b")])
            await scribe.text("word", [])
            if called:
                await scribe.message_ended("")
                await write(scribe, calling(number=2), '{"ci')
            if put_back:
                async with house.database.write() as connection:
                    await scribe.drop(connection)
                    await house.queue.later(connection, house.job, run_in=0)
        if not put_back:
            bench_jobs = sa.update(runs.metadata.tables["jobs"]).values(run_at=0.0)
            async with house.database.write() as connection:
                await connection.execute(bench_jobs)
        await house.claim()
        async with house.working(again=True) as scribe:
            await scribe.take_over()
            (step,) = await house.steps()
            assert (step["type"], step["status"]) == ("tool_calls", "in_progress")
            assert await house.messages() == []
            done.output = "Found."
            await scribe.call_ended(done)
            await scribe.text("Whole.", [])
            await scribe.message_ended("")
            await scribe.turn_ended([], USED)
        told = await house.told()
        closing = [name for name, _ in told if name.rpartition(".")[2] in ("incomplete", "failed", "completed")]
        again = ["thread.run.step.completed", "thread.message.completed", "thread.run.step.completed"]
        if called:
            assert closing == [
                "thread.message.completed",
                "thread.run.step.completed",
                "thread.run.step.failed",
                *again,
            ]
        else:
            assert closing == ["thread.message.incomplete", "thread.run.step.failed", *again]
            half = next(data for name, data in told if name == "thread.message.incomplete")
            assert half["incomplete_details"] == {"reason": "run_failed"}
            (part,) = half["content"]
            assert (part["text"]["value"], len(part["text"]["annotations"])) == ("Half a word", 1)
        assert [part["text"]["value"] for row in await house.messages() for part in row["content"]] == ["Whole."]
        assert [step["status"] for step in await house.steps()] == ["completed"] * 2

    bench.run(tell())


def test_a_run_that_ends_in_the_middle_keeps_what_was_said(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin(status="cancelling")
        async with house.working() as scribe:
            await scribe.text("Half.", [])
            async with house.database.write() as connection:
                await scribe.leave(connection)
                ended = await run_states.cancelled(connection, house.run)
        assert ended is not None
        (message,), (step,) = ended.messages, ended.steps
        assert (message["status"], message["incomplete_reason"]) == ("incomplete", "run_cancelled")
        assert message["content"][0]["text"]["value"] == "Half."
        assert step["status"] == "cancelled"

    bench.run(tell())


def test_a_run_that_ends_after_its_worker_was_killed_keeps_what_was_told(bench: Bench) -> None:
    async def tell() -> None:
        house = House(bench)
        await house.begin(status="cancelling")
        async with house.working() as scribe:
            await scribe.text("Half a ", [])
            await scribe.text("word", [])
        async with house.working(again=True) as scribe, house.database.write() as connection:
            await scribe.leave(connection)
            ended = await run_states.cancelled(connection, house.run)
        assert ended is not None
        assert [part["text"]["value"] for message in ended.messages for part in message["content"]] == ["Half a word"]

    bench.run(tell())


def test_nothing_is_written_of_somebody_elses_run(bench: Bench) -> None:
    async def lose() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            async with house.database.write() as connection:
                await house.queue.finish(connection, house.job)
            with pytest.raises(LeaseLost):
                await scribe.text("Mine.", [])
        assert await house.messages() == await house.steps() == await house.told() == []

    bench.run(lose())


def test_nothing_is_written_of_a_thread_that_is_gone(bench: Bench) -> None:
    async def lose() -> None:
        house = House(bench)
        await house.begin()
        async with house.working() as scribe:
            async with house.database.write() as connection:
                await connection.execute(sa.delete(threads).where(threads.c.seq == house.run["thread_seq"]))
            with pytest.raises(LeaseLost):
                await scribe.text("Mine.", [])
            with pytest.raises(LeaseLost):
                await scribe.call_began(calling())

    bench.run(lose())


def test_two_turns_of_many_pieces(bench: Bench) -> None:
    """Beside the task that writes what is said."""

    async def tell() -> None:
        house = House(bench)
        await house.begin()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(house.events.run())
            async with house.working() as scribe:
                for _ in range(2):
                    for number in range(300):
                        await scribe.text(f"{number} ", [])
                        await asyncio.sleep(0)
                    await scribe.message_ended("")
                    await scribe.turn_ended([], USED)
            writing.cancel()
        told = await house.told()
        texts = [one["content"][0]["text"]["value"] for one in deltas(told, "thread.message.delta")]
        assert texts == [f"{number} " for number in range(300)] * 2

    bench.run(tell())
