"""Responses as rows, and the only writers of their states: drawn in docs/responses.md.

Those in the background have a row, and a job, before anybody is answered. Others get theirs once they have ended, if
they are to be kept at all.

Whoever changes several rows, or one of them twice, takes them in this order, so that nobody waits in a circle: threads
(its conversation: `conversations.hold`, `locked`), responses, items, jobs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import conversations, items
from homeport.control.owners import Owner
from homeport.store.queue import Queue
from homeport.store.tables import items as items_table
from homeport.store.tables import responses as table
from homeport.wire.items import Item, shown
from homeport.wire.responses import (
    ErrorCode,
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseConversation,
    ResponseError,
    ResponseUsage,
    Status,
)

LANE, KIND = "responses", "response"
ACTIVE = ("queued", "in_progress")
#: Also of one that is not in the database yet.
Row = Mapping[Any, Any]


class Used(NamedTuple):
    """Tokens of all turns so far."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0


class Ended(NamedTuple):
    """How a response has ended. model: what really answered, where that is known."""

    status: Status
    reason: str | None = None
    error: Mapping[str, str] | None = None
    model: str = ""


def failed(code: ErrorCode, message: str) -> Ended:
    return Ended("failed", error={"code": code, "message": message})


def used_of(row: Row) -> Used:
    return Used(**(row["usage"] or {}))


def ended_values(ended: Ended, used: Used) -> dict[str, Any]:
    """Of a row, once it is so."""
    values: dict[str, Any] = {
        "status": ended.status,
        "incomplete_reason": ended.reason,
        "error": ended.error,
        "usage": used._asdict(),
        "completed_at": int(clock.now()) if ended.status == "completed" else None,
    }
    return {**values, "model": ended.model} if ended.model else values


async def create(
    connection: AsyncConnection, owner: Owner, row: Row, coming: Sequence[Item], output: Sequence[Item] = ()
) -> int:
    """The seq of its new row. coming: what it was made from. With the items of its conversation, once it has ended."""
    seq: int = (await connection.scalars(sa.insert(table).values(row).returning(table.c.seq))).one()
    thread_seq = None if row["status"] in ACTIVE else row["conversation_seq"]
    await items.add(connection, owner, coming, thread_seq=thread_seq, response_seq=seq)
    await items.add(connection, owner, output, thread_seq=thread_seq, response_seq=seq, output=True)
    return seq


class Begun(NamedTuple):
    """new: nobody has worked on it before."""

    row: Row
    new: bool


async def active(connection: AsyncConnection, response_id: str, *, lock: bool = False) -> Row | None:
    """One that has not ended. lock: it does not until the transaction does."""
    this = table.c.id == response_id
    if lock:
        await conversations.hold(connection, this)
    query = sa.select(table).where(this, table.c.status.in_(ACTIVE))
    found: Row | None = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return found


async def begin(connection: AsyncConnection, response_id: str) -> Begun | None:
    """Somebody works on it. None: it has ended, or is gone."""
    row = await active(connection, response_id, lock=True)
    if row is None:
        return None
    await connection.execute(sa.update(table).where(table.c.seq == row["seq"]).values(status="in_progress"))
    return Begun({**row, "status": "in_progress"}, row["status"] == "queued")


async def use(connection: AsyncConnection, seq: int, used: Used) -> bool:
    """Whether it is there."""
    await conversations.hold(connection, table.c.seq == seq)
    using = sa.update(table).where(table.c.seq == seq).values(usage=used._asdict())
    return bool((await connection.execute(using)).rowcount)


async def change(connection: AsyncConnection, item: Item) -> None:
    """Of the output, once more is known of it."""
    await connection.execute(sa.update(items_table).where(items_table.c.id == item.id).values(items.values(item)))


async def end(connection: AsyncConnection, row: Row, ended: Ended, used: Used) -> Row | None:
    """What came with it and of it is in its conversation now. None: it has ended already, or is gone."""
    if row["conversation_seq"] is not None:  # before the response's own row, as everybody does
        await conversations.locked(connection, row["conversation_seq"])
    mine = table.c.seq == row["seq"], table.c.status.in_(ACTIVE)
    ending = sa.update(table).where(*mine).values(ended_values(ended, used)).returning(table)
    now: Row | None = (await connection.execute(ending)).mappings().one_or_none()
    if now is None:
        return None
    its = items_table.c.response_seq == row["seq"]
    unfinished = items_table.c.output, items_table.c.status.in_(("in_progress", "searching", "interpreting"))
    await connection.execute(sa.update(items_table).where(its, *unfinished).values(status="incomplete"))
    if now["conversation_seq"] is not None:
        await _append(connection, its, now["conversation_seq"])
    return now


