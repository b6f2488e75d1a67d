"""Blobs and rows that refer to them, without an API: files of a project."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport import ids
from homeport.store import tables
from homeport.store.blobs import Blobs, Bucket
from homeport.store.database import Database


class House:
    """Blobs over a bucket, and a table that refers to them: files of a project."""

    def __init__(self, blobs: Blobs, project: str = "proj_1") -> None:
        self.blobs = blobs
        self.project = project

    async def add(self, data: bytes) -> str:
        """The id of a new file of those bytes."""
        async with self.blobs.staged() as one:
            await one.write(data)
            async with self.blobs.keep(one) as connection:
                return await self.refer(connection, one.digest)

    async def refer(self, connection: Any, digest: str) -> str:
        id = ids.file()
        values = {"filename": "../../etc/passwd", "purpose": "batch", "bytes": 0, "created_at": 0, "status": "uploaded"}
        await connection.execute(
            sa.insert(tables.files).values(id=id, project_id=self.project, digest=digest, **values)
        )
        return id

    async def remove(self, *ids: str) -> None:
        """Files; then the bytes that nobody needs any more."""
        async with self.blobs.database.write() as connection:
            gone = await connection.execute(
                sa.delete(tables.files).where(tables.files.c.id.in_(ids)).returning(tables.files.c.digest)
            )
            digests = gone.scalars().all()
        await self.blobs.release(digests)

    async def rows(self) -> dict[str, int]:
        async with self.blobs.database.read() as connection:
            found = await connection.execute(sa.select(tables.blobs.c.digest, tables.blobs.c.bytes))
            return {row.digest: row.bytes for row in found}

    async def there(self) -> set[str]:
        return {digest async for digest, _ in self.blobs.bucket.digests()}


@asynccontextmanager
async def house(url: str, bucket: Bucket, staging: Path) -> AsyncIterator[House]:
    database = Database(url)
    try:
        async with database.write() as connection:
            await connection.run_sync(tables.metadata.create_all)
            known = await connection.execute(sa.select(tables.projects.c.id))
            if known.first() is None:
                await connection.execute(sa.insert(tables.projects).values(id="proj_1", name="one", created_at=0))
        blobs = Blobs(database, bucket, staging)
        await blobs.start()
        yield House(blobs)
        await blobs.close()
    finally:
        await database.close()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def whole(blobs: Blobs, digest: str, begin: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.read(digest, begin, end)])
