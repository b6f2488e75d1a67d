"""What becomes of containers and of the files in them: these functions alone change their rows, each in its caller's
transaction.

    made --- code runs, files come and go ---> unused for as long as it lives: expired ---> forgotten a month later

One of a thread lives as long as its thread, and goes with it; the Containers API does not show it. Of an expired one
nothing is left but its row. What is in `container_files` is what its code finds in `/mnt/data`, on whatever machine it
runs next; the folder there is a copy of it.
"""

from collections.abc import Collection, Sequence
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control.files import alive, no_such_file
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest, NotFound
from homeport.store.tables import container_files, containers, files
from homeport.wire.containers import LIFE

#: Of one container.
MOST_FILES = 1000
#: Seconds after which the row of one that has expired goes.
FORGOTTEN = 30 * 86_400
#: Of one that nobody has named.
UNNAMED = "auto"
#: Bytes of a name, which is a file's in a folder.
_LONGEST_NAME = 200

Container = sa.RowMapping
File = sa.RowMapping
_containers: Final = containers.c
_files: Final = container_files.c


class Put(NamedTuple):
    """A file that is to be in a container. digest: of its bytes, which somebody else's row refers to until the
    transaction ends."""

    path: str
    digest: str
    bytes: int
    source: Literal["user", "assistant"]
    file_id: str | None = None


def usable() -> sa.ColumnElement[bool]:
    """It has not expired."""
    until = _containers.last_active_at + 60 * _containers.expires_after_minutes
    return sa.or_(_containers.thread_seq.is_not(None), until > int(clock.now()))


def is_expired(container: Container) -> bool:
    until: int = container["last_active_at"] + 60 * container["expires_after_minutes"]
    return container["thread_seq"] is None and until <= int(clock.now())


def this(owner: Owner, container_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_containers.id == container_id, _containers.project_id == owner.project)


def shown() -> sa.ColumnElement[bool]:
    """By the Containers API."""
    return _containers.thread_seq.is_(None)


async def find(connection: AsyncConnection, owner: Owner, container_id: str, *, param: str) -> Container:
    """One that the API shows. Raises NotFound."""
    query = sa.select(containers).where(this(owner, container_id), shown())
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise no_such_container(container_id, param)
    return found


async def use(connection: AsyncConnection, owner: Owner, container_id: str, *, param: str, runs: int = 0) -> Container:
    """It is active now. The caller has its row from now on. runs: so often code begins to run in it.

    Raises NotFound; InvalidRequest: it has expired.
    """
    used = (
        sa.update(containers)
        .where(this(owner, container_id), usable())
        .values(last_active_at=int(clock.now()), executions=_containers.executions + runs)
        .returning(*_containers)
    )
    found = (await connection.execute(used)).mappings().one_or_none()
    if found is None:
        await find(connection, owner, container_id, param=param)
        raise expired(container_id, param)
    return found


async def create(
    connection: AsyncConnection,
    owner: Owner,
    *,
    name: str = UNNAMED,
    minutes: int = LIFE,
    thread_seq: int | None = None,
) -> Container:
    now = int(clock.now())
    row = {
        "id": ids.container(),
        "project_id": owner.project,
        "thread_seq": thread_seq,
        "name": name,
        "created_at": now,
        "last_active_at": now,
        "expires_after_minutes": minutes,
        "executions": 0,
    }
    made = sa.insert(containers).values(row).returning(*_containers)
    return (await connection.execute(made)).mappings().one()


async def delete(connection: AsyncConnection, owner: Owner, container_id: str) -> Sequence[str] | None:
    """Digests of its files, which nobody refers to any more for it; None: there is none."""
    which = this(owner, container_id), shown()
    seq = await connection.scalar(sa.select(_containers.seq).where(*which).with_for_update())
    if seq is None:
        return None
    digests = await _empty(connection, [seq])
    await connection.execute(sa.delete(containers).where(_containers.seq == seq))
    return digests


async def expire(connection: AsyncConnection, *, most: int) -> Sequence[str]:
    """Files of containers that have expired are gone, and rows of those that did long ago. most: containers at once.

    Digests of the files.
    """
    forgotten = _containers.last_active_at + 60 * _containers.expires_after_minutes <= int(clock.now()) - FORGOTTEN
    await connection.execute(sa.delete(containers).where(shown(), forgotten))
    full = sa.select(_files.seq).where(_files.container_seq == _containers.seq).exists()
    query = sa.select(_containers.seq).where(sa.not_(usable()), full).order_by(_containers.seq).limit(most)
    return await _empty(connection, (await connection.scalars(query.with_for_update())).all())


