"""What happens in the loop of a run, as rows of messages and steps, and as its events.

    message:  step.created, step.in_progress, message.created, message.in_progress -> message.delta*
              -> message.completed or .incomplete, step.completed
    calls:    step.created, step.in_progress -> step.delta* -> step.completed, or the run requires action

Each `->` is a transaction: a row is there before anybody hears of it. It is brought to its end, whoever cancels the
work meanwhile: what is in the rows, and what is known here of them, is the same. Deltas are only said.

A turn that has ended says what it took in its steps, so those whose tokens are null are of a turn that was cut off:
whoever takes the run over tells their end, and removes them with what they have said, before the turn is done again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import messages, run_events, run_states, run_steps
from homeport.control.run_events import Event
from homeport.control.run_states import Run
from homeport.control.run_steps import Step
from homeport.jobs import call_deltas
from homeport.jobs.call_deltas import CodeText
from homeport.jobs.message_draft import Draft
from homeport.loop.turns import Annotation, Used
from homeport.store.calls import Calling, Ran
from homeport.store.database import unbroken
from homeport.store.events import Telling
from homeport.store.queue import Job, LeaseLost, Queue
from homeport.store.tables import items, runs
from homeport.store.tables import run_events as log
from homeport.store.tables import run_steps as steps
from homeport.wire.assistant_events import (
    CallDelta,
    CallsDelta,
    ContentDelta,
    MessageChanges,
    MessageDelta,
    RunStepDelta,
    StepChanges,
)
from homeport.wire.runs import LastError

INTERRUPTED = LastError("server_error", "The server that worked on this was stopped. It is done again.")
CUT = LastError("server_error", "The model was cut off while it wrote these calls: none of them is made.")


class RunScribe:
    """`loop.scribe.Scribe`. All raise LeaseLost, and Unavailable."""

    def __init__(self, queue: Queue, job: Job, run: Run, telling: Telling) -> None:
        self._queue = queue
        self._database = queue.database
        self._job = job
        self._run = run
        self._telling = telling
        self._begin_turn()
        #: Whose hosted calls are made.
        self._open: Step | None = None

    def _begin_turn(self) -> None:
        self._message: dict[str, Any] | None = None
        self._making: Step | None = None  # the message's
        self._draft = Draft()
        self._calls: list[Calling] = []
        self._codes: dict[str, CodeText] = {}
        self._calling: Step | None = None

    # What a turn says

    async def text(self, delta: str, annotations: Sequence[Annotation]) -> None:
        if self._message is None:
            await unbroken(self._begin_message())
        self._say_of_message(self._draft.text(delta, annotations))

    async def refusal(self, delta: str) -> None:
        if self._message is None:
            await unbroken(self._begin_message())
        self._say_of_message(self._draft.refusal(delta))

    async def reasoning(self, delta: str) -> None:
        """Nothing: runs have no place for what a model thinks."""

    async def message_ended(self, incomplete: str) -> None:
        """It is told with the transaction that comes next."""
        assert self._message is not None
        assert self._making is not None
        now = int(clock.now())
        self._message["content"] = self._draft.content
        self._message["status"] = "incomplete" if incomplete else "completed"
        self._message["incomplete_reason"] = incomplete or None
        self._message["incomplete_at" if incomplete else "completed_at"] = now
        self._making = run_steps.ended(self._making)

    async def call_began(self, call: Calling) -> None:
        if self._calling is None:
            await unbroken(self._begin_calls())
        self._calls.append(call)
        self._codes[call.id] = CodeText()
        self._say_of_call(self._calling, call_deltas.began(len(self._calls) - 1, call))

    async def arguments(self, call: Calling, delta: str) -> None:
        index = self._calls.index(call)
        if call.type == "function":
            self._say_of_call(self._calling, call_deltas.argued(index, delta))
        elif call.type == "code_interpreter" and (code := self._codes[call.id].feed(delta)):
            self._say_of_call(self._calling, call_deltas.coded(index, code))

    async def turn_ended(self, calls: Sequence[Calling], used: Used) -> None:
        await unbroken(self._end_turn(calls, used))

    async def call_ended(self, call: Calling) -> None:
        await unbroken(self._end_call(call))

    async def _end_turn(self, calls: Sequence[Calling], used: Used) -> None:
        told: list[Event] = []
        changed: list[Step] = []
        message, making, calling = self._message, self._making, self._calling
        if making is not None and calling is not None:  # it is all the calls'
            changed.append(run_steps.used(making, 0, 0))
        elif making is not None:
            changed.append(run_steps.used(making, used.prompt, used.completion))
            told += self._of_message(changed[-1])
        if calling is not None:
            step = run_steps.used(run_steps.changed(calling, calls), used.prompt, used.completion)
            step = _settled(step) if calls else run_steps.ended(step, "failed", CUT)
            changed.append(step)
            self._open = step if step["status"] == "in_progress" else None
            told += [] if self._open is not None else [run_events.of_step(step, self._run)]
            self._say_rest(calling, calls)
        async with self._database.write() as connection:
            await self.hold_thread(connection)
            await self._telling.tell(connection, *told)
            if message is not None and calling is None:
                await _save_message(connection, message)
            for step in changed:
                await run_steps.save(connection, step)
            await run_states.spend(connection, self._run, used.prompt, used.completion)
            await self._come_further(connection)
        self._telling.told()
        self._begin_turn()

    async def _end_call(self, call: Calling) -> None:
        async with self._database.write() as connection:
            await self.hold_thread(connection)
            step = self._open or await run_steps.open_calls(connection, self._run["seq"])
            if step is None:
                raise LeaseLost
            calls = [call if one.id == call.id else one for one in run_steps.calls_of(step)]
            step = _settled(run_steps.changed(step, calls))
            over = step["status"] != "in_progress"
            index = next(at for at, one in enumerate(calls) if one.id == call.id)
            if (came := call_deltas.ended(index, call)) is not None:
                self._say_of_call(step, came)
            await self._telling.tell(connection, *([run_events.of_step(step, self._run)] if over else []))
            await run_steps.save(connection, step)
            await self._come_further(connection)
        self._open = None if over else step
        self._telling.told()

    async def _come_further(self, connection: AsyncConnection) -> None:
        """However often those who have the run are killed, it is not given up while it does."""
        await self._queue.hold(connection, self._job, checkpoint={"events": self._telling.number})

    # What is begun

    async def _begin_message(self) -> None:
        """Pictures that were drawn since the last one are its first parts."""
        message = _new_message(self._run)
        step = run_steps.new(self._run, message_id=message["id"])
        shown = messages.as_object(message, self._run["thread_id"])
        begun = msgspec.json.encode(shown)
        async with self._database.write() as connection:
            await self.hold_thread(connection)
            told = [*_begun(step, self._run), ("thread.message.created", begun), ("thread.message.in_progress", begun)]
            await self._telling.tell(connection, *told)
            pictures = await self._drawn(connection)
            await connection.execute(sa.insert(items).values(message))
            await run_steps.save(connection, step)
            await self._queue.hold(connection, self._job)
        self._telling.told()
        self._message, self._making = message, step
        for file_id in pictures:
            self._say_of_message(self._draft.picture(file_id))

    async def _begin_calls(self) -> None:
        """The message of the same turn has ended."""
        message, making = self._message, self._making
        step = run_steps.new(self._run)
        told = self._of_message(run_steps.used(making, 0, 0)) if making is not None else []
        async with self._database.write() as connection:
            await self.hold_thread(connection)
            await self._telling.tell(connection, *told, *_begun(step, self._run))
            if message is not None and making is not None:
                await _save_message(connection, message)
                await run_steps.save(connection, making)
            await run_steps.save(connection, step)
            await self._queue.hold(connection, self._job)
        self._telling.told()
        self._calling = step

    async def hold_thread(self, connection: AsyncConnection) -> None:
        """Every transaction begins with it (run_states.py). Raises LeaseLost: it was deleted."""
        if not await run_states.hold_thread(connection, runs.c.seq == self._run["seq"]):
            raise LeaseLost

    async def _drawn(self, connection: AsyncConnection) -> Sequence[str]:
        """Files of the pictures that no message has yet."""
        if not any(tool["type"] == "code_interpreter" for tool in self._run["tools"]):
            return ()
        drawn: list[str] = []
        for step in await run_steps.of_run(connection, self._run["seq"]):
            if step["type"] == "message_creation":
                drawn = []
            made = [call.result for call in run_steps.calls_of(step) if isinstance(call.result, Ran)]
            drawn += [file.file_id for result in made for file in result.files if file.image]
        return list(dict.fromkeys(drawn))

    # What is told

    def _of_message(self, step: Step) -> list[Event]:
        """That it has ended, and its step."""
        assert self._message is not None
        shown = messages.as_object(self._message, self._run["thread_id"])
        ended = f"thread.message.{self._message['status']}", msgspec.json.encode(shown)
        return [ended, run_events.of_step(step, self._run)]

    def _say_of_message(self, change: ContentDelta) -> None:
        assert self._message is not None
        delta = MessageDelta(self._message["id"], MessageChanges([change]))
        self._telling.say("thread.message.delta", msgspec.json.encode(delta))

    def _say_of_call(self, step: Step | None, change: CallDelta) -> None:
        assert step is not None
        delta = RunStepDelta(step["id"], StepChanges(CallsDelta([change])))
        self._telling.say("thread.run.step.delta", msgspec.json.encode(delta))

    def _say_rest(self, step: Step, calls: Sequence[Calling]) -> None:
        """What is known of calls only once they are whole."""
        for index, call in enumerate(calls):
            if call.type == "code_interpreter" and (code := self._codes[call.id].end(call.arguments)):
                self._say_of_call(step, call_deltas.coded(index, code))
            if call.output is not None and (came := call_deltas.ended(index, call)) is not None:
                self._say_of_call(step, came)

    # Turns that did not end

    async def leave(self, connection: AsyncConnection) -> None:
        """In the transaction that ends the run, and with it what the turn has begun: with what is said so far."""
        if self._calling is not None:
            await run_steps.save(connection, run_steps.changed(self._calling, self._calls))
        elif self._message is not None:
            await _save_content(connection, self._message["id"], self._draft)
        else:  # of somebody who was killed, there may be half a one
            theirs = sa.select(items.c.id).where(items.c.run_id == self._run["id"], items.c.status == "in_progress")
            for message_id in (await connection.scalars(theirs)).all():
                await _save_content(connection, message_id, await self._draft_of(connection, message_id))

    async def take_over(self) -> None:
        """From somebody who was killed."""
        async with self._database.write() as connection:
            await self.hold_thread(connection)
            await self.drop(connection)
            await self._queue.hold(connection, self._job)
        self._telling.told()

    async def drop(self, connection: AsyncConnection) -> None:
        """What a turn has said that did not end. After the commit call Telling.told."""
        await self._telling.tell(connection)  # it may be said, and in no row
        query = sa.select(steps).where(steps.c.run_seq == self._run["seq"], steps.c.prompt_tokens.is_(None))
        found = (await connection.execute(query.order_by(steps.c.seq))).mappings().all()
        made = [step["message_id"] for step in found if step["message_id"] is not None]
        told: list[Event] = []
        for step in found:
            if step["status"] != "in_progress":
                continue
            if step["message_id"] is not None:
                told += await self._of_half(connection, step["message_id"])
            told.append(run_events.of_step(run_steps.ended(step, "failed", INTERRUPTED), self._run))
        await self._telling.tell(connection, *told)
        await connection.execute(sa.delete(items).where(items.c.id.in_(made)))
        await connection.execute(sa.delete(steps).where(steps.c.seq.in_([step["seq"] for step in found])))

    async def _of_half(self, connection: AsyncConnection, message_id: str) -> list[Event]:
        """Of a message that did not end: with what was told of it, or whoever has heard that would be surprised."""
        row = (await connection.execute(sa.select(items).where(items.c.id == message_id))).mappings().one_or_none()
        if row is None:  # somebody has deleted it
            return []
        draft = await self._draft_of(connection, message_id)
        half = {**row, "content": draft.content, "status": "incomplete", "incomplete_reason": "run_failed"}
        half["incomplete_at"] = int(clock.now())
        shown = messages.as_object(half, self._run["thread_id"])
        return [("thread.message.incomplete", msgspec.json.encode(shown))]

    async def _draft_of(self, connection: AsyncConnection, message_id: str) -> Draft:
        """As far as it was told."""
        deltas = sa.select(log.c.data).where(log.c.run_seq == self._run["seq"], log.c.event == "thread.message.delta")
        draft = Draft()
        for data in await connection.scalars(deltas.order_by(log.c.number)):
            delta = msgspec.json.decode(data, type=MessageDelta)
            if delta.id == message_id:
                draft.take(delta)
        return draft


def _new_message(run: Run) -> dict[str, Any]:
    return {
        **dict.fromkeys(name for name in items.columns.keys() if name != "seq"),
        "id": ids.message(),
        "project_id": run["project_id"],
        "thread_seq": run["thread_seq"],
        "output": False,
        "created_at": int(clock.now()),
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
        "assistant_id": run["assistant_id"],
        "run_id": run["id"],
    }


async def _save_message(connection: AsyncConnection, message: Mapping[str, Any]) -> None:
    """As it is by now."""
    names = ("status", "content", "completed_at", "incomplete_at", "incomplete_reason")
    changed = sa.update(items).where(items.c.id == message["id"]).values({name: message[name] for name in names})
    await connection.execute(changed)


async def _save_content(connection: AsyncConnection, message_id: str, draft: Draft) -> None:
    await connection.execute(sa.update(items).where(items.c.id == message_id).values(content=draft.content))


def _begun(step: Step, run: Run) -> list[Event]:
    shown = msgspec.json.encode(run_steps.as_object(step, run))
    return [("thread.run.step.created", shown), ("thread.run.step.in_progress", shown)]


def _settled(step: Step) -> Step:
    """It has ended where all its calls have."""
    return step if any(call.output is None for call in run_steps.calls_of(step)) else run_steps.ended(step)
