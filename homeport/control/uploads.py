"""Uploads: a file that comes in parts, in any order and side by side, and becomes one when all are there.

    pending ---complete---> completed    there is a file; the parts are gone
       |------cancel------> cancelled    the parts are gone
       |-----an hour------> expired      at once nothing more can be done with it; the parts go within a minute

The row of the upload is what decides: whoever changes its status does it in one transaction that began with `pending`,
and a part is added under its lock. So of two that complete it one makes the file, and no part comes too late.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import files as rows
from homeport.control.files import Files
from homeport.control.owners import Owner
from homeport.errors import ContentMissing, InvalidRequest, NotFound
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.store.tables import files, upload_parts, uploads
from homeport.wire.files import OpenAIFile
from homeport.wire.uploads import LARGEST_UPLOAD, CompleteUploadRequest, CreateUploadRequest, Status, Upload, UploadPart

LIFE_SECONDS = 3600
#: How long one that has ended is remembered: whoever did not get the answer may ask again.
REMEMBERED_SECONDS = 86_400
_SOME = 100


class Uploads:
    def __init__(self, blobs: Blobs, files: Files) -> None:
        self._blobs: Final = blobs
        self._database: Final = blobs.database
        self._files: Final = files

    async def create(self, owner: Owner, asked: CreateUploadRequest) -> Upload:
        """Raises InvalidRequest."""
        name = rows.shown_name(asked.filename)
        rows.check_kind(name, asked.purpose, asked.bytes)
        now = int(clock.now())
        upload_id = ids.upload()
        values = {
            "id": upload_id,
            "project_id": owner.project,
            "filename": name,
            "purpose": asked.purpose,
            "bytes": asked.bytes,
            "mime_type": asked.mime_type,
            "expires_after": rows.life_of(asked.purpose, asked.expires_after),
            "status": "pending",
            "created_at": now,
            "expires_at": now + LIFE_SECONDS,
        }
        async with self._database.write() as connection:
            await self._files.admit(connection, owner, asked.bytes)
            await connection.execute(uploads.insert().values(values))
            return _object(await _find(connection, owner, upload_id), "pending", None)

    async def add_part(self, owner: Owner, upload_id: str, staged: Staged) -> UploadPart:
        """Raises NotFound; InvalidRequest: the upload has ended, or is full."""
        part = UploadPart(id=ids.upload_part(), created_at=int(clock.now()), upload_id=upload_id)
        async with self._blobs.keep(staged) as connection:
            _check_pending(await _find(connection, owner, upload_id, lock=True))
            sizes = sa.select(sa.func.sum(upload_parts.c.bytes)).where(upload_parts.c.upload_id == upload_id)
            there = int(await connection.scalar(sizes) or 0)
            if there + staged.bytes > LARGEST_UPLOAD:
                raise InvalidRequest(
                    f"The parts of an upload may have {LARGEST_UPLOAD} bytes in total. This one has {there} already, "
                    f"and {staged.bytes} more do not fit.",
                    param="data",
                    code="upload_too_large",
                )
            await self._files.admit(connection, owner, staged.bytes)
            columns = {"id": part.id, "created_at": part.created_at, "digest": staged.digest, "bytes": staged.bytes}
            await connection.execute(upload_parts.insert().values(upload_id=upload_id, **columns))
        return part

    async def complete(self, owner: Owner, upload_id: str, asked: CompleteUploadRequest) -> Upload:
        """The file of the parts. Of one that is complete: the same answer again.

        Raises NotFound; InvalidRequest: parts, bytes, MD5 or content are not as they should be, and the upload stays as
        it was; or it has ended.
        """
        async with self._database.read() as connection:
            row = await _find(connection, owner, upload_id)
            if (done := await _done(connection, row)) is not None:
                return done
            _check_pending(row)
            digests = await _in_order(connection, row, asked.part_ids)
        async with self._blobs.staged(md5=asked.md5 is not None) as staged:
            try:
                await self._join(digests, staged)
            except ContentMissing:  # perhaps because it was ended meanwhile
                async with self._database.read() as connection:
                    done = await _done(connection, await _find(connection, owner, upload_id))
                if done is None:
                    raise
                return done
            if asked.md5 is not None and staged.md5 != asked.md5.lower():
                raise InvalidRequest(
                    f"The MD5 of the parts in this order is {staged.md5}, and not {asked.md5.lower()}: a part came "
                    "damaged, or the order is another one.",
                    param="md5",
                    code="md5_mismatch",
                )
            await self._files.check_content(staged, row.purpose)
            async with self._blobs.keep(staged) as connection:
                row = await _find(connection, owner, upload_id, lock=True)
                if (done := await _done(connection, row)) is not None:  # by somebody else, meanwhile
                    return done
                file = await rows.add(
                    connection, row.project_id, row.filename, row.purpose, staged, life=row.expires_after
                )
                gone = await _end(connection, [row.seq], "completed", file_id=file.id)
        await self._blobs.release(gone)
        return _object(row, "completed", file)

    async def _join(self, digests: Sequence[str], staged: Staged) -> None:
        for digest in digests:
            async with aclosing(self._blobs.read(digest)) as pieces:
                async for piece in pieces:
                    await staged.write(piece)

    async def cancel(self, owner: Owner, upload_id: str) -> Upload:
        """Of one that is cancelled: the same answer again. Raises NotFound; InvalidRequest: it has ended otherwise."""
        gone: Sequence[str] = []
        async with self._database.write() as connection:
            row = await _find(connection, owner, upload_id, lock=True)
            if row.status != "cancelled":
                _check_pending(row)
                gone = await _end(connection, [row.seq], "cancelled")
        await self._blobs.release(gone)
        return _object(row, "cancelled", None)

    async def expire(self) -> None:
        """Take away the parts of those whose hour is over, and forget those that ended long ago. Raises Unavailable."""
        now = int(clock.now())
        over = sa.and_(uploads.c.status == "pending", uploads.c.expires_at <= now)
        while found := await self._some(over):
            async with self._database.write() as connection:
                still = sa.select(uploads.c.seq).where(uploads.c.seq.in_(found), over).with_for_update()
                gone = await _end(connection, (await connection.scalars(still)).all(), "expired")
            await self._blobs.release(gone)
        ended = uploads.c.status.in_(("completed", "cancelled", "expired"))
        old = sa.and_(ended, uploads.c.expires_at <= now - REMEMBERED_SECONDS)
        while found := await self._some(old):
            async with self._database.write() as connection:
                await connection.execute(sa.delete(uploads).where(uploads.c.seq.in_(found)))

    async def _some(self, those: sa.ColumnElement[bool]) -> Sequence[int]:
        async with self._database.read() as connection:
            return (await connection.scalars(sa.select(uploads.c.seq).where(those).limit(_SOME))).all()


async def _find(connection: AsyncConnection, owner: Owner, upload_id: str, *, lock: bool = False) -> "sa.Row[Any]":
    """lock: nobody else changes it until the transaction ends. Raises NotFound."""
    query = sa.select(uploads).where(uploads.c.id == upload_id, uploads.c.project_id == owner.project)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="id")
    return row


async def _in_order(connection: AsyncConnection, row: "sa.Row[Any]", part_ids: Sequence[str]) -> Sequence[str]:
    """The parts' digests. Raises InvalidRequest."""
    there = sa.select(upload_parts.c.id, upload_parts.c.digest, upload_parts.c.bytes)
    parts = {one.id: one for one in await connection.execute(there.where(upload_parts.c.upload_id == row.id))}
    named: set[str] = set()
    for place, part_id in enumerate(part_ids):
        if part_id not in parts or part_id in named:
            what = "is there twice" if part_id in named else f"is no part of the upload {row.id!r}"
            raise InvalidRequest(
                f"Invalid 'part_ids[{place}]': {part_id[:100]!r} {what}.",
                param=f"part_ids[{place}]",
                code="invalid_value",
            )
        named.add(part_id)
    size = sum(parts[part_id].bytes for part_id in part_ids)
    if size != row.bytes:
        raise InvalidRequest(
            f"The parts have {size} bytes together, and the upload was created for {row.bytes}. Name every part once, "
            "in its order, and add those that are missing.",
            param="part_ids",
            code="invalid_value",
        )
    return [parts[part_id].digest for part_id in part_ids]