async def _empty(connection: AsyncConnection, seqs: Collection[int]) -> Sequence[str]:
    gone = sa.delete(container_files).where(_files.container_seq.in_(seqs)).returning(_files.digest)
    return (await connection.scalars(gone)).all()


async def files_of(connection: AsyncConnection, container: Container) -> Sequence[File]:
    query = sa.select(container_files).where(_files.container_seq == container["seq"]).order_by(_files.seq)
    return (await connection.execute(query)).mappings().all()


async def put(
    connection: AsyncConnection, container: Container, wanted: Sequence[Put], *, most_bytes: int
) -> tuple[list[File], list[str]]:
    """Files into a container that is used, each in the place of what had its path. Their rows, and the digests of what
    they took the place of.

    most_bytes: of all its files. Raises InvalidRequest: there is no room.
    """
    paths = [one.path for one in wanted]
    of_it = _files.container_seq == container["seq"]
    gone = sa.delete(container_files).where(of_it, _files.path.in_(paths)).returning(*_files)
    replaced = {row["path"]: row for row in (await connection.execute(gone)).mappings()}
    sums = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_files.bytes), 0)).where(of_it)
    count, taken = (await connection.execute(sums)).one()
    if count + len(wanted) > MOST_FILES or int(taken) + sum(one.bytes for one in wanted) > most_bytes:
        raise InvalidRequest(
            f"A container may have {MOST_FILES} files and {most_bytes} bytes, and '{container['id']}' would have more. "
            "Delete files in it, or use another.",
            code="container_full",
        )
    made: list[File] = []
    for one in wanted:
        row = {
            "id": ids.container_file(),
            "container_seq": container["seq"],
            "created_at": int(clock.now()),
            **one._asdict(),
        }
        if one.path in replaced:
            before = replaced[one.path]
            row["before_id"] = before["before_id"] or (before["file_id"] if before["source"] == "user" else None)
        inserted = sa.insert(container_files).values(row).returning(*_files)
        made.append((await connection.execute(inserted)).mappings().one())
    return made, [row["digest"] for row in replaced.values()]


async def copy_in(
    connection: AsyncConnection,
    owner: Owner,
    container: Container,
    file_ids: Sequence[str],
    *,
    param: str | None,
    most_bytes: int,
) -> list[File]:
    """Files of the project into a container that is used, under names of their own; those that are in it, or were
    before code changed them, stay as they are. param: that they were named in; None: those that are not there any more
    are left out.

    Raises NotFound, InvalidRequest.
    """
    there = await files_of(connection, container)
    known = {file[name] for file in there for name in ("file_id", "before_id")}
    wanted = [one for one in dict.fromkeys(file_ids) if one not in known]
    query = sa.select(files).where(files.c.id.in_(wanted), files.c.project_id == owner.project, alive())
    held = await connection.execute(query.order_by(files.c.seq).with_for_update(read=True, key_share=True))
    found = {row.id: row for row in held}
    taken = {file["path"] for file in there}
    puts = []
    for file_id in wanted:
        row = found.get(file_id)
        if row is None:
            if param is not None:
                raise no_such_file(file_id, param=param)
            continue
        path = free_name(row.filename, taken)
        taken.add(path)
        puts.append(Put(path, row.digest, row.bytes, "user", file_id))
    made, _ = await put(connection, container, puts, most_bytes=most_bytes)
    return made


async def take_out(connection: AsyncConnection, container: Container, paths: Collection[str]) -> Sequence[str]:
    """Digests of the files that were there."""
    which = _files.container_seq == container["seq"], _files.path.in_(paths)
    gone = sa.delete(container_files).where(*which).returning(_files.digest)
    return (await connection.scalars(gone)).all()


def free_name(filename: str, taken: Collection[str]) -> str:
    """A name in the folder that nobody has, as near to the file's own as can be: `data.csv`, `data-2.csv`."""
    stem, dot, suffix = filename.rpartition(".")
    if not stem or len(suffix.encode()) > 20:
        stem, dot, suffix = filename, "", ""
    stem = stem.encode()[: _LONGEST_NAME - len(suffix.encode()) - 10].decode(errors="ignore")
    name, number = f"{stem}{dot}{suffix}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{suffix}"
    return name


def no_such_container(container_id: str, param: str) -> NotFound:
    return NotFound(f"Container with id '{container_id}' not found.", param=param)


def expired(container_id: str, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"Container '{container_id}' has expired, and its files are gone. Make a new one.",
        param=param,
        code="container_expired",
    )


class files_stay:
    """The bytes of a file may go while somebody copies it, and so may a thread: the database says so."""

    def __init__(self, param: str) -> None:
        self._param = param

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, IntegrityError):
            raise NotFound(f"What '{self._param}' names was deleted meanwhile.", param=self._param) from None
