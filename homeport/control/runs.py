"""Runs as their owners see them. How they go on is in run_states.py and docs/assistants-runs.md.

Whatever can be said of a run at once is said before a row is written: the assistant, the model and who may use it, the
tools. That the thread has no other is the database's to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import assistants, pages, run_events, run_states, run_steps, threads
from homeport.control.assistants import Assistants
from homeport.control.messages import Messages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.run_events import Event
from homeport.control.run_states import Run
from homeport.control.threads import ThreadRow, Threads
from homeport.control.tool_resources import ToolResources
from homeport.errors import InvalidRequest, NotFound
from homeport.store.calls import Calling
from homeport.store.events import Events
from homeport.store.queue import Queue
from homeport.store.tables import run_steps as step_rows
from homeport.store.tables import runs
from homeport.store.tables import threads as thread_rows
from homeport.wire.assistants import shown_format, shown_tools
from homeport.wire.fields import Page
from homeport.wire.runs import (
    CreateRunRequest,
    CreateThreadAndRunRequest,
    ModifyRunRequest,
    RunRequest,
    RunStep,
    SubmitToolOutputsRunRequest,
    ToolOutput,
)
from homeport.wire.runs import Run as RunObject
from homeport.wire.threads import CreateThreadRequest

#: Runs that a chore ends in one go.
_SOME = 500


class Begun(NamedTuple):
    """A run that is to go on. seq: of its row; first: the number of the first event that came of that."""

    run: RunObject
    seq: int
    first: int


class Wanted(NamedTuple):
    """Which runs a list is to have. statuses: any of them; of no matter which, where there are none."""

    statuses: Sequence[str] = ()
    assistant_id: str | None = None
    thread_id: str | None = None


class Models(Protocol):
    async def admit_run(self, owner: Owner, model: str) -> None:
        """Whether they may have it answer, now. Raises PermissionDenied, and what `assistants.Models` do."""
        ...


class Rooms(NamedTuple):
    """What a run is made of."""

    assistants: Assistants
    threads: Threads
    messages: Messages
    resources: ToolResources
    models: Models


class Runs:
    def __init__(self, queue: Queue, events: Events, rooms: Rooms, *, run_seconds: int) -> None:
        """run_seconds: from the beginning of a run until it expires."""
        self._database = queue.database
        self._queue = queue
        self._events = events
        self._rooms = rooms
        self._run_seconds = run_seconds

    async def create(self, owner: Owner, thread_id: str, asked: CreateRunRequest) -> Begun:
        """It is written down, and will be done. Raises NotFound; InvalidRequest: the thread has an active run, or a
        tool or a file is none; and what `Models` do."""
        values = await self._values(owner, asked, asked.additional_instructions)
        if asked.reasoning_effort is not None:
            values["reasoning_effort"] = asked.reasoning_effort
        said = asked.additional_messages or ()
        async with self._database.write() as connection:
            thread = await threads.find(connection, owner, thread_id, lock=True)
            await self._rooms.messages.add(connection, owner, thread, said, param="additional_messages")
            run = await self._added(connection, thread, values)
            await self._tell(connection, run, _created(run))
        return self._begun(run, 0)

    async def create_in_thread(self, owner: Owner, asked: CreateThreadAndRunRequest) -> Begun:
        """As create, in a thread that is made for it."""
        values = await self._values(owner, asked)
        async with self._database.write() as connection:
            if asked.tool_resources is not None:
                before, changed = values["tool_resources"], self._rooms.resources.changed
                values["tool_resources"] = await changed(connection, owner, before, asked.tool_resources)
            new = asked.thread or CreateThreadRequest()
            thread = await self._rooms.threads.add(connection, owner, new, param="thread.messages")
            run = await self._added(connection, thread, values)
            made = "thread.created", msgspec.json.encode(threads.as_object(thread))
            await self._tell(connection, run, [made, *_created(run)])
        return self._begun(run, 0)

    async def _values(self, owner: Owner, asked: RunRequest, more: str | None = None) -> dict[str, Any]:
        """Of its row: as the request says, and else the assistant. more: instructions, after the others."""
        async with self._database.read() as connection:
            assistant = await assistants.find(connection, owner, asked.assistant_id)
        model = asked.model or assistant["model"]
        await self._rooms.models.admit_run(owner, model)
        await self._rooms.assistants.check(asked.tools, asked.response_format)
        tools = assistant["tools"] if asked.tools is None else shown_tools(asked.tools)
        asked.check_choice(tools)
        instructions = assistant["instructions"] if asked.instructions is None else asked.instructions
        form = shown_format(asked.response_format)
        truncation = asked.truncation_strategy
        return {
            "project_id": owner.project,
            "key_id": owner.key_id,
            "assistant_id": assistant["id"],
            "model": model,
            "instructions": "\n\n".join(one for one in (instructions, more) if one),
            "tools": tools,
            "tool_resources": assistant["tool_resources"],
            "tool_choice": asked.shown_choice,
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "response_format": assistant["response_format"] if form is None else form,
            "reasoning_effort": assistant["reasoning_effort"],
            "temperature": assistant["temperature"] if asked.temperature is None else asked.temperature,
            "top_p": assistant["top_p"] if asked.top_p is None else asked.top_p,
            "max_prompt_tokens": asked.max_prompt_tokens,
            "max_completion_tokens": asked.max_completion_tokens,
            "truncation_strategy": None if truncation is None else msgspec.to_builtins(truncation),
            "metadata": asked.metadata,
        }

    async def _added(self, connection: AsyncConnection, thread: ThreadRow, values: Mapping[str, Any]) -> Run:
        """In a thread that the caller has locked. Raises InvalidRequest."""
        row = {"thread_seq": thread["seq"], **values}
        while True:
            run = await run_states.create(connection, self._queue, row, run_seconds=self._run_seconds)
            if run is not None:
                return run
            other = await run_states.active(connection, thread["seq"])
            if other is not None and not await self._end_late(connection, other["seq"]):
                raise InvalidRequest(f"Thread {thread['id']} already has an active run {other['id']}.")

    def _begun(self, run: Run, first: int) -> Begun:
        """After the commit."""
        self._queue.told()
        self._rooms.resources.told()
        self._events.told(run["seq"])
        return Begun(run_states.as_object(run), run["seq"], first)

    async def list(self, owner: Owner, thread_id: str, window: Window) -> Page[RunObject]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            thread = await threads.find(connection, owner, thread_id)
        return await self._page(run_states.query(), window, within=runs.c.thread_seq == thread["seq"])

    async def list_all(self, owner: Owner, window: Window, wanted: Wanted) -> Page[RunObject]:
        """Of all threads of the project. Raises InvalidRequest: no such place in the list."""
        query = run_states.query()
        if wanted.statuses:
            query = query.where(runs.c.status.in_(wanted.statuses))
        if wanted.assistant_id is not None:
            query = query.where(runs.c.assistant_id == wanted.assistant_id)
        if wanted.thread_id is not None:
            query = query.where(thread_rows.c.id == wanted.thread_id)
        return await self._page(query, window, within=runs.c.project_id == owner.project)

    async def _page(
        self, query: "sa.Select[Any]", window: Window, *, within: "sa.ColumnElement[bool]"
    ) -> Page[RunObject]:
        while True:
            async with self._database.read() as connection:
                found = await pages.page(connection, query, window, seq=runs.c.seq, id=runs.c.id, within=within)
                rows = [row._mapping for row in found.rows]
                shown = [await _shown(connection, row) for row in rows]
            expired = [row["seq"] for row in rows if run_states.has_expired(row)]
            if not expired:
                return Page.of(shown, has_more=found.has_more)
            await self._expire(expired)

    async def retrieve(self, owner: Owner, thread_id: str, run_id: str) -> RunObject:
        """Raises NotFound."""
        while True:
            async with self._database.read() as connection:
                run = await find(connection, owner, thread_id, run_id)
                shown = await _shown(connection, run)
            if not run_states.has_expired(run):
                return shown
            await self._expire([run["seq"]])

    async def modify(self, owner: Owner, thread_id: str, run_id: str, asked: ModifyRunRequest) -> RunObject:
        """Raises NotFound."""
        if asked.metadata is not UNSET:
            async with self._database.write() as connection:
                run = await find(connection, owner, thread_id, run_id)
                changed = sa.update(runs).where(runs.c.seq == run["seq"]).values(metadata=asked.metadata)
                await connection.execute(changed)
        return await self.retrieve(owner, thread_id, run_id)

    async def submit(self, owner: Owner, thread_id: str, run_id: str, asked: SubmitToolOutputsRunRequest) -> Begun:
        """Raises NotFound; InvalidRequest: it waits for no outputs, or for others."""
        await self.retrieve(owner, thread_id, run_id)  # it may have expired
        async with self._database.write() as connection:
            run = await find(connection, owner, thread_id, run_id, lock=True)
            step = await run_steps.open_calls(connection, run["seq"])
            if run["status"] != "requires_action" or step is None:
                raise InvalidRequest(f'Runs in status "{run["status"]}" do not accept tool outputs.')
            step = run_steps.ended(run_steps.changed(step, filled(run_steps.calls_of(step), asked.tool_outputs)))
            await run_steps.save(connection, step)
            going = await run_states.submit(connection, self._queue, run)
            if going is None:
                raise InvalidRequest('Runs in status "expired" do not accept tool outputs.')
            told = [run_events.of_step(step, going), run_events.of_run(going)]
            first = await self._tell(connection, going, told)
        return self._begun(going, first)

    async def cancel(self, owner: Owner, thread_id: str, run_id: str) -> RunObject:
        """Raises NotFound; InvalidRequest: it has ended. That it is being cancelled already is no error."""
        await self.retrieve(owner, thread_id, run_id)  # it may have expired
        async with self._database.write() as connection:
            run = await find(connection, owner, thread_id, run_id)
            ended = await run_states.cancel(connection, self._queue, run)
            if ended is not None and ended.run["status"] == "cancelled":
                await self._tell(connection, run, run_events.of_end(ended))
            after = ended.run if ended is not None else await find(connection, owner, thread_id, run_id)
        if ended is None and after["status"] != "cancelling":
            raise InvalidRequest(f"Cannot cancel run with status '{after['status']}'.")
        self._queue.told()
        self._events.told(run["seq"])
        return run_states.as_object(after)

    async def steps(self, owner: Owner, thread_id: str, run_id: str, window: Window, *, content: bool) -> Page[RunStep]:
        """content: of passages that were found, too. Raises NotFound; InvalidRequest: no such place in the list."""
        await self.retrieve(owner, thread_id, run_id)  # it may have expired
        async with self._database.read() as connection:
            run = await find(connection, owner, thread_id, run_id)
            found = await pages.page(
                connection,
                sa.select(step_rows),
                window,
                seq=step_rows.c.seq,
                id=step_rows.c.id,
                within=step_rows.c.run_seq == run["seq"],
            )
        shown = [run_steps.as_object(row._mapping, run, content=content) for row in found.rows]
        return Page.of(shown, has_more=found.has_more)

    async def step(self, owner: Owner, thread_id: str, run_id: str, step_id: str, *, content: bool) -> RunStep:
        """As steps."""
        await self.retrieve(owner, thread_id, run_id)
        async with self._database.read() as connection:
            run = await find(connection, owner, thread_id, run_id)
            this = sa.select(step_rows).where(step_rows.c.id == step_id, step_rows.c.run_seq == run["seq"])
            found = (await connection.execute(this)).mappings().one_or_none()
        if found is None:
            raise NotFound(f"No run step found with id '{step_id}' in run '{run_id}'.", param="step_id")
        return run_steps.as_object(found, run, content=content)

    async def expire(self) -> None:
        """What should have ended by now, and has nobody who would say so, is ended. Raises Unavailable."""
        async with self._database.read() as connection:
            late = await run_states.late(connection, _SOME)
        await self._expire(late)

    async def _expire(self, each: Sequence[int]) -> None:
        """each: `seq` of runs that seem to be late."""
        for seq in each:
            async with self._database.write() as connection:
                await self._end_late(connection, seq)
            self._events.told(seq)

    async def _end_late(self, connection: AsyncConnection, seq: int) -> bool:
        """False: it is not late."""
        ended = await run_states.end_late(connection, self._queue, seq)
        if ended is not None:
            await self._tell(connection, ended.run, run_events.of_end(ended))
        return ended is not None

    async def _tell(self, connection: AsyncConnection, run: Run, told: Sequence[Event]) -> int:
        return await self._events.tell(connection, run["seq"], told)


async def find(connection: AsyncConnection, owner: Owner, thread_id: str, run_id: str, *, lock: bool = False) -> Run:
    """lock: nobody else changes it until the transaction ends. Raises NotFound."""
    thread = await threads.find(connection, owner, thread_id)
    run = await run_states.find(connection, run_id, thread["seq"], lock=lock)
    if run is None:
        raise NotFound(f"No run found with id '{run_id}' in thread '{thread_id}'.", param="run_id")
    return run


def filled(calls: Sequence[Calling], outputs: Sequence[ToolOutput]) -> list[Calling]:
    """With the outputs that were wanted: of all of them, or it is an error. Raises InvalidRequest."""
    wanted = [call.id for call in calls if run_steps.is_pending(call)]
    said = [one.tool_call_id for one in outputs]
    expected = f"Expected tool outputs for call_ids {wanted}, got {said}"
    for at, call_id in enumerate(said):
        if call_id not in wanted or call_id in said[:at]:
            what = "there is no such call" if call_id not in wanted else "it is there twice"
            raise InvalidRequest(
                f"{expected}: {call_id!r}, {what}.", param=f"tool_outputs[{at}].tool_call_id", code="invalid_value"
            )
    missing = [call_id for call_id in wanted if call_id not in said]
    if missing:
        raise InvalidRequest(
            f"{expected}. The outputs of all calls are submitted in one request; missing: {', '.join(missing)}.",
            param="tool_outputs",
            code="invalid_value",
        )
    by_id = {one.tool_call_id: one.output for one in outputs}
    return [msgspec.structs.replace(call, output=by_id.get(call.id, call.output)) for call in calls]


async def _shown(connection: AsyncConnection, run: Run) -> RunObject:
    waits = run["status"] == "requires_action"
    step = await run_steps.open_calls(connection, run["seq"]) if waits else None
    return run_states.as_object(run, run_steps.pending(step))


def _created(run: Run) -> list[Event]:
    return [run_events.of_run(run, "created"), run_events.of_run(run)]
