"""Responses: what is asked for becomes a row, or the row that it would have; they are seen, cancelled and deleted.

Source: createResponse, getResponse, cancelResponse, deleteResponse. Who answers is loop/responding.py.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import conversations, items, response_items
from homeport.control import response_states as states
from homeport.control.owners import Owner
from homeport.control.response_states import Row
from homeport.errors import Conflict, InvalidRequest, NotFound
from homeport.store.events import Events
from homeport.store.followers import Told
from homeport.store.queue import Queue
from homeport.store.tables import response_events
from homeport.store.tables import responses as table
from homeport.wire.items import Item, read
from homeport.wire.response_events import Event, ResponseCreated, ResponseQueued
from homeport.wire.responses import CreateResponse, DeletedResponse, Response

#: Members of a request that its row does not repeat: they have a column, or are of the way that it is answered.
_NOT_KEPT = ("input", "model", "background", "stream", "stream_options", "previous_response_id")


class Wanted(NamedTuple):
    """A response that is about to be. row: its columns, but for those that the database gives. before: what was said
    before it; coming: what came with it."""

    row: dict[str, Any]
    before: Sequence[Item]
    coming: Sequence[Item]
    store: bool


class Responses:
    def __init__(self, queue: Queue, events: Events, holds: Callable[[Owner], bool]) -> None:
        """holds: whether a key that was good is so still."""
        self._database = queue.database
        self._queue = queue
        self._events = events
        self._holds = holds

    async def wanted(self, owner: Owner, asked: CreateResponse) -> Wanted:
        """Nothing is written. Raises InvalidRequest, NotFound, Conflict."""
        assert asked.input is not None, "the request has been checked"
        coming = read(asked.input, "input")
        async with self._database.read() as connection:
            referenced = await items.referenced(connection, owner, coming, "input")
            before: list[Item] = []
            conversation = None
            if asked.previous_response_id is not None:
                await _check_previous(connection, owner, asked.previous_response_id)
                before = await response_items.until(connection, asked.previous_response_id)
            elif asked.conversation_id is not None:
                found = await conversations.find(connection, owner, asked.conversation_id, param="conversation")
                conversation = found["seq"]
                await _check_quiet(connection, conversation)
                before = await response_items.of_conversation(connection, conversation)
        made = items.named(coming, referenced)
        if not before and not made and not asked.instructions:
            raise InvalidRequest("There is nothing to answer: 'input' is empty.", param="input", code="invalid_value")
        row = {
            "id": ids.response(),
            "project_id": owner.project,
            "key_id": owner.key_id,
            "conversation_seq": conversation,
            "previous_id": asked.previous_response_id,
            "status": "queued" if asked.background else "in_progress",
            "background": bool(asked.background),
            "model": asked.model,
            "request": _request(asked),
            "error": None,
            "incomplete_reason": None,
            "usage": None,
            "created_at": int(clock.now()),
            "completed_at": None,
            "events": 0,
        }
        return Wanted(row, before, made, asked.store is not False)

    async def enqueue(self, owner: Owner, wanted: Wanted) -> Response:
        """It is written down, and will be answered. Raises NotFound, Conflict: of its conversation."""
        row = wanted.row
        shown = states.as_object(row, ())
        first: list[Event] = [ResponseCreated(shown), ResponseQueued(shown)]
        async with self._database.write() as connection:
            if row["conversation_seq"] is not None:  # of those that want to answer in it one is the first
                await conversations.find(connection, owner, row["request"]["conversation"]["id"], lock=True)
                await _check_quiet(connection, row["conversation_seq"])
            seq = await states.create(connection, owner, row, wanted.coming)
            await self._events.tell(connection, seq, [(one.kind, one.numbered(at)) for at, one in enumerate(first)])
            await self._queue.enqueue(connection, states.LANE, states.KIND, row["id"])
        self._queue.told()
        return shown

    async def keep(self, owner: Owner, wanted: Wanted, row: Row, output: Sequence[Item]) -> None:
        """Of one that was answered at once, as far as it is to be kept. row: as it has ended."""
        async with self._database.write() as connection:
            conversation = row["conversation_seq"]
            if conversation is not None and not await conversations.locked(connection, conversation):
                conversation = None  # deleted meanwhile
            if wanted.store:
                kept = {**row, "conversation_seq": conversation}
                await states.create(connection, owner, kept, wanted.coming, output)
            elif conversation is not None:
                await items.add(connection, owner, [*wanted.coming, *output], thread_seq=conversation)

    async def retrieve(self, owner: Owner, response_id: str, include: Sequence[str] = ()) -> Response:
        """Raises NotFound."""
        async with self._database.read() as connection:
            row = await find(connection, owner, response_id)
            output = await states.output_of(connection, row["seq"])
        return states.as_object(row, output, include)

    async def cancel(self, owner: Owner, response_id: str) -> Response:
        """Raises NotFound; InvalidRequest: nobody works on it in the background. That it has ended is no error."""
        async with self._database.write() as connection:
            row = await find(connection, owner, response_id)
            if not row["background"]:
                raise InvalidRequest(
                    "Only responses created with 'background' set to true can be cancelled.", param="response_id"
                )
            if row["status"] in states.ACTIVE:
                await states.cancel(connection, self._queue, row)
        self._events.told(row["seq"])
        return await self.retrieve(owner, response_id)

    async def delete(self, owner: Owner, response_id: str) -> DeletedResponse:
        """Raises NotFound."""
        async with self._database.write() as connection:
            row = await find(connection, owner, response_id, lock=True)
            await states.delete(connection, self._queue, row)
        self._events.told(row["seq"])
        return DeletedResponse(response_id)

    async def follow(self, owner: Owner, response_id: str, after: int = -1) -> AsyncGenerator[Sequence[Told], None]:
        """What a response in the background tells, after a number, some at once, until it has ended. Nothing at all:
        there was nothing for long. It ends sooner where the process ends, or the key no longer holds.

        Raises NotFound, InvalidRequest; Unavailable only before the first.
        """
        async with self._database.read() as connection:
            row = await find(connection, owner, response_id)
            await _check_told(connection, row)
        seq = row["seq"]

        async def over(connection: AsyncConnection) -> bool:
            status = await connection.scalar(sa.select(table.c.status).where(table.c.seq == seq))
            return status not in states.ACTIVE

        following = self._events.follow(seq, after, over, holds=lambda: self._holds(owner))
        async with aclosing(following) as all_told:
            async for some in all_told:
                yield some

    async def forget_told(self, seconds: float) -> None:
        """What was told by those that have ended, and were made longer ago than that. Raises Unavailable."""
        await self._events.sweep(table.c.status.not_in(states.ACTIVE), int(clock.now() - seconds))


async def find(connection: AsyncConnection, owner: Owner, response_id: str, *, lock: bool = False) -> Row:
    """lock: nobody else changes it, until the transaction ends. Raises NotFound: there is none, or it is another
    project's."""
    query = sa.select(table).where(table.c.id == response_id, table.c.project_id == owner.project)
    if lock:
        await conversations.hold(connection, table.c.id == response_id)
    found: Row | None = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if found is None:
        raise response_items.no_such_response(response_id)
    return found


