"""Fine-tuned models in a running server's database, as a job leaves them there: without the training."""

import hashlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport import clock, ids
from homeport.control import fine_tuning_states as states
from homeport.store.blobs import Blobs
from homeport.store.tables import checkpoint_permissions, fine_tuned_models, fine_tuning_jobs
from tests.server import KEY, Running


def project_of(server: Running, key: str = KEY) -> str:
    return server.app.books.accounts.snapshot.by_hash[hashlib.sha256(key.encode()).digest()].project


async def store(
    blobs: Blobs,
    adapter: bytes | None,
    *,
    project: str,
    model: str = "tiny",
    base: str = "tiny",
    upstream: str | None = None,
    name: str | None = None,
) -> str:
    """Its name. adapter: None: it is an upstream's."""
    job: dict[str, Any] = {
        "id": ids.fine_tuning_job(),
        "project_id": project,
        "key_id": "key_1",
        "model": model,
        "base": base,
        "upstream": upstream,
        "method": "supervised",
        "hyperparameters": {},
        "seed": 1,
        "training_file": "file-1",
        "status": "succeeded",
        "created_at": int(clock.now()),
        "step": 1,
        "tokens": 1,
    }
    name = name or ids.fine_tuned_model(model, "homeport", "test", job["id"])
    async with blobs.staged() as staged:
        await staged.write(adapter or b"")
        async with blobs.keep(staged) as connection:
            await connection.execute(fine_tuning_jobs.insert().values(job))
            query = sa.select(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job["id"])
            row = (await connection.execute(query)).mappings().one()
            await states.made(connection, row, name, digest=None if adapter is None else staged.digest, step=None)
    return name


def add(server: Running, adapter: Path | bytes | None, *, told: bool = True, **more: Any) -> str:
    """Its name, once the gateway knows it (told), or will in a moment. more: as `store`."""
    data = adapter.read_bytes() if isinstance(adapter, Path) else adapter

    async def made() -> str:
        name = await store(server.app.durable.blobs, data, **{"project": project_of(server), **more})
        if told:
            await server.app.books.accounts.load()
        return name

    return server.begin(made()).result(30)


def remove(server: Running, name: str) -> None:
    async def gone() -> None:
        blobs, this = server.app.durable.blobs, fine_tuned_models.c.name == name
        async with blobs.database.write() as connection:
            digest = await connection.scalar(sa.select(fine_tuned_models.c.digest).where(this))
            await connection.execute(sa.delete(fine_tuned_models).where(this))
            await states.changed(connection)
        await blobs.release([digest] if digest else [])
        await server.app.books.accounts.load()

    server.begin(gone()).result(30)


def grant(server: Running, name: str, project: str) -> None:
    async def granted() -> None:
        row = {"id": ids.checkpoint_permission(), "checkpoint": name, "project_id": project, "created_at": 1}
        async with server.app.durable.blobs.database.write() as connection:
            await connection.execute(checkpoint_permissions.insert().values(row))
            await states.changed(connection)
        await server.app.books.accounts.load()

    server.begin(granted()).result(30)


def revoke(server: Running, name: str) -> None:
    async def revoked() -> None:
        async with server.app.durable.blobs.database.write() as connection:
            await connection.execute(
                sa.delete(checkpoint_permissions).where(checkpoint_permissions.c.checkpoint == name)
            )
            await states.changed(connection)
        await server.app.books.accounts.load()

    server.begin(revoked()).result(30)


def files(server: Running) -> set[str]:
    """Adapters that this machine has."""
    folder = server.data / "adapters"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