async def _end(
    connection: AsyncConnection, seqs: Sequence[int], status: str, *, file_id: str | None = None
) -> Sequence[str]:
    """From `pending` to another status, under their lock. Returns the digests of their parts, which are gone."""
    those = uploads.c.seq.in_(seqs)
    await connection.execute(sa.update(uploads).where(those).values(status=status, file_id=file_id))
    theirs = upload_parts.c.upload_id.in_(sa.select(uploads.c.id).where(those))
    return (await connection.scalars(sa.delete(upload_parts).where(theirs).returning(upload_parts.c.digest))).all()


async def _done(connection: AsyncConnection, row: "sa.Row[Any]") -> Upload | None:
    """One that is completed, with its file unless it is gone since; None: it is pending.

    Raises InvalidRequest: it has ended otherwise.
    """
    if row.status == "pending":
        return None
    if row.status != "completed":
        raise _has_ended(row.id, row.status)
    query = sa.select(files).where(files.c.id == row.file_id, files.c.project_id == row.project_id, rows.alive())
    file = (await connection.execute(query)).one_or_none()
    return _object(row, "completed", None if file is None else rows.as_object(file))


def _check_pending(row: "sa.Row[Any]") -> None:
    """Raises InvalidRequest."""
    if row.status == "pending" and row.expires_at > clock.now():
        return
    raise _has_ended(row.id, "expired" if row.status == "pending" else row.status)


def _has_ended(upload_id: str, status: str) -> InvalidRequest:
    return InvalidRequest(
        f"The upload {upload_id!r} is {status}, and nothing more can be done with it. Create another one.",
        param="upload_id",
        code=f"upload_{status}",
    )


def _object(row: "sa.Row[Any]", status: Status, file: OpenAIFile | None) -> Upload:
    return Upload(
        id=row.id,
        bytes=row.bytes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        filename=row.filename,
        purpose=row.purpose,
        status=status,
        file=file,
    )
