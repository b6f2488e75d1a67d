"""The states of a fine-tuning job: these functions alone change them, each in its caller's transaction.

                    the files are          a trainer
                    what they must be      has begun         its adapter is there
    validating_files ------------> queued ---------> running ---------------------> succeeded
         |   |                      | | ^             |  |  |
         |   |                pause | | | resume      |  |  +----------------------> failed: it cannot be done
         |   |                      v | |             |  | pause
         |   |                   paused <----------- pausing: until the trainer has written its state
         |   |                      | |   its state   |
         |   +----------------------+-+---------------+----------------------------> cancelled
         +-------------------------------------------------------------------------> failed: the files are wrong

Jobs of the queue, in the lane `fine_tuning`: `fine_tuning.validate` reads the files; `fine_tuning.train` trains;
`fine_tuning.follow` has an upstream do it, whose states ours then follow (`mirror`), whichever way it goes;
`fine_tuning.book`, which begins as one ends, however it does, writes into the ledger what it was trained on. Whoever
changes both takes the row of the fine-tuning job before those of its jobs, so that nobody waits in a circle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.store.queue import Queue
from homeport.store.tables import fine_tuned_models, fine_tuning_events, fine_tuning_jobs, revision
from homeport.wire.fine_tuning import FineTuningError

LANE = "fine_tuning"
VALIDATE, TRAIN, FOLLOW, BOOK = (f"fine_tuning.{what}" for what in ("validate", "train", "follow", "book"))
#: States that nothing leaves.
OVER = ("succeeded", "failed", "cancelled")
UNFINISHED = ("validating_files", "queued", "running", "pausing", "paused")
#: Checkpoints of a job that stay, as OpenAI keeps those of the last three epochs.
CHECKPOINTS = 3
#: Columns of blobs that one which has ended needs no longer.
_DIGESTS = ("training_digest", "validation_digest", "start_digest", "state_digest")
_KEPT_UNTIL_THE_END = dict.fromkeys((*_DIGESTS, "estimated_finish"))

Job = sa.RowMapping


async def create(connection: AsyncConnection, queue: Queue, values: Mapping[str, Any], *, kind: str = VALIDATE) -> str:
    """values: of the columns that a client says. kind: of the job that goes on with it. Returns its id."""
    job_id = ids.fine_tuning_job()
    row = {"id": job_id, "status": "validating_files", "created_at": int(clock.now()), "step": 0, "tokens": 0, **values}
    await connection.execute(fine_tuning_jobs.insert().values(row))
    await tell(connection, job_id, f"Created fine-tuning job: {job_id}")
    await tell(connection, job_id, f"Validating training file: {values['training_file']}")
    await queue.enqueue(connection, LANE, kind, job_id)
    return job_id


async def admit(
    connection: AsyncConnection, queue: Queue, job_id: str, hyperparameters: Mapping[str, Any], tokens: int
) -> bool:
    """Its files are what they must be. hyperparameters: with numbers for `auto`. tokens: of one epoch. False: nobody
    validates it any more."""
    if await _go(connection, job_id, ("validating_files",), "queued", {"hyperparameters": hyperparameters}) is None:
        return False
    await tell(connection, job_id, f"Files validated, moving job to queued state ({tokens} tokens an epoch)")
    await queue.enqueue(connection, LANE, TRAIN, job_id)
    return True


async def begin(connection: AsyncConnection, job_id: str) -> Job | None:
    """A trainer has it; also one that goes on after another was killed. None: it is not to run."""
    found = await _go(connection, job_id, ("queued", "running"), "running", {})
    if found is not None and found["status"] == "queued" and found["step"] == 0:
        await tell(connection, job_id, "Fine-tuning job started")
    return found


async def progress(
    connection: AsyncConnection,
    job_id: str,
    *,
    step: int,
    tokens: int,
    estimated_finish: int | None,
    events: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """The trainer has come to a step. tokens: that it was trained on since the job began. events: `message` and `data`
    of metrics, each of a step that was not told of before (`step` of the row). False: it is to run no longer."""
    values = {"step": step, "tokens": tokens, "estimated_finish": estimated_finish}
    if await _go(connection, job_id, ("running", "pausing"), None, values) is None:
        return False
    if events:
        rows = [_event(job_id, one["message"], kind="metrics", data=one["data"]) for one in events]
        await connection.execute(fine_tuning_events.insert(), rows)
    return True


async def keep_state(connection: AsyncConnection, job_id: str, digest: str | None) -> Job | None:
    """What the trainer goes on from, wherever that is; None: still the one that was kept before. As succeed: which is
    to be released."""
    values = {"state_digest": digest} if digest is not None else {}
    return await _go(connection, job_id, ("running", "pausing"), None, values)


async def made(
    connection: AsyncConnection,
    job: Job,
    name: str,
    *,
    digest: str | None,
    step: int | None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """A model can be used: a checkpoint of that step, or (None) the finished one. Every replica sees it within a
    second. That it is there already is no error."""
    there = sa.select(fine_tuned_models.c.seq).where(fine_tuned_models.c.name == name)
    if await connection.scalar(there) is not None:
        return
    row = {
        "id": ids.fine_tuning_checkpoint(),
        "name": name,
        "created_at": int(clock.now()),
        **{column: job[column] for column in ("project_id", "model", "base", "upstream")},
        "job_id": job["id"],
        "digest": digest,
        "step": step,
        "metrics": metrics,
    }
    await connection.execute(fine_tuned_models.insert().values(row))
    await changed(connection)
    if step is not None and job["upstream"] is None:
        await tell(connection, job["id"], f"Checkpoint created at step {step}")


async def forget_checkpoints(connection: AsyncConnection, job_id: str) -> Sequence[str]:
    """Those before the last CHECKPOINTS. Returns digests that are to be released."""
    table = fine_tuned_models.c
    checkpoints = sa.and_(table.job_id == job_id, table.step.is_not(None))
    last = sa.select(table.seq).where(checkpoints).order_by(table.step.desc()).limit(CHECKPOINTS)
    old = (await connection.scalars(sa.select(table.seq).where(checkpoints, table.seq.not_in(last)))).all()
    if not old:
        return []
    await changed(connection)  # first: so do all who change what replicas look at
    gone = sa.delete(fine_tuned_models).where(table.seq.in_(old)).returning(table.digest)
    return [one for one in await connection.scalars(gone) if one is not None]


async def succeed(
    connection: AsyncConnection, queue: Queue, job_id: str, *, model: str, tokens: int, result_file: str | None
) -> Job | None:
    """tokens: that it was trained on, all epochs. The row as it was before, whose digests are to be released; None: it
    has ended otherwise."""
    values = {
        "fine_tuned_model": model,
        "tokens": tokens,
        "trained_tokens": tokens,
        "result_file": result_file,
        "finished_at": int(clock.now()),
        **_KEPT_UNTIL_THE_END,
    }
    before = await _go(connection, job_id, ("validating_files", "queued", "running", "pausing"), "succeeded", values)
    if before is not None:
        await tell(connection, job_id, f"New fine-tuned model created: {model}")
        await tell(connection, job_id, "The job has successfully completed")
        await queue.enqueue(connection, LANE, BOOK, job_id)
    return before


async def fail(connection: AsyncConnection, queue: Queue, job_id: str, error: FineTuningError) -> Job | None:
    """As succeed."""
    values = {"error": msgspec.to_builtins(error), "finished_at": int(clock.now()), **_KEPT_UNTIL_THE_END}
    before = await _go(connection, job_id, UNFINISHED, "failed", values)
    if before is not None:
        await tell(connection, job_id, f"The job failed: {error.message}", level="error")
        await queue.cancel(connection, job_id)
        await queue.enqueue(connection, LANE, BOOK, job_id)
    return before


async def cancel(connection: AsyncConnection, queue: Queue, job_id: str) -> Job | None:
    """As succeed. Whoever trains it hears of it within a second."""
    values = {"finished_at": int(clock.now()), **_KEPT_UNTIL_THE_END}
    before = await _go(connection, job_id, UNFINISHED, "cancelled", values)
    if before is not None:
        await tell(connection, job_id, "The job was cancelled")
        await queue.cancel(connection, job_id)
        await queue.enqueue(connection, LANE, BOOK, job_id)
    return before


async def pause(connection: AsyncConnection, queue: Queue, job_id: str) -> bool:
    """False: there is nothing to pause."""
    if await _go(connection, job_id, ("queued",), "paused", {}) is not None:
        await tell(connection, job_id, "The job was paused")
        await queue.cancel(connection, job_id)
        return True
    if await _go(connection, job_id, ("running",), "pausing", {}) is None:
        return False
    await tell(connection, job_id, "The job is being paused")
    return True


async def paused(connection: AsyncConnection, job_id: str, state_digest: str | None) -> Job | None:
    """The trainer has written its state, and ended. As keep_state; None: it was not to pause."""
    values = {"estimated_finish": None, **({"state_digest": state_digest} if state_digest is not None else {})}
    before = await _go(connection, job_id, ("pausing",), "paused", values)
    if before is not None:
        await tell(connection, job_id, "The job was paused")
    return before


async def resume(connection: AsyncConnection, queue: Queue, job_id: str) -> bool:
    """False: it is not paused."""
    if await _go(connection, job_id, ("paused",), "queued", {}) is None:
        return False
    await tell(connection, job_id, "The job was resumed")
    await queue.enqueue(connection, LANE, TRAIN, job_id)
    return True


async def mirror(
    connection: AsyncConnection,
    queue: Queue,
    job_id: str,
    status: str,
    values: Mapping[str, Any],
    told: Sequence[Mapping[str, Any]],
) -> Job | None:
    """An upstream does it, and has come to that state. values: of other columns. told: its events, what _event takes of
    each. The row as it was before; None: it has ended here."""
    ended = {"finished_at": int(clock.now()), **_KEPT_UNTIL_THE_END} if status in OVER else {}
    before = await _go(connection, job_id, UNFINISHED, status, {**ended, **values})
    if before is not None:
        if told:
            await connection.execute(fine_tuning_events.insert(), [_event(job_id, **one) for one in told])
        if status in OVER:
            await queue.enqueue(connection, LANE, BOOK, job_id)
    return before


def digests(before: Job | None) -> list[str]:
    """Of blobs that a job which has ended refers to no longer. before: its row until then; None: it had ended."""
    return [] if before is None else [before[name] for name in _DIGESTS if before[name] is not None]


async def tell(
    connection: AsyncConnection,
    job_id: str,
    message: str,
    *,
    level: str = "info",
    kind: str = "message",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Whoever tells has the row of the job until the caller has committed: so whoever follows its events sees them in
    their order, and misses none."""
    await connection.execute(sa.select(fine_tuning_jobs.c.seq).where(fine_tuning_jobs.c.id == job_id).with_for_update())
    row = _event(job_id, message, level=level, kind=kind, data=data)
    await connection.execute(fine_tuning_events.insert().values(row))


def _event(
    job_id: str,
    message: str,
    *,
    level: str = "info",
    kind: str = "message",
    data: Mapping[str, Any] | None = None,
    created_at: int | None = None,
) -> dict[str, Any]:
    return {
        "id": ids.fine_tuning_event(),
        "job_id": job_id,
        "created_at": int(clock.now()) if created_at is None else created_at,
        "level": level,
        "type": kind,
        "message": message,
        "data": data,
    }


async def changed(connection: AsyncConnection) -> None:
    """Which models there are, and who may use them: replicas look again (gateway/accounts.py)."""
    await connection.execute(sa.update(revision).values(value=revision.c.value + 1))


async def _go(
    connection: AsyncConnection, job_id: str, before: Sequence[str], after: str | None, values: Mapping[str, Any]
) -> Job | None:
    """The row as it was, where its state was one of `before`. after: None: the state stays."""
    table = fine_tuning_jobs
    query = sa.select(table).where(table.c.id == job_id, table.c.status.in_(before)).with_for_update()
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is not None and (after is not None or values):
        changes = {**({"status": after} if after is not None else {}), **values}
        await connection.execute(sa.update(table).where(table.c.id == job_id).values(changes))
    return found
