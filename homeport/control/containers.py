"""Containers as their owners see them, and as the tool that runs code in them does. What becomes of them is in
container_states.py."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Final, Literal, NamedTuple, get_args

import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import container_states as states
from homeport.control import pages
from homeport.control.container_states import File, Put
from homeport.control.files import Content, Files, add, shown_name
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

#: Of a project's file that code has made.
PURPOSE = "assistants_output"
#: Containers that are emptied in one transaction.
_SOME = 100
#: MB.
_LIMITS: Final[dict[MemoryLimit, int]] = {one: int(one[:-1]) * 1024 for one in get_args(MemoryLimit)}


class Running(NamedTuple):
    """A container in which code begins to run. executions: with this one. files: that are to be in its folder."""

    id: str
    executions: int
    files: Sequence[File]


class Made(NamedTuple):
    """A file that code has made, or changed. path: below the folder."""

    path: str
    staged: Staged


class Kept(NamedTuple):
    """file_id: of the project's file that it became; empty where it became none."""

    path: str
    file_id: str
    container_file_id: str
    bytes: int


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
        with _files_stay("file_ids"):
            async with self._database.write() as connection:
                made = await states.create(connection, owner, name=asked.name, minutes=minutes)
                await self._copy_in(connection, owner, made, asked.file_ids or (), "file_ids")
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
            taken = {file["path"] for file in await states.files_of(connection, container)}
            wanted = Put(states.free_name(name, taken), staged.digest, staged.bytes, "user")
            (made,), _ = await states.put(connection, container, [wanted], most_bytes=self._most_bytes)
        return _file_object(container_id, made)

    async def copy_file(self, owner: Owner, container_id: str, file_id: str) -> ContainerFile:
        """A file of the project's; where it is in there, it stays. Raises NotFound, InvalidRequest, Unavailable."""
        with _files_stay("file_id"):
            async with self._database.write() as connection:
                container = await states.use(connection, owner, container_id, param="container_id")
                await self._copy_in(connection, owner, container, [file_id], "file_id")
                there = await states.files_of(connection, container)
        return _file_object(container_id, next(file for file in there if file["file_id"] == file_id))

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

    # What the tool does.

    async def of_thread(self, owner: Owner, thread_seq: int, file_ids: Sequence[str]) -> str:
        """The id of a thread's container, with these files in it, as far as they are still there.

        Raises NotFound: the thread is gone; InvalidRequest: there is no room.
        """
        which = containers.c.thread_seq == thread_seq
        with _files_stay("thread_id"):
            async with self._database.write() as connection:
                query = sa.select(containers).where(which).with_for_update()
                found = (await connection.execute(query)).mappings().one_or_none()
                if found is None:
                    found = await states.create(connection, owner, thread_seq=thread_seq)
                await self._copy_in(connection, owner, found, file_ids, None)
        container_id: str = found["id"]
        return container_id

    async def automatic(self, owner: Owner, file_ids: Sequence[str], *, before: str | None, param: str) -> str:
        """The id of the container that was used before, where it still lives, else of a new one, with these files in
        it. Raises NotFound: no such file; InvalidRequest: there is no room."""
        with _files_stay(param):
            async with self._database.write() as connection:
                found = None
                if before is not None:
                    query = sa.select(containers).where(states.this(owner, before), states.shown(), states.usable())
                    found = (await connection.execute(query.with_for_update())).mappings().one_or_none()
                if found is None:
                    found = await states.create(connection, owner)
                await self._copy_in(connection, owner, found, file_ids, param)
        container_id: str = found["id"]
        return container_id

    async def named(self, owner: Owner, container_id: str, param: str) -> None:
        """It is being used. Raises NotFound; InvalidRequest: it has expired."""
        async with self._database.write() as connection:
            await states.use(connection, owner, container_id, param=param)

    async def names(self, owner: Owner, container_id: str) -> Sequence[str]:
        """Paths of its files, below the folder."""
        query = (
            sa.select(container_files.c.path)
            .join(containers, containers.c.seq == container_files.c.container_seq)
            .where(states.this(owner, container_id))
            .order_by(container_files.c.seq)
        )
        async with self._database.read() as connection:
            return (await connection.scalars(query)).all()

    async def begin(self, owner: Owner, container_id: str) -> Running:
        """Code begins to run. Raises NotFound; InvalidRequest: it has expired."""
        async with self._database.write() as connection:
            found = await states.use(connection, owner, container_id, param="container", runs=1)
            there = await states.files_of(connection, found)
        return Running(container_id, found["executions"], there)

    async def keep(
        self, owner: Owner, container_id: str, made: Sequence[Made], gone: Collection[str]
    ) -> Sequence[Kept]:
        """What code has made and taken away. Of a thread's, what it made becomes files of the project.

        Raises InvalidRequest: there is no room; NotFound: the container is gone; StorageFull, Unavailable.
        """
        async with self._blobs.keep(*[one.staged for one in made]) as connection:
            container = await states.use(connection, owner, container_id, param="container")
            file_ids = [""] * len(made)
            if container["thread_seq"] is not None and made:
                await self._project_files.admit(connection, owner, sum(one.staged.bytes for one in made))
                for at, one in enumerate(made):
                    name = shown_name(one.path.rpartition("/")[2])
                    file = await add(connection, owner.project, name, PURPOSE, one.staged, life=None)
                    file_ids[at] = file.id
            digests = await states.take_out(connection, container, gone)
            wanted = [
                Put(one.path, one.staged.digest, one.staged.bytes, "assistant", file_id or None)
                for one, file_id in zip(made, file_ids, strict=True)
            ]
            rows, replaced = await states.put(connection, container, wanted, most_bytes=self._most_bytes)
        await self._blobs.release([*digests, *replaced])
        return [Kept(row["path"], row["file_id"] or "", row["id"], row["bytes"]) for row in rows]

    async def living(self, container_ids: Collection[str]) -> set[str]:
        """Those of them that there are, and that have not expired. Raises Unavailable."""
        query = sa.select(containers.c.id).where(containers.c.id.in_(container_ids), states.usable())
        async with self._database.read() as connection:
            return {*(await connection.scalars(query)).all()}

    async def _copy_in(
        self,
        connection: AsyncConnection,
        owner: Owner,
        container: states.Container,
        file_ids: Sequence[str],
        param: str | None,
    ) -> None:
        if file_ids:
            await states.copy_in(connection, owner, container, file_ids, param=param, most_bytes=self._most_bytes)

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


class _files_stay:
    """The bytes of a file may go while somebody copies it, and so may a thread: the database says so."""

    def __init__(self, param: str) -> None:
        self._param = param

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, IntegrityError):
            raise NotFound(f"What '{self._param}' names was deleted meanwhile.", param=self._param) from None


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
