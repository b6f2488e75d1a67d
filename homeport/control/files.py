"""Files: what may be uploaded and how much of it, and the rows. Their bytes are in store/blobs.py.

uploaded -> there -> deleted, or expired     at once nobody sees it; its bytes go within a minute, unless something
                                             else refers to them
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.control import jsonl, pages
from homeport.control import vector_store_generations as generations
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.errors import InvalidRequest, NotFound
from homeport.settings import Files as FilesSettings
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged
from homeport.store.tables import container_files, containers, files, projects, upload_parts, uploads
from homeport.wire.fields import Deleted, Page
from homeport.wire.files import CreateFileRequest, FileExpirationAfter, OpenAIFile

LARGEST_BATCH_FILE = 200 * 2**20
#: Seconds that a batch's file lives, unless it is said otherwise.
BATCH_LIFE = 30 * 86_400
LONGEST_NAME = 255
#: Of files of bytes that came without a name; the SDKs call them so.
UNNAMED = "upload"
#: Purposes of JSON Lines -> the API that OpenAI's message names.
_LINES = {"batch": "Batch", "fine-tune": "Fine-Tuning", "evals": "Evals"}
#: What an object has, in its order: with ten thousand of them it counts that each is made at once.
_SHOWN = [files.c[name] for name in OpenAIFile.__struct_fields__ if name != "object"]
#: Rows that are taken away in one transaction.
_SOME = 500


class Content(NamedTuple):
    """What is to be downloaded. digest: of its bytes."""

    filename: str
    bytes: int
    digest: str


class Files:
    def __init__(self, blobs: Blobs, settings: FilesSettings) -> None:
        self._blobs: Final = blobs
        self._database: Final = blobs.database
        self._most_bytes = settings.max_project_gb * 2**30
        self._download_assistants = settings.download_assistants

    async def create(self, owner: Owner, asked: CreateFileRequest, filename: str | None, staged: Staged) -> OpenAIFile:
        """Raises InvalidRequest, StorageFull, Unavailable."""
        name = shown_name(filename)
        check_kind(name, asked.purpose, staged.bytes)
        await self.check_content(staged, asked.purpose)
        async with self._blobs.keep(staged) as connection:
            await self.admit(connection, owner, staged.bytes)
            return await add(
                connection, owner.project, name, asked.purpose, staged, life=life_of(asked.purpose, asked.expires_after)
            )

    async def check_content(self, staged: Staged, purpose: str) -> None:
        """Raises InvalidRequest, which names the line."""
        if purpose in jsonl.SHAPES:
            async with aclosing(staged.read()) as pieces:
                await jsonl.check(pieces, purpose)

    async def admit(self, connection: AsyncConnection, owner: Owner, more: int) -> None:
        """Whether the project may keep so many bytes more. Nobody else adds to it until the transaction ends.

        Raises InvalidRequest.
        """
        lock = sa.select(projects.c.id).where(projects.c.id == owner.project).with_for_update(key_share=True)
        await connection.execute(lock)
        kept = sa.select(sa.func.coalesce(sa.func.sum(files.c.bytes), 0)).where(files.c.project_id == owner.project)
        on_the_way = (
            sa.select(sa.func.coalesce(sa.func.sum(upload_parts.c.bytes), 0))
            .join(uploads, uploads.c.id == upload_parts.c.upload_id)
            .where(uploads.c.project_id == owner.project, uploads.c.status == "pending")
        )
        in_containers = (
            sa.select(sa.func.coalesce(sa.func.sum(container_files.c.bytes), 0))
            .join(containers, containers.c.seq == container_files.c.container_seq)
            .where(containers.c.project_id == owner.project, container_files.c.file_id.is_(None))
        )
        sums = [await connection.scalar(one) for one in (kept, on_the_way, in_containers)]
        taken = sum(int(one or 0) for one in sums)
        if taken + more > self._most_bytes:
            raise InvalidRequest(
                f"The project's files may have {self._most_bytes} bytes in total: {taken} are taken, and {more} more "
                "do not fit. Delete files that are not needed any more.",
                code="storage_limit_exceeded",
            )

    async def list(self, owner: Owner, window: Window, purpose: str | None) -> Page[OpenAIFile]:
        """Raises InvalidRequest: no such place in the list."""
        query = sa.select(*_SHOWN).where(alive())
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        async with self._database.read() as connection:
            found = await pages.page(
                connection, query, window, seq=files.c.seq, id=files.c.id, within=files.c.project_id == owner.project
            )
        shown: Sequence[Any] = found.rows
        return Page.of([OpenAIFile(*row) for row in shown], has_more=found.has_more)

    async def retrieve(self, owner: Owner, file_id: str) -> OpenAIFile:
        """Raises NotFound."""
        return as_object(await self._find(owner, file_id))

    async def content(self, owner: Owner, file_id: str) -> Content:
        """Raises NotFound; InvalidRequest: this purpose is not given out."""
        row = await self._find(owner, file_id)
        if row.purpose == "assistants" and not self._download_assistants:
            raise InvalidRequest("Not allowed to download files of purpose: assistants")
        return Content(row.filename, row.bytes, row.digest)

    async def find(self, owner: Owner, file_id: str, *, param: str) -> Content:
        """For the house itself, whatever its purpose. param: where its id was named. Raises NotFound."""
        async with self._database.read() as connection:
            row = await find(connection, owner, file_id, param=param)
        return Content(row.filename, row.bytes, row.digest)

    def read(self, content: Content, begin: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes from `begin` up to and without `end`. Raises ContentMissing, Unavailable."""
        return self._blobs.read(content.digest, begin, end)

    async def delete(self, owner: Owner, file_id: str) -> Deleted:
        """Vector stores have it no longer. Whoever else works with it has its bytes by a reference of their own.

        Raises NotFound.
        """
        which = sa.and_(_this(owner, file_id), alive())
        async with self._database.write() as connection:
            await generations.raise_of_files(connection, which)
            digest = await connection.scalar(sa.delete(files).where(which).returning(files.c.digest))
        if digest is None:
            raise no_such_file(file_id)
        await self._blobs.release([digest])
        return Deleted("file", file_id)

    async def expire(self) -> None:
        """Take away what has expired. Raises Unavailable."""
        while digests := await self._expire_some():
            await self._blobs.release(digests)

    async def _expire_some(self) -> Sequence[str]:
        expired = files.c.expires_at <= int(clock.now())
        async with self._database.read() as connection:
            found = (await connection.scalars(sa.select(files.c.seq).where(expired).limit(_SOME))).all()
        if not found:
            return []
        which = files.c.seq.in_(found)
        async with self._database.write() as connection:
            await generations.raise_of_files(connection, which)
            return (await connection.scalars(sa.delete(files).where(which).returning(files.c.digest))).all()

    async def _find(self, owner: Owner, file_id: str) -> "sa.Row[Any]":
        async with self._database.read() as connection:
            return await find(connection, owner, file_id)


