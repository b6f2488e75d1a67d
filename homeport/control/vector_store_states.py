"""What becomes of vector stores, the files in them and batches of these: these functions alone change their rows, each
in its caller's transaction. Drawn in docs/vector-stores.md.

    file    in_progress -> completed, failed, or cancelled (with its batch)
            put in again: nothing happens, or it is another row

A file's job (`vector_store.ingest`) has its row's `seq` as subject. Nobody tells a job that its file is gone, or is
cancelled: it looks, and takes away what it has brought in. `vector_store.sweep` empties stores that were deleted, or
have expired.

Whoever changes several rows takes them in this order, so that nobody waits in a circle: files, vector_stores,
vector_store_files, vector_store_chunks, jobs. Whatever changes what is found in a store raises its `generation` in the
same transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import vector_store_generations as generations
from homeport.control.files import alive, no_such_file
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest, NotFound
from homeport.store.chunks import NewChunk, insert_chunks
from homeport.store.queue import Queue
from homeport.store.tables import (
    files,
    vector_store_chunks,
    vector_store_file_batches,
    vector_store_files,
    vector_stores,
)
from homeport.wire.vector_stores import ErrorCode

LANE = "ingestion"
INGEST, SWEEP = "vector_store.ingest", "vector_store.sweep"
#: Of OpenAI's stores made before November 2025 (its guide "Retrieval"); those made since may have more.
MOST_FILES = 10_000
DAY = 86_400
#: While jobs work at them.
IN_PROGRESS = "in_progress"

Store = sa.RowMapping
_stores: Final = vector_stores.c
_inside: Final = vector_store_files.c
_chunks: Final = vector_store_chunks.c


class Wanted(NamedTuple):
    """A file to be put into a store. attributes: None where nobody says."""

    file_id: str
    attributes: Mapping[str, Any] | None
    chunk_size: int
    chunk_overlap: int


class OtherModel(Exception):
    """The store's vectors are another model's. answered: that one."""

    def __init__(self, answered: str) -> None:
        super().__init__(answered)
        self.answered = answered


def this(owner: Owner, store_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_stores.id == store_id, _stores.project_id == owner.project, _stores.deleted_at.is_(None))


def usable() -> sa.ColumnElement[bool]:
    """Of a store: it is there, and has not expired."""
    expired = sa.and_(_stores.expires_at.is_not(None), _stores.expires_at <= int(clock.now()))
    return sa.and_(_stores.deleted_at.is_(None), sa.not_(expired))


async def find(connection: AsyncConnection, owner: Owner, store_id: str) -> Store:
    """Raises NotFound."""
    found = (await connection.execute(sa.select(vector_stores).where(this(owner, store_id)))).mappings().one_or_none()
    if found is None:
        raise NotFound(f"No vector store found with id '{store_id}'.", param="vector_store_id")
    return found


def check_usable(store: Store) -> None:
    """Raises InvalidRequest."""
    if is_expired(store):
        raise InvalidRequest(f"Vector store '{store['id']}' has expired.", param="vector_store_id")


def is_expired(store: Store) -> bool:
    return store["expires_at"] is not None and store["expires_at"] <= clock.now()


async def use(connection: AsyncConnection, owner: Owner, store_id: str, **values: Any) -> Store:
    """It is being used now, so it expires later. The caller has its row from now on. values: that are to change.

    Raises NotFound; InvalidRequest: it has expired.
    """
    now = int(clock.now())
    days = values.get("expires_after_days", _stores.expires_after_days)
    used = (
        sa.update(vector_stores)
        .where(this(owner, store_id), usable())
        .values(last_active_at=now, expires_at=now + days * DAY if days is not None else None, **values)
        .returning(*_stores)
    )
    found = (await connection.execute(used)).mappings().one_or_none()
    if found is None:
        check_usable(found := await find(connection, owner, store_id))
    return found


async def create(connection: AsyncConnection, owner: Owner, values: Mapping[str, Any]) -> Store:
    """values: of the columns that a client, and its operator, say."""
    now, days = int(clock.now()), values["expires_after_days"]
    row = {
        "id": ids.vector_store(),
        "project_id": owner.project,
        "created_at": now,
        "last_active_at": now,
        "expires_at": None if days is None else now + days * DAY,
        "generation": 0,
        **values,
    }
    made = sa.insert(vector_stores).values(row).returning(*_stores)
    return (await connection.execute(made)).mappings().one()


async def delete(connection: AsyncConnection, queue: Queue, owner: Owner, store_id: str) -> bool:
    """Nobody sees it from now on. False: there is none."""
    gone = (
        sa.update(vector_stores)
        .where(this(owner, store_id))
        .values(deleted_at=int(clock.now()), generation=_stores.generation + 1)
        .returning(_stores.seq)
    )
    seq = await connection.scalar(gone)
    if seq is None:
        return False
    await queue.enqueue(connection, LANE, SWEEP, str(seq), only=True)
    return True


async def expire(connection: AsyncConnection, queue: Queue) -> None:
    """What has expired, or was deleted, is emptied."""
    has_files = sa.select(_inside.seq).where(_inside.store_seq == _stores.seq).exists()
    over = sa.or_(_stores.deleted_at.is_not(None), sa.and_(_stores.expires_at <= int(clock.now()), has_files))
    for seq in (await connection.scalars(sa.select(_stores.seq).where(over))).all():
        await queue.enqueue(connection, LANE, SWEEP, str(seq), only=True)


async def empty(connection: AsyncConnection, seq: int, *, most: int) -> bool:
    """Takes some of the chunks of a store that was deleted, or has expired; at the end all that is left of it. False:
    there is more."""
    store = await connection.execute(
        sa.select(_stores.deleted_at, usable()).where(_stores.seq == seq).with_for_update()
    )
    found = store.one_or_none()
    if found is None or found[1]:
        return True
    some = sa.select(_chunks.seq).where(_chunks.store_seq == seq).order_by(_chunks.seq).limit(most)
    if (await connection.execute(sa.delete(vector_store_chunks).where(_chunks.seq.in_(some)))).rowcount == most:
        return False
    await generations.raise_of(connection, _stores.seq == seq)
    if found.deleted_at is not None:
        await connection.execute(sa.delete(vector_stores).where(_stores.seq == seq))
    else:
        await connection.execute(sa.delete(vector_store_files).where(_inside.store_seq == seq))
        batches = vector_store_file_batches.c.store_seq == seq
        await connection.execute(sa.delete(vector_store_file_batches).where(batches))
    return True


async def hold_files(connection: AsyncConnection, owner: Owner, file_ids: Sequence[str], param: str) -> None:
    """They are not deleted before the transaction has ended. Raises NotFound, which names the first that is not there.

    param: that they came in.
    """
    which = files.c.id.in_({*file_ids}), files.c.project_id == owner.project, alive()
    held = sa.select(files.c.id).where(*which).order_by(files.c.seq).with_for_update(read=True, key_share=True)
    found = {*(await connection.scalars(held)).all()}
    for file_id in file_ids:
        if file_id not in found:
            raise no_such_file(file_id, param=param)


async def attach(
    connection: AsyncConnection,
    queue: Queue,
    store: Store,
    key_id: str,
    wanted: Sequence[Wanted],
    *,
    batch_seq: int | None = None,
) -> None:
    """Files that are held are put into a store that is used. A file that is there, or on its way, and would be cut in
    the same way, stays as it is but for its attributes; any other that is there is done anew. Afterwards call
    Queue.told().

    batch_seq: they belong to this batch from now on. Raises InvalidRequest: there is no room.
    """
    asked = {one.file_id: one for one in wanted}
    which = _inside.store_seq == store["seq"], _inside.file_id.in_(asked)
    there = {row.file_id: row for row in await connection.execute(sa.select(vector_store_files).where(*which))}
    kept = {file_id for file_id, row in there.items() if _is_same(row, asked[file_id])}
    new = [one for one in asked.values() if one.file_id not in kept]
    replaced = [row for file_id, row in there.items() if file_id not in kept]
    await _check_room(connection, store, len(new) - len(replaced))
    changed = any(row.status == "completed" for row in replaced)
    if replaced:
        gone = _inside.seq.in_([row.seq for row in replaced])
        await connection.execute(sa.delete(vector_store_files).where(gone))
    for file_id in kept:
        row, attributes = there[file_id], asked[file_id].attributes
        if attributes is not None and attributes != row.attributes:
            await _set_attributes(connection, row.seq, attributes)
            changed = changed or row.status == "completed"
    if batch_seq is not None and kept:
        moved = sa.update(vector_store_files).where(_inside.seq.in_([there[one].seq for one in kept]))
        await connection.execute(moved.values(batch_seq=batch_seq))
    if changed:
        await generations.raise_of(connection, _stores.seq == store["seq"])
    if new:
        await _insert(connection, queue, store["seq"], key_id, new, batch_seq)


def _is_same(row: "sa.Row[Any]", wanted: Wanted) -> bool:
    cut = row.chunk_size == wanted.chunk_size and row.chunk_overlap == wanted.chunk_overlap
    return cut and row.status in (IN_PROGRESS, "completed")


async def _check_room(connection: AsyncConnection, store: Store, more: int) -> None:
    """Raises InvalidRequest."""
    if more > 0:
        has = sa.select(sa.func.count()).where(_inside.store_seq == store["seq"])
        if (await connection.scalar(has) or 0) + more > MOST_FILES:
            raise InvalidRequest(
                f"A vector store may have {MOST_FILES} files, and '{store['id']}' would have more. Take some out, or "
                "use several stores.",
                code="vector_store_full",
            )


async def _insert(
    connection: AsyncConnection, queue: Queue, store_seq: int, key_id: str, new: Sequence[Wanted], batch_seq: int | None
) -> None:
    of_all = {
        "store_seq": store_seq,
        "batch_seq": batch_seq,
        "key_id": key_id,
        "status": IN_PROGRESS,
        "created_at": int(clock.now()),
        "usage_bytes": 0,
    }
    await connection.execute(sa.insert(vector_store_files), [{**of_all, **one._asdict()} for one in new])
    made = sa.select(_inside.seq).where(
        _inside.store_seq == store_seq, _inside.file_id.in_([one.file_id for one in new])
    )
    seqs = (await connection.scalars(made.order_by(_inside.seq))).all()
    await queue.enqueue_each(connection, LANE, INGEST, [str(seq) for seq in seqs])


async def set_attributes(
    connection: AsyncConnection, store: Store, file_id: str, attributes: Mapping[str, Any] | None
) -> bool:
    """Of a file in a store that is used. False: it is not in it."""
    found = sa.select(_inside.seq).where(_inside.store_seq == store["seq"], _inside.file_id == file_id)
    seq = await connection.scalar(found)
    if seq is None:
        return False
    await generations.raise_of(connection, _stores.seq == store["seq"])
    await _set_attributes(connection, seq, attributes)
    return True


async def _set_attributes(connection: AsyncConnection, seq: int, attributes: Mapping[str, Any] | None) -> None:
    values = None if attributes is None else dict(attributes)
    await connection.execute(sa.update(vector_store_files).where(_inside.seq == seq).values(attributes=values))


async def detach(connection: AsyncConnection, store: Store, file_id: str) -> bool:
    """A file is taken out of a store that is used. False: it is not in it."""
    await generations.raise_of(connection, _stores.seq == store["seq"])
    which = _inside.store_seq == store["seq"], _inside.file_id == file_id
    return bool((await connection.execute(sa.delete(vector_store_files).where(*which))).rowcount)


async def create_batch(connection: AsyncConnection, store: Store) -> "sa.RowMapping":
    row = {"id": ids.vector_store_file_batch(), "store_seq": store["seq"], "created_at": int(clock.now())}
    made = sa.insert(vector_store_file_batches).values(row).returning(*vector_store_file_batches.c)
    return (await connection.execute(made)).mappings().one()


async def cancel_batch(connection: AsyncConnection, seq: int) -> None:
    """Its files that are in progress are no longer."""
    which = _inside.batch_seq == seq, _inside.status == IN_PROGRESS
    cancelled = sa.update(vector_store_files).where(*which).values(status="cancelled")
    if (await connection.execute(cancelled)).rowcount:
        batch = vector_store_file_batches.c.seq == seq
        at = sa.update(vector_store_file_batches).where(batch).values(cancelled_at=int(clock.now()))
        await connection.execute(at)


#: A file that is to be brought in, with what has to be known of it and of its store.
Work = sa.RowMapping


async def work(connection: AsyncConnection, seq: int) -> Work | None:
    """None: nobody wants it any more."""
    columns = (
        _inside.seq,
        _inside.store_seq,
        _inside.key_id,
        _inside.chunk_size,
        _inside.chunk_overlap,
        _stores.model,
        _stores.answered,
        _stores.width,
        files.c.filename,
        files.c.digest,
    )
    found = (
        sa.select(*columns)
        .join(vector_stores, _stores.seq == _inside.store_seq)
        .join(files, files.c.id == _inside.file_id)
        .where(_inside.seq == seq, _inside.status == IN_PROGRESS, usable())
    )
    return (await connection.execute(found)).mappings().one_or_none()


async def bring_in(
    connection: AsyncConnection, file: Work, rows: Sequence[Mapping[str, Any]], *, answered: str, width: int
) -> bool:
    """Chunks of a file. answered, width: of the model that made their vectors; the first is the store's from then on.

    False: nobody wants it any more. Raises OtherModel.
    """
    await _hold_store(connection, file["seq"])
    if file["answered"] is None:
        first = sa.update(vector_stores).where(_stores.seq == file["store_seq"], _stores.answered.is_(None))
        await connection.execute(first.values(answered=answered, width=width))
    wanted = (
        sa.select(_stores.answered, _stores.width)
        .join(vector_store_files, _inside.store_seq == _stores.seq)
        .where(_inside.seq == file["seq"], _inside.status == IN_PROGRESS, usable())
        .with_for_update(read=True, key_share=True, of=vector_store_files)
    )
    store = (await connection.execute(wanted)).one_or_none()
    if store is None:
        return False
    if (store.answered, store.width) != (answered, width):
        raise OtherModel(store.answered)
    chunks = [NewChunk(**row) for row in rows]
    await insert_chunks(connection, file["store_seq"], file["seq"], chunks, width=width)
    return True


async def complete(connection: AsyncConnection, file: Work, *, usage_bytes: int) -> bool:
    """All of it is in. False: nobody wants it any more."""
    await generations.raise_of(connection, _stores.seq == file["store_seq"])
    done = sa.update(vector_store_files).where(_inside.seq == file["seq"], _inside.status == IN_PROGRESS)
    done = done.values(status="completed", usage_bytes=usage_bytes)
    return bool((await connection.execute(done)).rowcount)


async def fail(connection: AsyncConnection, seq: int, code: ErrorCode, message: str) -> None:
    """It cannot be brought in. What was there of it is gone."""
    await _hold_store(connection, seq)
    failed = sa.update(vector_store_files).where(_inside.seq == seq, _inside.status == IN_PROGRESS)
    await connection.execute(failed.values(status="failed", error_code=code, error_message=message))
    await forget(connection, seq)


async def forget(connection: AsyncConnection, seq: int) -> None:
    """Of a file that is not completed, what has been brought in."""
    await _hold_store(connection, seq)
    await connection.execute(sa.select(_inside.seq).where(_inside.seq == seq).with_for_update(key_share=True))
    await connection.execute(sa.delete(vector_store_chunks).where(_chunks.file_seq == seq))


async def _hold_store(connection: AsyncConnection, seq: int) -> None:
    """Of a file in it: nobody deletes the store until the transaction ends. Rows of chunks look for it, too."""
    its = sa.select(_inside.store_seq).where(_inside.seq == seq).scalar_subquery()
    store = sa.select(_stores.seq).where(_stores.seq == its)
    await connection.execute(store.with_for_update(read=True, key_share=True))
