"""Bytes that outlive a request, each under the SHA-256 of it, so that the same bytes are kept once.

Where they are is a Bucket: a folder (folder.py) or an object store (s3.py). Which of them are wanted is what the
database says: a row of `blobs` for each, and a foreign key to it in every row that refers to it.

    kept          1 staged         a temporary file of this machine, hashed while it is written
                  2 put            its bytes are in the bucket, on the disk
                  3 transaction    the row of `blobs` is there and locked; the bytes are still in the bucket, or else
                                   back to 2; rows that refer to it
    collected     1 transaction    the row of `blobs` is locked; nobody refers to it, so it goes; then the bytes go

Whoever is killed leaves a temporary file, or bytes without a row: `sweep` finds both. A row without bytes cannot be:
bytes go only under the lock of their row, and rows come only under the same lock and after a look at the bytes.
While a backup runs (holds.py) nothing that had a row goes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import Unavailable
from homeport.settings import Settings
from homeport.store import tables
from homeport.store.database import Database
from homeport.store.folder import Folder
from homeport.store.holds import held
from homeport.store.staged import OLD, Staged, disk, take_away_old

log = logging.getLogger("homeport")

#: Digests that are looked up at once.
_SOME = 500
#: How often bytes are put again that somebody has collected meanwhile.
_ATTEMPTS = 20


class Bucket(Protocol):
    """Where the bytes are. Every method raises Unavailable when it cannot be reached. str() tells people where."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def put(self, file: Path, digest: str) -> None:
        """The bytes of the file are there, whole and for good. That they have been already is no error.

        Raises StorageFull.
        """

    async def has(self, digest: str) -> bool: ...

    def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes from `begin` up to and without `end`, in pieces of about 256 kB. Raises ContentMissing."""

    async def delete(self, digest: str) -> None:
        """That they are not there is no error."""

    def digests(self) -> AsyncGenerator[tuple[str, float], None]:
        """Of all that are there, with the time (unix seconds) at which each came."""


class Blobs:
    def __init__(self, database: Database, bucket: Bucket, staging: Path) -> None:
        """staging: folder of temporary files, on this machine."""
        self.database = database
        self.bucket = bucket
        self._staging = staging

    async def start(self) -> None:
        await asyncio.to_thread(_make, self._staging)
        await self.bucket.start()

    async def close(self) -> None:
        await self.bucket.close()

    @asynccontextmanager
    async def staged(self, *, md5: bool = False) -> AsyncGenerator[Staged, None]:
        """A temporary file to write to, which is gone when the block ends, kept or not. md5: that it is reckoned."""
        one = Staged(self._staging, md5=md5)
        try:
            yield one
        finally:
            await one.drop()

    @asynccontextmanager
    async def keep(self, *staged: Staged) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction in which rows may refer to the digests of what was staged. Raises StorageFull, Unavailable."""
        wanted = {one.digest: one for one in staged}
        for one in wanted.values():
            await one.finish()
        for _ in range(_ATTEMPTS):
            for digest, one in wanted.items():
                await self.bucket.put(one.path, digest)
            try:
                async with self.database.write() as connection:
                    await self._claim(connection, {digest: one.bytes for digest, one in wanted.items()})
                    yield connection
            except _Collected:
                continue
            except BaseException:
                await self._forget(wanted)
                raise
            return
        raise Unavailable("Files are deleted as fast as they come. Try again in a moment.")

    async def _forget(self, digests: Iterable[str]) -> None:
        """Bytes of what was refused after all, unless somebody has a row for them. Else the next `sweep` does it."""
        with suppress(Unavailable):
            for digest in digests:
                await self._sweep_bytes(digest)

    async def _claim(self, connection: AsyncConnection, sizes: Mapping[str, int]) -> None:
        """Rows of `blobs`, which nobody else changes until the transaction ends. Raises _Collected."""
        insert: Any = (sqlite if self.database.sqlite else postgresql).insert(tables.blobs)
        upsert = insert.on_conflict_do_update(index_elements=["digest"], set_={"bytes": insert.excluded.bytes})
        now = int(clock.now())
        for digest in sorted(sizes):  # all in one order, so that nobody waits for somebody who waits
            await connection.execute(upsert.values(digest=digest, bytes=sizes[digest], created_at=now))
        for digest in sizes:
            if not await self.bucket.has(digest):
                raise _Collected

    def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """As the bucket does."""
        return self.bucket.read(digest, begin, end)

    async def release(self, digests: Iterable[str]) -> None:
        """After rows that referred to them are gone: bytes that nobody refers to are deleted now.

        What cannot be deleted now is deleted by the next `sweep`.
        """
        try:
            for digest in {*digests}:
                await self._collect(digest)
        except Unavailable as error:
            log.warning("deleted files are not yet off the disk: %s", error.message)

    async def sweep(self) -> None:
        """What killed processes left, once it is an hour old, and blobs that nobody refers to. Raises Unavailable."""
        await asyncio.to_thread(take_away_old, self._staging)
        last = ""
        while found := await self._unwanted(last):
            for digest in found:
                await self._collect(digest)
            last = found[-1]
        some: list[str] = []
        async with aclosing(self.bucket.digests()) as all_there:
            async for digest, since in all_there:
                if since < clock.now() - OLD:
                    some.append(digest)
                if len(some) >= _SOME:
                    await self._sweep_some(some)
                    some = []
        await self._sweep_some(some)

    async def _unwanted(self, after: str) -> Sequence[str]:
        """Some of the rows that nobody refers to, in order."""
        digest = tables.blobs.c.digest
        query = sa.select(digest).where(digest > after, unwanted()).order_by(digest).limit(_SOME)
        async with self.database.read() as connection:
            return (await connection.execute(query)).scalars().all()

    async def _collect(self, digest: str) -> None:
        """Its row and its bytes, unless somebody refers to it."""
        this = tables.blobs.c.digest == digest
        try:
            async with self.database.write() as connection:
                # First the lock: what others have committed until we have it is seen by the next statement.
                await connection.execute(sa.select(tables.blobs.c.digest).where(this).with_for_update())
                gone = await connection.execute(sa.delete(tables.blobs).where(this, unwanted(), ~held()))
                if gone.rowcount:
                    await self.bucket.delete(digest)
        except IntegrityError:
            pass  # somebody does

    async def _sweep_some(self, found: Sequence[str]) -> None:
        query = sa.select(tables.blobs.c.digest).where(tables.blobs.c.digest.in_(found))
        async with self.database.read() as connection:
            known = {*(await connection.execute(query)).scalars()}
        for digest in found:
            if digest not in known:
                await self._sweep_bytes(digest)

    async def _sweep_bytes(self, digest: str) -> None:
        """Bytes without a row. Whoever is about to make the row waits for this one, and then looks for the bytes."""
        insert: Any = (sqlite if self.database.sqlite else postgresql).insert(tables.blobs)
        row = insert.values(digest=digest, bytes=0, created_at=int(clock.now())).on_conflict_do_nothing()
        async with self.database.write() as connection:
            if (await connection.execute(row)).rowcount:
                await self.bucket.delete(digest)
                await connection.execute(sa.delete(tables.blobs).where(tables.blobs.c.digest == digest))


class _Collected(Exception):
    """The bytes went between put and the lock."""


def unwanted(metadata: sa.MetaData = tables.metadata) -> sa.ColumnElement[bool]:
    """Of a row of `blobs`: nothing in the database refers to it. metadata: of the tables that are there."""
    blob = metadata.tables["blobs"]
    columns = [one for table in metadata.tables.values() for one in table.columns if one.references(blob.c.digest)]
    referring = (sa.select(one).where(one == blob.c.digest).correlate(blob).exists() for one in columns)
    return sa.and_(*(~exists for exists in referring))


class Place(NamedTuple):
    bucket: Bucket
    staging: Path


def place(settings: Settings) -> Place:
    """Where the settings say. Raises SettingsError."""
    if settings.files.store is not None:
        from homeport.store.s3 import ObjectStore

        return Place(ObjectStore.of(settings.files), settings.data / "staging")
    folder = Folder(Path(settings.files.folder).expanduser() if settings.files.folder else settings.data / "blobs")
    return Place(folder, folder.staging)


def chosen(settings: Settings, database: Database) -> Blobs:
    """Raises SettingsError."""
    return Blobs(database, *place(settings))


def _make(folder: Path) -> None:
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
