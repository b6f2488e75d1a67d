"""Rows of vector stores and of files in them, as they stand once somebody has put them there."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.store.tables import blobs, files, projects, vector_store_files, vector_stores

PROJECT = "proj_1"
MODEL = "text-embedding-3-small"


async def make_store(
    connection: AsyncConnection, store_id: str = "vs_1", *, project: str = PROJECT, **values: Any
) -> int:
    """Its number."""
    if await connection.scalar(sa.select(projects.c.id).where(projects.c.id == project)) is None:
        await connection.execute(projects.insert().values(id=project, name="P", created_at=0))
    given = {"created_at": 0, "last_active_at": 0, "model": MODEL, "generation": 0, "name": ""} | values
    result = await connection.execute(
        vector_stores.insert().values(id=store_id, project_id=project, **given).returning(vector_stores.c.seq)
    )
    return int(result.scalar_one())


async def make_file(
    connection: AsyncConnection,
    store: int,
    file_id: str,
    *,
    project: str = PROJECT,
    filename: str | None = None,
    **values: Any,
) -> int:
    """The number of a file in a store."""
    if await connection.scalar(sa.select(blobs.c.digest)) is None:
        await connection.execute(blobs.insert().values(digest="0" * 64, bytes=1, created_at=0))
    if await connection.scalar(sa.select(files.c.id).where(files.c.id == file_id)) is None:
        await connection.execute(
            files.insert().values(
                id=file_id,
                project_id=project,
                bytes=1,
                created_at=0,
                filename=filename or f"{file_id}.txt",
                purpose="assistants",
                status="processed",
                digest="0" * 64,
            )
        )
    given = {"key_id": "key_1", "status": "completed", "created_at": 0, "chunk_size": 800, "chunk_overlap": 400}
    given |= {"usage_bytes": 0} | values
    result = await connection.execute(
        vector_store_files.insert()
        .values(store_seq=store, file_id=file_id, **given)
        .returning(vector_store_files.c.seq)
    )
    return int(result.scalar_one())
