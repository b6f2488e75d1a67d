"""The states of a batch: these functions alone change them, each in its caller's transaction.

               nothing is wrong         the last line            its files
              with the input           has ended                 are there
    validating ------------> in_progress ------> finalizing ------------------> completed
      |  |  |                  |   |  |            ^     |
      |  |  |           cancel |   |  | a day has  |     +--------------------> expired
      |  |  +------------+     |   |  | passed     |     |
      |  |    cancel     |     |   |  +----------->+     +--------------------> failed: a part of it cannot be done
      |  |               v     v   |               |
      |  |               cancelling +------------->+
      |  |                   |        its files
      |  |                   +------------------------------------------------> cancelled
      |  +--------------------------------------------------------------------> expired: a day has passed
      +-----------------------------------------------------------------------> failed: the input is not what it must be

Jobs of a batch, in the lane `batch`: `batch.validate`; `batch.lines`, one for each chunk of the input;
`batch.finalize`; `batch.expire`, which is due when the batch expires; `batch.sweep`, which forgets its lines. Whoever
changes both takes the row of the batch before those of its jobs, so that nobody waits in a circle.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.store.queue import Queue
from homeport.store.tables import batch_lines, batches, projects
from homeport.wire.batches import BatchError

LANE = "batch"
VALIDATE, LINES, FINALIZE, EXPIRE, SWEEP = (
    f"batch.{what}" for what in ("validate", "lines", "finalize", "expire", "sweep")
)
WINDOW_SECONDS = 86_400
#: While they take of the tokens that a project may have enqueued.
UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")
#: While lines may come in: those that ran when it was cancelled, or expired, too.
_OPEN = ("in_progress", "cancelling", "finalizing")

Batch = sa.RowMapping


class Tally(NamedTuple):
    """Of lines that have ended: answered and answered with an error, and the tokens that they took."""

    completed: int = 0
    failed: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    @classmethod
    def of(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All of them together."""
        return cls(*map(sum, zip(*tallies, strict=True)))


class Ended(NamedTuple):
    """A line that has. output: the line of the file that it goes to."""

    line: int
    succeeded: bool
    output: bytes


