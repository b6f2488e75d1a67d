"""Containers as the tool sees that runs code in them (loop/tools/code_interpreter.py)."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from homeport.control import container_states as states
from homeport.control.container_states import File, Put, files_stay
from homeport.control.files import Files, add, shown_name
from homeport.control.owners import Owner
from homeport.settings import CodeInterpreter
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.store.tables import container_files, containers

#: Of a project's file that code has made.
PURPOSE = "assistants_output"


class Running(NamedTuple):
    """A container in which code begins to run. executions: with this one. files: that are to be in its folder."""

    executions: int
    files: Sequence[File]


class Made(NamedTuple):
    """A file that code has made, or changed. path: below the folder."""

    path: str
    staged: Staged


class Kept(NamedTuple):
    """A file in a container. file_id: of the project's file that it is; empty where it is none."""

    path: str
    file_id: str
    container_file_id: str
    bytes: int


class ContainerWork:
    def __init__(self, blobs: Blobs, files: Files, settings: CodeInterpreter) -> None:
        self._blobs: Final = blobs
        self._database: Final = blobs.database
        self._project_files: Final = files
        self._most_bytes = settings.disk_mb * 2**20

    async def of_thread(self, owner: Owner, thread_seq: int, file_ids: Sequence[str]) -> str:
        """The id of a thread's container, with these files in it, as far as they are still there.

        Raises NotFound: the thread is gone; InvalidRequest: there is no room.
        """
        which = containers.c.thread_seq == thread_seq
        with files_stay("thread_id"):
            async with self._database.write() as connection:
                query = sa.select(containers).where(which).with_for_update()
                found = (await connection.execute(query)).mappings().one_or_none()
                if found is None:
                    found = await states.create(connection, owner, thread_seq=thread_seq)
                await states.copy_in(connection, owner, found, file_ids, param=None, most_bytes=self._most_bytes)
        container_id: str = found["id"]
        return container_id

    async def automatic(self, owner: Owner, file_ids: Sequence[str], *, before: str | None, param: str) -> str:
        """The id of the container that was used before, where it still lives, else of a new one, with these files in
        it. Raises NotFound: no such file; InvalidRequest: there is no room."""
        with files_stay(param):
            async with self._database.write() as connection:
                found = None
                if before is not None:
                    query = sa.select(containers).where(states.this(owner, before), states.shown(), states.usable())
                    found = (await connection.execute(query.with_for_update())).mappings().one_or_none()
                if found is None:
                    found = await states.create(connection, owner)
                await states.copy_in(connection, owner, found, file_ids, param=param, most_bytes=self._most_bytes)
        container_id: str = found["id"]
        return container_id

    async def named(self, owner: Owner, container_id: str, param: str) -> None:
        """It is being used. Raises NotFound; InvalidRequest: it has expired."""
        async with self._database.write() as connection:
            await states.use(connection, owner, container_id, param=param)

    async def there(self, owner: Owner, container_id: str) -> Sequence[Kept]:
        """Its files."""
        query = (
            sa.select(container_files)
            .join(containers, containers.c.seq == container_files.c.container_seq)
            .where(states.this(owner, container_id))
            .order_by(container_files.c.seq)
        )
        async with self._database.read() as connection:
            return [_kept(row) for row in (await connection.execute(query)).mappings()]

    async def begin(self, owner: Owner, container_id: str) -> Running:
        """Code begins to run. Raises NotFound; InvalidRequest: it has expired."""
        async with self._database.write() as connection:
            found = await states.use(connection, owner, container_id, param="container", runs=1)
            there = await states.files_of(connection, found)
        return Running(found["executions"], there)

    async def keep(
        self, owner: Owner, container_id: str, made: Sequence[Made], gone: Collection[str]
    ) -> Sequence[Kept]:
        """What code has made and taken away. Of a thread's, what it made becomes files of the project.

        Raises InvalidRequest: there is no room; NotFound: the container is gone; StorageFull, Unavailable.
        """
        async with self._blobs.keep(*[one.staged for one in made]) as connection:
            container = await states.use(connection, owner, container_id, param="container")
            file_ids = [""] * len(made)
            if made:
                await self._project_files.admit(connection, owner, sum(one.staged.bytes for one in made))
            if container["thread_seq"] is not None:
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
        return [_kept(row) for row in rows]

    async def living(self, container_ids: Collection[str]) -> set[str]:
        """Those of them that there are, and that have not expired. Raises Unavailable."""
        query = sa.select(containers.c.id).where(containers.c.id.in_(container_ids), states.usable())
        async with self._database.read() as connection:
            return {*(await connection.scalars(query)).all()}


def _kept(row: File) -> Kept:
    return Kept(row["path"], row["file_id"] or "", row["id"], row["bytes"])
