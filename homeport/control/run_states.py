"""The states of a run: these functions alone change them, each in its caller's transaction.

            a worker has it
    queued -----------------> in_progress -----------------> completed, incomplete, failed
      ^                         |     |                                 ^
      |                         |     | cancel                          | that came too late
      | all outputs             |     +-------------> cancelling -------+
      | are there               v                         |
      +------------- requires_action                      +------------> cancelled: its worker has seen it
                functions are called

    queued, requires_action --- cancel ---> cancelled, at once: nobody works on it
    active, whichever it is --- expires_at has come ---> expired

A run that is active has its thread to itself (`uq_runs_active`). Its job (lane `runs`, kind `run`, subject: its id) is
there while it is queued, in progress or cancelling; the one that is claimed alone may say what has become of it.

Who changes a state tells of it (run_events.py), in the same transaction. Whoever changes several rows, or one of them
twice, takes them in this order, so that nobody waits in a circle: threads, runs, run_steps and items, jobs. What is
here begins with the thread (`hold_thread`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import run_steps
from homeport.control.run_steps import Step
from homeport.store.calls import Calling
from homeport.store.queue import Queue
from homeport.store.tables import items, jobs, runs, threads
from homeport.wire.runs import (
    Function,
    IncompleteDetails,
    LastError,
    RequiredAction,
    RunToolCall,
    ToolOutputsWanted,
    Usage,
)
from homeport.wire.runs import Run as RunObject

LANE, KIND = "runs", "run"
#: While it has its thread to itself (tables.py, `uq_runs_active`).
ACTIVE = ("queued", "in_progress", "requires_action", "cancelling")
OVER = ("cancelled", "failed", "completed", "incomplete", "expired")
#: While nobody works on it: whoever comes may end it.
_WAITS = ("queued", "requires_action")
#: While a worker does.
_WORKED = ("in_progress", "cancelling")

#: A worker should have ended it by then, seconds after it has expired; from then on anybody may.
OVERDUE_SECONDS = 60

#: Of `runs`, with `thread_id`.
Run = Mapping[Any, Any]
Message = Mapping[Any, Any]
End = Literal["cancelled", "failed", "completed", "incomplete", "expired"]
_runs: Final = runs.c
#: Of a run's object: columns that it has as they are.
_PLAIN = (
    *("id", "created_at", "thread_id", "assistant_id", "status", "started_at", "cancelled_at", "failed_at"),
    *("completed_at", "model", "instructions", "tools", "max_prompt_tokens", "max_completion_tokens"),
    *("parallel_tool_calls", "reasoning_effort"),
)
#: Of a run that ended so: the column that says when.
_WHEN = {"cancelled": "cancelled_at", "failed": "failed_at", "completed": "completed_at"}
#: What becomes of steps that have not ended by then, and why their messages are incomplete.
_STEPS: Mapping[str, run_steps.End] = {"cancelled": "cancelled", "expired": "expired"}
_REASONS = {"cancelled": "run_cancelled", "expired": "run_expired"}


class Begun(NamedTuple):
    """new: it was queued until now. Otherwise somebody has had it before, and it may be `cancelling`."""

    run: Run
    new: bool


class Ended(NamedTuple):
    """steps, messages: that ended with it, otherwise than they should have."""

    run: Run
    steps: Sequence[Step] = ()
    messages: Sequence[Message] = ()


def query() -> "sa.Select[Any]":
    return sa.select(runs, threads.c.id.label("thread_id")).join(threads, threads.c.seq == _runs.thread_seq)


async def hold_thread(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> bool:
    """Of a run (`which`, of `runs`): nobody deletes its thread until the transaction ends. False: it is gone.

    Of a row that was changed in the same transaction already, PostgreSQL looks once more whether what it refers to is
    there, and waits for whoever deletes that, who waits for the row.
    """
    its = sa.select(_runs.thread_seq).where(which).scalar_subquery()
    thread = sa.select(threads.c.seq).where(threads.c.seq == its)
    return await connection.scalar(thread.with_for_update(read=True, key_share=True)) is not None


async def find(
    connection: AsyncConnection, run_id: str, thread_seq: int | None = None, *, lock: bool = False
) -> Run | None:
    """thread_seq: that it is in. lock: nobody else changes it until the transaction ends."""
    which = [_runs.id == run_id, *([_runs.thread_seq == thread_seq] if thread_seq is not None else [])]
    return await _one(connection, *which, lock=lock)


async def active(connection: AsyncConnection, thread_seq: int) -> Run | None:
    """The one that has the thread."""
    return await _one(connection, _runs.thread_seq == thread_seq, _runs.status.in_(ACTIVE))


async def create(
    connection: AsyncConnection, queue: Queue, values: Mapping[str, Any], *, run_seconds: int
) -> Run | None:
    """values: of the columns that a client, and the assistant, say. After the commit call `queue.told`.

    None: the thread has an active run.
    """
    now = int(clock.now())
    row = {
        "id": ids.run(),
        "status": "queued",
        "created_at": now,
        "expires_at": now + run_seconds,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "events": 0,
        **values,
    }
    insert = (sqlite if queue.database.sqlite else postgresql).insert(runs).values(row)
    if await connection.scalar(insert.on_conflict_do_nothing().returning(_runs.seq)) is None:
        return None
    await queue.enqueue(connection, LANE, KIND, row["id"])
    return await find(connection, row["id"])


async def begin(connection: AsyncConnection, run_id: str) -> Begun | None:
    """A worker has it. None: there is nothing to do."""
    started = sa.func.coalesce(_runs.started_at, int(clock.now()))
    run = await _go(connection, _runs.id == run_id, ("queued",), {"status": "in_progress", "started_at": started})
    if run is not None:
        return Begun(run, new=True)
    run = await find(connection, run_id)
    return Begun(run, new=False) if run is not None and run["status"] in _WORKED else None


async def spend(connection: AsyncConnection, run: Run, prompt: int, completion: int) -> None:
    """A call of the model has taken so many tokens."""
    more = {"prompt_tokens": _runs.prompt_tokens + prompt, "completion_tokens": _runs.completion_tokens + completion}
    await connection.execute(sa.update(runs).where(_runs.seq == run["seq"]).values(more))


async def requires_action(connection: AsyncConnection, run: Run) -> Run | None:
    """Its worker wants outputs of functions; their calls are in a step that is in progress. None: it is cancelled."""
    return await _go(connection, _runs.seq == run["seq"], ("in_progress",), {"status": "requires_action"})


async def submit(connection: AsyncConnection, queue: Queue, run: Run) -> Run | None:
    """All outputs are there. None: nobody waits for them any more. After the commit call `queue.told`."""
    live = sa.and_(_runs.seq == run["seq"], _runs.expires_at > int(clock.now()))
    found = await _go(connection, live, ("requires_action",), {"status": "queued"})
    if found is not None:
        await queue.enqueue(connection, LANE, KIND, found["id"])
    return found


async def cancel(connection: AsyncConnection, queue: Queue, run: Run) -> Ended | None:
    """At once where nobody works on it; else it is `cancelling` until whoever does has seen it. None: it has ended, or
    is being cancelled already."""
    this = _runs.seq == run["seq"]
    await hold_thread(connection, this)
    await connection.execute(sa.select(_runs.seq).where(this).with_for_update())
    ended = await _end(connection, this, _WAITS, "cancelled")
    if ended is not None:
        await queue.cancel(connection, run["id"], KIND)
        return ended
    going = await _go(connection, this, ("in_progress",), {"status": "cancelling"})
    if going is None:
        return None
    await queue.cancel(connection, run["id"], KIND)
    if await queue.left(connection, run["id"], KIND):
        return Ended(going)
    return await _end(connection, this, ("cancelling",), "cancelled")  # its worker had put it back


async def cancelled(connection: AsyncConnection, run: Run) -> Ended | None:
    """By its worker, as all that follow. None, of all: it was not so."""
    return await _end(connection, _runs.seq == run["seq"], ("cancelling",), "cancelled")


async def completed(connection: AsyncConnection, run: Run) -> Ended | None:
    """Also one that was to be cancelled: that came too late."""
    return await _end(connection, _runs.seq == run["seq"], _WORKED, "completed")


async def incomplete(connection: AsyncConnection, run: Run, reason: str) -> Ended | None:
    """reason: `max_prompt_tokens`, `max_completion_tokens`, `content_filter`."""
    return await _end(connection, _runs.seq == run["seq"], _WORKED, "incomplete", incomplete_reason=reason)


async def failed(connection: AsyncConnection, run_id: str, error: LastError) -> Ended | None:
    """Also one that nobody could begin with."""
    return await _end(connection, _runs.id == run_id, ("queued", *_WORKED), "failed", error)


async def expired(connection: AsyncConnection, run: Run) -> Ended | None:
    return await _end(connection, _runs.seq == run["seq"], _WORKED, "expired")


async def end_late(connection: AsyncConnection, queue: Queue, run_seq: int) -> Ended | None:
    """It should have ended by now, and nobody is there who would say so: it has expired while it waited; or it is to be
    cancelled, or has expired, and its worker is gone, or is silent for long. None: it is not so."""
    now = int(clock.now())
    this, late = _runs.seq == run_seq, _runs.expires_at <= now
    await hold_thread(connection, this)
    given_up = sa.or_(_runs.expires_at <= now - OVERDUE_SECONDS, sa.not_(_has_job()))
    ended = (
        await _end(connection, sa.and_(this, late), _WAITS, "expired")
        or await _end(connection, sa.and_(this, given_up), ("cancelling",), "cancelled")
        or await _end(connection, sa.and_(this, late, given_up), ("in_progress",), "expired")
    )
    if ended is not None:
        await queue.withdraw(connection, ended.run["id"], KIND)
    return ended


def has_expired(run: Run) -> bool:
    """It waits, and nobody has said so yet (`end_late`)."""
    return run["status"] in _WAITS and run["expires_at"] <= clock.now()


async def late(connection: AsyncConnection, most: int) -> Sequence[int]:
    """Those that `end_late` is for, as far as can be seen: their `seq`."""
    now = int(clock.now())
    due = sa.or_(
        sa.and_(_runs.expires_at <= now, _runs.status.in_(_WAITS)),
        sa.and_(_runs.expires_at <= now - OVERDUE_SECONDS, _runs.status.in_(_WORKED)),
        sa.and_(_runs.expires_at <= now, _runs.status == "in_progress", sa.not_(_has_job())),
        sa.and_(_runs.status == "cancelling", sa.not_(_has_job())),
    )
    found = sa.select(_runs.seq).where(_runs.status.in_(ACTIVE), due).order_by(_runs.seq).limit(most)
    return (await connection.scalars(found)).all()


async def abandon(connection: AsyncConnection, queue: Queue, thread_seq: int) -> None:
    """The caller deletes the thread: whoever works on its run has lost it."""
    theirs = sa.select(_runs.id).where(_runs.thread_seq == thread_seq, _runs.status.in_(ACTIVE)).with_for_update()
    for run_id in (await connection.scalars(theirs)).all():
        await queue.withdraw(connection, run_id, KIND)


def _has_job() -> sa.ColumnElement[bool]:
    return sa.exists().where(jobs.c.subject == _runs.id, jobs.c.kind == KIND).correlate(runs)


async def _end(
    connection: AsyncConnection,
    which: sa.ColumnElement[bool],
    before: Sequence[str],
    status: End,
    error: LastError | None = None,
    **values: Any,
) -> Ended | None:
    now = int(clock.now())
    values["status"] = status
    if status in _WHEN:
        values[_WHEN[status]] = now
    if error is not None:
        values["last_error"] = msgspec.to_builtins(error)
    run = await _go(connection, which, before, values)
    if run is None:
        return None
    if error is not None and error.code == "invalid_prompt":
        error = LastError("server_error", error.message)  # the only two of a step are that and rate_limit_exceeded
    steps = await run_steps.end_all(connection, run["seq"], _STEPS.get(status, "failed"), error)
    return Ended(run, steps, await _end_messages(connection, run, _REASONS.get(status, "run_failed")))


async def _end_messages(connection: AsyncConnection, run: Run, reason: str) -> Sequence[Message]:
    table = items.c
    end = (
        sa.update(items)
        .where(table.run_id == run["id"], table.status == "in_progress")
        .values(status="incomplete", incomplete_at=int(clock.now()), incomplete_reason=reason)
        .returning(*table)
    )
    found = (await connection.execute(end)).mappings().all()
    return sorted(found, key=lambda message: int(message["seq"]))


async def _go(
    connection: AsyncConnection, which: sa.ColumnElement[bool], before: Sequence[str], values: Mapping[str, Any]
) -> Run | None:
    """As it is now. None: it was in none of those states."""
    await hold_thread(connection, which)
    gone = sa.update(runs).where(which, _runs.status.in_(before)).values(values).returning(_runs.seq)
    seq = await connection.scalar(gone)
    return None if seq is None else await _one(connection, _runs.seq == seq)


async def _one(connection: AsyncConnection, *which: sa.ColumnElement[bool], lock: bool = False) -> Run | None:
    wanted = query().where(*which)
    if lock:
        await hold_thread(connection, sa.and_(*which))
        wanted = wanted.with_for_update(of=runs)
    found: Run | None = (await connection.execute(wanted)).mappings().one_or_none()
    return found


def as_object(run: Run, pending: Sequence[Calling] = ()) -> RunObject:
    """pending: of one that requires action, the calls whose outputs are wanted (`run_steps.pending`)."""
    status, error, reason = run["status"], run["last_error"], run["incomplete_reason"]
    over, action = status in OVER, None
    if status == "requires_action":
        wanted = [RunToolCall(call.id, Function(call.name, call.arguments)) for call in pending]
        action = RequiredAction(ToolOutputsWanted(wanted))
    return RunObject(
        **{name: run[name] for name in _PLAIN},
        required_action=action,
        last_error=None if error is None else msgspec.convert(error, LastError),
        expires_at=None if over else run["expires_at"],
        incomplete_details=None if reason is None else IncompleteDetails(reason),
        metadata=run["metadata"] or {},
        usage=Usage.of(run["prompt_tokens"], run["completion_tokens"]) if over else None,
        temperature=1.0 if run["temperature"] is None else run["temperature"],
        top_p=1.0 if run["top_p"] is None else run["top_p"],
        truncation_strategy=run["truncation_strategy"] or {"type": "auto", "last_messages": None},
        tool_choice=run["tool_choice"] or "auto",
        response_format=run["response_format"] or "auto",
    )