async def find(connection: AsyncConnection, owner: Owner, file_id: str, *, param: str = "id") -> "sa.Row[Any]":
    """Raises NotFound: there is none, it has expired, or it is another project's."""
    row = (await connection.execute(sa.select(files).where(_this(owner, file_id), alive()))).one_or_none()
    if row is None:
        raise no_such_file(file_id, param=param)
    return row


async def add(
    connection: AsyncConnection, project: str, filename: str, purpose: str, staged: Staged, *, life: int | None
) -> OpenAIFile:
    """In a transaction of Blobs.keep. life: seconds until it expires; None: never."""
    now = int(clock.now())
    file = OpenAIFile(
        id=ids.file(),
        bytes=staged.bytes,
        created_at=now,
        filename=filename,
        purpose=purpose,
        status="processed",
        expires_at=None if life is None else now + life,
        status_details=None,
    )
    columns = msgspec.structs.asdict(file)
    del columns["object"]
    await connection.execute(files.insert().values(project_id=project, digest=staged.digest, **columns))
    return file


def as_object(row: "sa.Row[Any]") -> OpenAIFile:
    return OpenAIFile(
        id=row.id,
        bytes=row.bytes,
        created_at=row.created_at,
        filename=row.filename,
        purpose=row.purpose,
        status=row.status,
        expires_at=row.expires_at,
        status_details=row.status_details,
    )


def no_such_file(file_id: str, *, param: str = "id") -> NotFound:
    return NotFound(f"No such File object: {file_id}", param=param)


def shown_name(filename: str | None) -> str:
    """A client's name for a file, as it may be shown: without folders and control characters. Raises InvalidRequest."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(" " if one.isspace() else one for one in last if one.isprintable() or one.isspace()).strip()
    if name in ("", ".", ".."):
        return UNNAMED
    if len(name) > LONGEST_NAME:
        raise InvalidRequest(
            f"Invalid 'filename': string too long. Expected a string with maximum length {LONGEST_NAME}, but got a "
            f"string with length {len(name)} instead.",
            param="filename",
            code="string_above_max_length",
        )
    return name


def check_kind(filename: str, purpose: str, size: int) -> None:
    """What can be said before the content is there. Raises InvalidRequest."""
    api = _LINES.get(purpose)
    if api is not None and not filename.lower().endswith(".jsonl"):
        raise InvalidRequest(f"Invalid file format for {api} API. Must be .jsonl")
    if purpose == "batch" and size > LARGEST_BATCH_FILE:
        raise InvalidRequest(
            f"The file has {size} bytes. Files of purpose 'batch' may have {LARGEST_BATCH_FILE} bytes at most: make "
            "several batches of it.",
            param="file",
            code="file_too_large",
        )


def life_of(purpose: str, asked: FileExpirationAfter | None) -> int | None:
    """Seconds."""
    if asked is not None:
        return asked.seconds
    return BATCH_LIFE if purpose == "batch" else None


def _this(owner: Owner, file_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(files.c.id == file_id, files.c.project_id == owner.project)


def alive() -> sa.ColumnElement[bool]:
    return sa.or_(files.c.expires_at.is_(None), files.c.expires_at > int(clock.now()))