async def _append(connection: AsyncConnection, which: "sa.ColumnElement[bool]", thread_seq: int) -> None:
    """Items to a conversation, behind what has come into it meanwhile."""
    query = sa.select(items_table).where(which).order_by(items_table.c.seq)
    rows = [{**row, "thread_seq": thread_seq} for row in (await connection.execute(query)).mappings()]
    await connection.execute(sa.delete(items_table).where(which))
    for row in rows:
        del row["seq"]
    if rows:
        await connection.execute(sa.insert(items_table), rows)


async def cancel(connection: AsyncConnection, queue: Queue, row: Row) -> None:
    """At once, whoever works on it: his job is no longer his."""
    await end(connection, row, Ended("cancelled"), used_of(row))
    await queue.withdraw(connection, row["id"], KIND)


async def delete(connection: AsyncConnection, queue: Queue, row: Row) -> None:
    """What is in a conversation stays there."""
    its = items_table.c.response_seq == row["seq"], items_table.c.thread_seq.is_(None)
    await connection.execute(sa.delete(items_table).where(*its))
    await connection.execute(sa.delete(table).where(table.c.seq == row["seq"]))
    await queue.withdraw(connection, row["id"], KIND)


async def output_of(connection: AsyncConnection, seq: int) -> list[Item]:
    query = sa.select(items_table).where(items_table.c.response_seq == seq, items_table.c.output)
    rows = await connection.execute(query.order_by(items_table.c.seq))
    return [items.as_item(row) for row in rows.mappings()]


def as_object(row: Row, output: Sequence[Item], include: Sequence[str] = ()) -> Response:
    """include: beside what the request has asked for."""
    request: Mapping[str, Any] = row["request"]
    include = [*request.get("include", ()), *include]
    conversation = request.get("conversation")
    named = {name: request[name] for name in ("prompt_cache_key", "safety_identifier", "user") if name in request}
    return Response(
        id=row["id"],
        created_at=row["created_at"],
        status=row["status"],
        background=row["background"],
        completed_at=row["completed_at"],
        conversation=None if conversation is None else ResponseConversation(conversation["id"]),
        error=None if row["error"] is None else ResponseError(**row["error"]),
        incomplete_details=None if row["incomplete_reason"] is None else IncompleteDetails(row["incomplete_reason"]),
        instructions=request.get("instructions"),
        max_output_tokens=request.get("max_output_tokens"),
        max_tool_calls=request.get("max_tool_calls"),
        metadata=request.get("metadata", {}),
        model=row["model"],
        output=[shown(item, include) for item in output],
        parallel_tool_calls=request.get("parallel_tool_calls", True),
        previous_response_id=row["previous_id"],
        prompt_cache_retention=request.get("prompt_cache_retention"),
        reasoning={"effort": None, "summary": None, **request.get("reasoning", {})},
        service_tier=request.get("service_tier", "default"),
        store=request.get("store", True),
        temperature=request.get("temperature", 1.0),
        text={"format": {"type": "text"}, "verbosity": "medium", **request.get("text", {})},
        tool_choice=request.get("tool_choice", "auto"),
        tools=[_tool(tool) for tool in request.get("tools", ())],
        top_p=request.get("top_p", 1.0),
        truncation=request.get("truncation", "disabled"),
        usage=None if row["status"] in ACTIVE or row["usage"] is None else _usage(used_of(row)),
        **named,
    )


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The description wants these of functions, whatever they are."""
    return {**({"parameters": None, "strict": None} if tool["type"] == "function" else {}), **tool}


def _usage(used: Used) -> ResponseUsage:
    return ResponseUsage(
        used.input,
        InputTokensDetails(used.cached),
        used.output,
        OutputTokensDetails(used.reasoning),
        used.input + used.output,
    )