def _request(asked: CreateResponse) -> dict[str, Any]:
    """What answers say again, and what whoever answers needs."""
    given: dict[str, Any] = msgspec.to_builtins(asked)
    kept = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    return {**kept, "conversation": {"id": asked.conversation_id}} if asked.conversation_id is not None else kept


async def _check_previous(connection: AsyncConnection, owner: Owner, response_id: str) -> None:
    """Raises NotFound; InvalidRequest: it has not ended."""
    theirs = table.c.id == response_id, table.c.project_id == owner.project
    status = await connection.scalar(sa.select(table.c.status).where(*theirs))
    if status is None:
        raise NotFound(
            f"Previous response with id '{response_id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if status in states.ACTIVE:
        raise InvalidRequest(
            f"The previous response '{response_id}' is {status}. Wait until it has ended, or cancel it.",
            param="previous_response_id",
            code="previous_response_not_ended",
        )


async def _check_quiet(connection: AsyncConnection, seq: int) -> None:
    """Raises Conflict: a response in the background is still to say its part."""
    its = table.c.conversation_seq == seq, table.c.status.in_(states.ACTIVE)
    active = await connection.scalar(sa.select(table.c.id).where(*its).limit(1))
    if active is not None:
        raise Conflict(
            f"Another process is currently operating on this conversation: the response {active} has not ended. "
            "Please retry in a few seconds.",
            param="conversation",
            code="conversation_locked",
        )


async def _check_told(connection: AsyncConnection, row: Row) -> None:
    """Raises InvalidRequest: what it told cannot be told again."""
    if not row["background"]:
        raise InvalidRequest(
            "Only responses created with 'background' set to true can be streamed once more. Leave 'stream' out.",
            param="stream",
        )
    events = response_events.c.response_seq == row["seq"]
    if await connection.scalar(sa.select(response_events.c.number).where(events).limit(1)) is None:
        raise InvalidRequest(
            "What this response has told is no longer kept. Leave 'stream' out: the response itself is there.",
            param="stream",
            code="events_not_kept",
        )
