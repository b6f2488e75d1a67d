"""Containers as their owners see them. What becomes of them is in container_states.py; what code does in them, in
container_work.py."""

from collections.abc import AsyncGenerator
from typing import Final, Literal, get_args

import sqlalchemy as sa
from msgspec import UNSET

from homeport.control import container_states as states
from homeport.control import pages
from homeport.control.container_states import File, Put, files_stay
from homeport.control.files import Content, Files, shown_name
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import NotFound
from homeport.settings import CodeInterpreter as CodeInterpreterSettings
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.store.tables import container_files, containers
from homeport.wire.base import unsupported_value
from homeport.wire.containers import (
    FOLDER,
    LIFE,
    Container,
    ContainerFile,
    CreateContainerRequest,
    Life,
    MemoryLimit,
)
from homeport.wire.fields import Deleted, Page

#: Containers that are emptied in one transaction.
_SOME = 100
#: MB.
_LIMITS: Final[dict[MemoryLimit, int]] = {one: int(one[:-1]) * 1024 for one in get_args(MemoryLimit)}


class Containers:
    def __init__(self, blobs: Blobs, files: Files, settings: CodeInterpreterSettings) -> None:
        self._blobs: Final = blobs
        self._database: Final = blobs.database
        self._project_files: Final = files
        self._memory_mb = settings.memory_mb
        self._most_bytes = settings.disk_mb * 2**20

    async def create(self, owner: Owner, asked: CreateContainerRequest) -> Container:
        """Raises InvalidRequest; NotFound: no such file."""
        self.check_memory(asked.memory_limit, "memory_limit")
        minutes = asked.expires_after.minutes if asked.expires_after is not None else LIFE
        with files_stay("file_ids"):
            async with self._database.write() as connection:
                made = await states.create(connection, owner, name=asked.name, minutes=minutes)
                await states.copy_in(
                    connection, owner, made, asked.file_ids or (), param="file_ids", most_bytes=self._most_bytes
                )
        return self._as_object(made)

    def check_memory(self, limit: MemoryLimit | None, param: str) -> None:
        """Raises InvalidRequest: this machine does not give as much."""
        if limit is not None and _LIMITS[limit] > self._memory_mb:
            raise unsupported_value(
                param, limit, f"those up to {self._memory_mb} MB, which whoever runs this server can raise"
            )

    async def list(self, owner: Owner, window: Window, name: str | None) -> Page[Container]:
        """Raises InvalidRequest: no such place in the list."""
        query = sa.select(containers)
        if name is not None:
            query = query.where(containers.c.name == name)
        theirs = sa.and_(containers.c.project_id == owner.project, states.shown())
        async with self._database.read() as connection:
            found = await pages.page(connection, query, window, seq=containers.c.seq, id=containers.c.id, within=theirs)
        return Page.of([self._as_object(row._mapping) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, container_id: str) -> Container:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return self._as_object(await states.find(connection, owner, container_id, param="container_id"))

    async def delete(self, owner: Owner, container_id: str) -> Deleted:
        """With its files. Raises NotFound."""
        async with self._database.write() as connection:
            digests = await states.delete(connection, owner, container_id)
        if digests is None:
            raise states.no_such_container(container_id, "container_id")
        await self._blobs.release(digests)
        return Deleted("container.deleted", container_id)

    async def add_file(self, owner: Owner, container_id: str, filename: str | None, staged: Staged) -> ContainerFile:
        """Raises NotFound, InvalidRequest, StorageFull, Unavailable."""
        name = shown_name(filename)
        async with self._blobs.keep(staged) as connection:
            container = await states.use(connection, owner, container_id, param="container_id")
            await self._project_files.admit(connection, owner, staged.bytes)
            taken = {file["path"] for file in await states.files_of(connection, container)}
            wanted = Put(states.free_name(name, taken), staged.digest, staged.bytes, "user")
            (made,), _ = await states.put(connection, container, [wanted], most_bytes=self._most_bytes)
        return _file_object(container_id, made)

    async def copy_file(self, owner: Owner, container_id: str, file_id: str) -> ContainerFile:
        """A file of the project's; where it is in there, it stays. Raises NotFound, InvalidRequest, Unavailable."""
        with files_stay("file_id"):
            async with self._database.write() as connection:
                container = await states.use(connection, owner, container_id, param="container_id")
                await states.copy_in(
                    connection, owner, container, [file_id], param="file_id", most_bytes=self._most_bytes
                )
                there = await states.files_of(connection, container)
        return _file_object(
            container_id, next(file for file in there if file_id in (file["file_id"], file["before_id"]))
        )

    async def list_files(self, owner: Owner, container_id: str, window: Window) -> Page[ContainerFile]:
        """Raises NotFound; InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            container = await states.find(connection, owner, container_id, param="container_id")
            found = await pages.page(
                connection,
                sa.select(container_files),
                window,
                seq=container_files.c.seq,
                id=container_files.c.id,
                within=_in(container),
            )
        shown = [_file_object(container_id, row._mapping) for row in found.rows]
        return Page.of(shown, has_more=found.has_more)

    async def retrieve_file(self, owner: Owner, container_id: str, file_id: str) -> ContainerFile:
        """Raises NotFound."""
        return _file_object(container_id, await self._file(owner, container_id, file_id))

    async def content(self, owner: Owner, container_id: str, file_id: str) -> Content:
        """Raises NotFound."""
        file = await self._file(owner, container_id, file_id)
        return Content(file["path"].rpartition("/")[2], file["bytes"], file["digest"])

    def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Raises ContentMissing, Unavailable."""
        return self._blobs.read(digest, begin, end)

    async def delete_file(self, owner: Owner, container_id: str, file_id: str) -> Deleted:
        """Raises NotFound; InvalidRequest: the container has expired."""
        async with self._database.write() as connection:
            container = await states.use(connection, owner, container_id, param="container_id")
            paths = [one["path"] for one in await states.files_of(connection, container) if one["id"] == file_id]
            if not paths:
                raise _no_such_file(container_id, file_id)
            digests = await states.take_out(connection, container, paths)
        await self._blobs.release(digests)
        return Deleted("container.file.deleted", file_id)

    async def expire(self) -> None:
        """Files of those that have expired are gone. Raises Unavailable."""
        while True:
            async with self._database.write() as connection:
                digests = await states.expire(connection, most=_SOME)
            if not digests:
                return
            await self._blobs.release(digests)

    async def _file(self, owner: Owner, container_id: str, file_id: str) -> File:
        """Raises NotFound."""
        async with self._database.read() as connection:
            container = await states.find(connection, owner, container_id, param="container_id")
            query = sa.select(container_files).where(_in(container), container_files.c.id == file_id)
            found = (await connection.execute(query)).mappings().one_or_none()
        if found is None:
            raise _no_such_file(container_id, file_id)
        return found

    def _as_object(self, row: states.Container) -> Container:
        status: Literal["running", "expired"] = "expired" if states.is_expired(row) else "running"
        limits = [limit for limit, mb in _LIMITS.items() if mb == self._memory_mb]
        return Container(
            id=row["id"],
            name=row["name"],
            created_at=row["created_at"],
            last_active_at=row["last_active_at"],
            status=status,
            expires_after=Life(row["expires_after_minutes"]),
            memory_limit=limits[0] if limits else UNSET,
        )


def _in(container: states.Container) -> sa.ColumnElement[bool]:
    """Of an expired one none is, though its rows may still wait to be taken away."""
    inside = container_files.c.container_seq == container["seq"]
    return sa.false() if states.is_expired(container) else inside


def _file_object(container_id: str, file: File) -> ContainerFile:
    return ContainerFile(
        id=file["id"],
        container_id=container_id,
        created_at=file["created_at"],
        bytes=file["bytes"],
        path=FOLDER + file["path"],
        source=file["source"],
    )


def _no_such_file(container_id: str, file_id: str) -> NotFound:
    return NotFound(f"No file with id '{file_id}' found in container '{container_id}'.", param="file_id")
