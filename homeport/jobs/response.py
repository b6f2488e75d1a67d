"""Responses in the background, as durable jobs.

A turn is written down when its model has said all of it, and a call when it has its output; a response whose worker was
killed goes on with the call, or with the turn, that was in hand. The checkpoint has what the turns have said, as the
model is told of it; the rows have their items. What an interrupted turn has told already is told to be incomplete, and
is no part of the output.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import items, response_items
from homeport.control import response_states as states
from homeport.control.owners import Owner
from homeport.control.response_states import Ended, Row, Used
from homeport.errors import HomeportError
from homeport.jobs.patience import Patience, Sign, watched
from homeport.jobs.worker import Task
from homeport.loop.responding import Responding, failure, outcome_of
from homeport.loop.response_scribe import Place, ResponseScribe, Said
from homeport.loop.turns import Calling
from homeport.store.events import Events, Telling
from homeport.store.queue import Job, LeaseLost, Queue
from homeport.store.tables import response_events
from homeport.wire.items import Item
from homeport.wire.response_events import (
    LAST,
    Event,
    OutputItemAdded,
    OutputItemDone,
    ResponseFailed,
    ResponseInProgress,
)

BROKEN = "The server has failed several times at this response, and gives it up. Its log says why."


class _Interrupted(NamedTuple):
    """What was there when somebody takes a response up. said: its turns. output: their items. next: the index of the
    item that is told next. waiting: calls that have no output. left: what was told and is not done."""

    said: list[Said]
    output: list[Item]
    next: int
    waiting: dict[str, Place]
    left: list[Place]


class Respond:
    lane: Final = states.LANE
    kind: Final = states.KIND

    def __init__(self, queue: Queue, events: Events, responding: Responding, *, at_once: int, seconds: float) -> None:
        """at_once: responses that a process works on. seconds: from its beginning a response waits so long for a model
        that has no time."""
        self.at_once: Final = at_once
        self._queue = queue
        self._database = queue.database
        self._events = events
        self._responding = responding
        self._seconds = seconds

    async def run(self, task: Task) -> None:
        job = task.job
        async with self._database.write() as connection:
            begun = await states.begin(connection, job.subject)
            if begun is None:
                return await self._queue.finish(connection, job)
            row, first = begun.row, begun.row["events"]
            if begun.new:
                event = ResponseInProgress(states.as_object(row, ()))
                first = 1 + await self._events.tell(connection, row["seq"], [(event.kind, event.numbered(first))])
            await self._queue.hold(connection, job)
        self._events.told(row["seq"])
        async with self._events.telling(row["seq"], first, job, again=not begun.new) as telling:
            await self._work(task, row, telling)

    async def give_up(self, connection: AsyncConnection, job: Job, error: str) -> None:
        row = await states.active(connection, job.subject)
        if row is not None:
            ended = await states.end(connection, row, states.failed("server_error", BROKEN), states.used_of(row))
            if ended is not None:
                event = ResponseFailed(states.as_object(ended, await states.output_of(connection, row["seq"])))
                await self._events.tell(connection, row["seq"], [(event.kind, event.numbered(ended["events"]))])
        await self._queue.finish(connection, job)

    async def _work(self, task: Task, row: Row, telling: Telling) -> None:
        """Raises LeaseLost, Unavailable."""
        owner = Owner(row["project_id"], row["key_id"])
        async with self._database.read() as connection:
            told = await response_items.made_from(connection, row["id"])
            before = await _interrupted(connection, row, task.job)
        keeping = _Keeping(self._queue, task.job, owner, row, telling, before.said)
        patience = Patience(row["created_at"] + self._seconds)
        how = await watched(task, self._go(owner, row, told, before, keeping, patience))
        if isinstance(how, Sign):
            return await self._leave(task)
        if isinstance(how, HomeportError) and not patience.is_of_others(how):
            how = await keeping.failed(how)
        if not isinstance(how, Ended):
            raise how
        await keeping.end(how)
        task.over.set()

    async def _leave(self, task: Task) -> None:
        """Somebody else goes on; or nobody, where it was cancelled, which its row says already."""
        if not task.cancelled.is_set():
            async with self._database.write() as connection:
                await self._queue.later(connection, task.job, run_in=0)
            task.over.set()

    async def _go(
        self,
        owner: Owner,
        row: Row,
        told: Sequence[Item],
        before: _Interrupted,
        keeping: "_Keeping",
        patience: Patience,
    ) -> Ended:
        """Raises HomeportError, LeaseLost."""
        used = states.used_of(row)
        prepared = await self._responding.prepared(owner, row, told, turns=before.said, used=used)
        keeping.scribe = scribe = ResponseScribe(
            keeping.tell,
            keeping,
            include=row["request"].get("include", ()),
            container_id=prepared.container_id,
            output=before.output,
            used=used,
            index=before.next,
            waiting=before.waiting,
        )
        for place in before.left:
            place.item.status = "incomplete"
            await keeping.tell(OutputItemDone(place.index, place.item))
        over = outcome_of(before.said)
        if over is not None:
            return over
        return await self._responding.answer(prepared, scribe, wait=patience.wait)


class _Keeping:
    """`response_scribe.Keep`, and who tells."""

    def __init__(self, queue: Queue, job: Job, owner: Owner, row: Row, telling: Telling, said: Sequence[Said]) -> None:
        self._queue = queue
        self._job = job
        self._owner = owner
        self._row = row
        self._telling = telling
        self._said = [*said]
        self.scribe: ResponseScribe | None = None

    async def tell(self, event: Event) -> None:
        self._telling.say(event.kind, event.numbered(self._telling.number))

    async def turn(self, said: Said, made: Sequence[Item], used: Used) -> None:
        self._said.append(said)
        async with self._queue.database.write() as connection:
            if not await states.use(connection, self._row["seq"], used):
                raise LeaseLost
            await items.add(connection, self._owner, made, response_seq=self._row["seq"], output=True)
            await self._telling.tell(connection)
            await self._queue.hold(connection, self._job, checkpoint=self._checkpoint())

    async def call(self, call: Calling, item: Item) -> None:
        """The turn that it is of has it, too: it is the same."""
        async with self._queue.database.write() as connection:
            await self._telling.tell(connection)
            await states.change(connection, item)
            await self._queue.hold(connection, self._job, checkpoint=self._checkpoint())

    def _checkpoint(self) -> dict[str, Any]:
        return {"said": msgspec.to_builtins(self._said)}

    async def failed(self, error: HomeportError) -> Ended:
        if self.scribe is not None:
            await self.scribe.fail()
        return failure(error)

    async def end(self, ended: Ended) -> None:
        """Raises LeaseLost: it has ended already, or is gone."""
        output = self.scribe.output if self.scribe is not None else []
        used = self.scribe.used if self.scribe is not None else states.used_of(self._row)
        async with self._queue.database.write() as connection:
            row = await states.end(connection, self._row, ended, used)
            if row is None:
                raise LeaseLost
            event = LAST[ended.status](states.as_object(row, output))
            await self._telling.tell(connection, (event.kind, event.numbered(self._telling.number)))
            await self._queue.finish(connection, self._job)
        self._telling.told()


async def _interrupted(connection: AsyncConnection, row: Row, job: Job) -> _Interrupted:
    said = msgspec.convert((job.checkpoint or {"said": []})["said"], list[Said])
    output = await states.output_of(connection, row["seq"])
    its = response_events.c.response_seq == row["seq"], response_events.c.event.in_((_ADDED, _DONE))
    query = sa.select(response_events.c.event, response_events.c.data).where(*its).order_by(response_events.c.number)
    left: dict[str, Place] = {}
    places: dict[str, int] = {}
    for event, data in await connection.execute(query):
        told = _told.decode(data)
        if event == _ADDED:
            places[told.item.id] = told.output_index
            left[told.item.id] = Place(told.output_index, told.item)
        else:
            left.pop(told.item.id, None)
    waiting: dict[str, Place] = {}
    for call in said[-1].calls if said else ():
        for item in output:
            if item.id == said[-1].items.get(call.id) and call.output is None:
                waiting[call.id] = Place(places[item.id], item)
                left.pop(item.id, None)  # or its end was told already, and its output is not safe
    return _Interrupted(said, output, max(places.values(), default=-1) + 1, waiting, [*left.values()])


class _Told(msgspec.Struct):
    output_index: int
    item: Item


_ADDED, _DONE = str(OutputItemAdded.__struct_config__.tag), str(OutputItemDone.__struct_config__.tag)
_told = msgspec.json.Decoder(_Told)