#: What is counted of lines that have ended -> its column.
_COLUMNS = {
    "completed": "completed",
    "failed": "failed",
    "input": "input_tokens",
    "cached": "cached_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}
#: Made once: it takes longer to make than to run.
_COUNTED = (
    sa.update(batches)
    .where(batches.c.id == sa.bindparam("its_id"), batches.c.status.in_(_OPEN))
    .values({name: batches.c[name] + sa.bindparam(f"more_{name}") for name in (*_COLUMNS.values(), "chunks")})
    .returning(batches.c.status, batches.c.chunks)
)


def _more(tally: Tally) -> dict[str, int]:
    return {f"more_{column}": getattr(tally, name) for name, column in _COLUMNS.items()}


async def create(connection: AsyncConnection, queue: Queue, values: Mapping[str, Any]) -> str:
    """values: of the columns that a client says. Returns its id."""
    batch_id, now = ids.batch(), int(clock.now())
    row = {
        "id": batch_id,
        "status": "validating",
        "created_at": now,
        "expires_at": now + WINDOW_SECONDS,
        **dict.fromkeys(("total", "completed", "failed", "chunks", "enqueued_tokens"), 0),
        **dict.fromkeys(("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"), 0),
        **values,
    }
    await connection.execute(batches.insert().values(row))
    await queue.enqueue(connection, LANE, VALIDATE, batch_id)
    await queue.enqueue(connection, LANE, EXPIRE, batch_id, run_in=WINDOW_SECONDS)
    return batch_id


async def enqueued(connection: AsyncConnection, project: str, key_id: str | None, same: Callable[[str], bool]) -> int:
    """Tokens that unfinished batches of a project take, or of one of its keys. same: whether a model counts.

    The project's row stays taken: nobody else counts until the caller has committed.
    """
    taken = sa.select(projects.c.seq).where(projects.c.id == project)
    await connection.execute(taken.with_for_update(key_share=True))  # rows that refer to it may come all the same
    query = sa.select(batches.c.model, batches.c.enqueued_tokens).where(
        batches.c.project_id == project, batches.c.status.in_(UNFINISHED), batches.c.model.is_not(None)
    )
    if key_id is not None:
        query = query.where(batches.c.key_id == key_id)
    return sum(row.enqueued_tokens for row in await connection.execute(query) if same(row.model))


async def waiting(connection: AsyncConnection, project: str) -> list[tuple[str, str, int]]:
    """Model, key and input tokens of a project's batches that have not ended. Nobody waits for whoever asks."""
    query = sa.select(batches.c.model, batches.c.key_id, batches.c.enqueued_tokens).where(
        batches.c.project_id == project, batches.c.status.in_(UNFINISHED), batches.c.model.is_not(None)
    )
    return [(row.model, row.key_id, row.enqueued_tokens) for row in await connection.execute(query)]


async def begin(
    connection: AsyncConnection,
    queue: Queue,
    batch_id: str,
    *,
    model: str,
    total: int,
    tokens: int,
    chunks: Sequence[dict[str, Any]],
) -> bool:
    """Its lines may run. chunks: checkpoints of their jobs. False: it is no longer validated by anybody."""
    values = {
        "model": model,
        "total": total,
        "chunks": len(chunks),
        "enqueued_tokens": tokens,
        "in_progress_at": int(clock.now()),
    }
    if await _go(connection, batch_id, ("validating",), "in_progress", values) is None:
        return False
    await queue.enqueue_parts(connection, LANE, LINES, batch_id, chunks, priority=1)
    return True


async def fail(
    connection: AsyncConnection, queue: Queue, batch_id: str, errors: Iterable[BatchError], model: str | None = None
) -> None:
    """The input is not what it must be."""
    values = {"errors": msgspec.to_builtins([*errors]), "failed_at": int(clock.now()), "digest": None, "model": model}
    if await _go(connection, batch_id, ("validating",), "failed", values) is not None:
        await queue.cancel(connection, batch_id, EXPIRE)


async def took(
    connection: AsyncConnection,
    queue: Queue,
    batch_id: str,
    tally: Tally,
    ended: Sequence[Ended],
    *,
    whole: bool = False,
) -> str | None:
    """Lines have ended. whole: with them the last of their chunk; after the last chunk the files are written. The
    batch's status by then, whose row the caller has from now on; None: it takes no more lines."""
    batch = (
        await connection.execute(_COUNTED, {"its_id": batch_id, **_more(tally), "more_chunks": -int(whole)})
    ).one_or_none()
    if batch is None:
        return None
    if ended:
        rows = [
            {"batch_id": batch_id, "line": one.line, "succeeded": one.succeeded, "output": one.output} for one in ended
        ]
        await connection.execute(batch_lines.insert(), rows)
    if whole and batch.status == "in_progress" and batch.chunks == 0:
        await _finalize(connection, queue, batch_id, ("in_progress",), "finalizing", "completed")
        return "finalizing"
    status: str = batch.status
    return status


async def cancel(connection: AsyncConnection, queue: Queue, batch_id: str) -> bool:
    """No more of its lines begin, those that run are ended, and its files are written. False: it is too late."""
    return await _finalize(connection, queue, batch_id, ("validating", "in_progress"), "cancelling", "cancelled")


async def expire(connection: AsyncConnection, queue: Queue, batch_id: str) -> None:
    """As cancel(); lines that have not run are told in the error file."""
    values = {"expired_at": int(clock.now()), "digest": None}
    if await _go(connection, batch_id, ("validating",), "expired", values) is not None:
        await queue.cancel(connection, batch_id, VALIDATE)
    else:
        await _finalize(connection, queue, batch_id, ("in_progress",), "finalizing", "expired")


async def give_up(connection: AsyncConnection, queue: Queue, batch_id: str, error: BatchError) -> None:
    """A part of it cannot be done. What has been done is written to its files, as far as that is possible."""
    errors = msgspec.to_builtins([error])
    if await _finalize(connection, queue, batch_id, ("in_progress",), "finalizing", "failed", errors=errors):
        return
    values = {"errors": errors, "failed_at": int(clock.now()), "digest": None}
    if await _go(connection, batch_id, ("validating", "finalizing", "cancelling"), "failed", values) is not None:
        await queue.cancel(connection, batch_id)


async def ending_since(connection: AsyncConnection, batch_id: str) -> float:
    """Seconds since it was cancelled, or has gone on to its files. The caller has its row from now on."""
    columns = sa.func.coalesce(batches.c.cancelling_at, batches.c.finalizing_at)
    since = await connection.scalar(sa.select(columns).where(batches.c.id == batch_id).with_for_update())
    return clock.now() - (since or 0)


async def wait(connection: AsyncConnection, batch_id: str, error: BatchError) -> None:
    """Its files cannot be written yet. Why is said, until they are."""
    what = batches.c.id == batch_id, batches.c.status.in_(("finalizing", "cancelling")), batches.c.ending != "failed"
    await connection.execute(sa.update(batches).where(*what).values(errors=msgspec.to_builtins([error])))


async def end(
    connection: AsyncConnection,
    queue: Queue,
    batch_id: str,
    *,
    output_file_id: str | None,
    error_file_id: str | None,
    unfinished: int,
) -> bool:
    """Its files are there, in this transaction. unfinished: lines that count as failed. False: it has ended already."""
    ending = await connection.scalar(
        sa.select(batches.c.ending)
        .where(batches.c.id == batch_id, batches.c.status.in_(("finalizing", "cancelling")))
        .with_for_update()
    )
    if ending is None:
        return False
    values: dict[str, Any] = {
        "output_file_id": output_file_id,
        "error_file_id": error_file_id,
        "failed": batches.c.failed + unfinished,
        f"{ending}_at": int(clock.now()),
        "digest": None,
    }
    if ending != "failed":
        values["errors"] = None
    await _go(connection, batch_id, ("finalizing", "cancelling"), ending, values)
    await queue.cancel(connection, batch_id, EXPIRE)
    await queue.enqueue(connection, LANE, SWEEP, batch_id)
    return True


async def _go(
    connection: AsyncConnection, batch_id: str, before: Sequence[str], after: str, values: Mapping[str, Any]
) -> Batch | None:
    """None: it is in none of the states that it would have to be in."""
    going = (
        sa.update(batches)
        .where(batches.c.id == batch_id, batches.c.status.in_(before))
        .values(status=after, **values)
        .returning(*batches.c)
    )
    return (await connection.execute(going)).mappings().one_or_none()


async def _finalize(
    connection: AsyncConnection,
    queue: Queue,
    batch_id: str,
    before: Sequence[str],
    after: str,
    ending: str,
    **more: Any,
) -> bool:
    values = {"ending": ending, f"{after}_at": int(clock.now()), **more}
    if await _go(connection, batch_id, before, after, values) is None:
        return False
    await queue.cancel(connection, batch_id, VALIDATE)
    await queue.cancel(connection, batch_id, LINES)
    await queue.enqueue(connection, LANE, FINALIZE, batch_id)
    return True
