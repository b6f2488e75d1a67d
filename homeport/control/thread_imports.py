"""Threads that were exported elsewhere, taken into a project as they were: with their ids, times and order.

An id that somebody has already becomes another one, which is made of the project and of the old id: so whoever imports
the same file again finds what is there, and nothing is there twice. Each thread is one transaction.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.control import imported_ids, run_imports, run_states
from homeport.control.exported_threads import Exported, NotTaken, Number, oldest_first, without_nulls
from homeport.control.files import alive
from homeport.control.tool_resources import CODE, SEARCH
from homeport.errors import InvalidRequest
from homeport.store.database import Database
from homeport.store.tables import files, items, threads, vector_stores
from homeport.wire.chat import Metadata, check_metadata
from homeport.wire.threads import (
    Content,
    FileCitationAnnotation,
    ImageFileContent,
    IncompleteReason,
    TextContent,
)

#: Of a message that was exported while a run wrote it: nobody goes on with it.
_CUT: IncompleteReason = "run_failed"


class Taken(NamedTuple):
    """What became of a thread. made: it is new. messages, runs: how many are. renamed: old ids -> new ones. missing:
    files and vector stores that it names, and that the project does not have."""

    id: str
    made: bool
    messages: int
    runs: int
    renamed: Mapping[str, str]
    missing: Collection[str]


class _Thread(Struct):
    id: str | None = None
    created_at: Number | None = None
    metadata: Metadata | None = None
    tool_resources: dict[str, Any] | None = None


class _Incomplete(Struct):
    reason: IncompleteReason


class _Message(Struct):
    """file_ids: as they were before there were attachments."""

    role: Literal["user", "assistant"]
    content: list[Content]
    id: str | None = None
    created_at: Number | None = None
    status: Literal["in_progress", "incomplete", "completed"] = "completed"
    incomplete_details: _Incomplete | None = None
    completed_at: Number | None = None
    incomplete_at: Number | None = None
    assistant_id: str | None = None
    run_id: str | None = None
    attachments: list[dict[str, Any]] | None = None
    file_ids: list[str] | None = None
    metadata: Metadata | None = None


class _Read(NamedTuple):
    """A thread whose form is right. messages, runs: the oldest first. identity: what its new id would be made of."""

    thread: _Thread
    messages: list[_Message]
    runs: list[run_imports.Read]
    identity: str


class _DryRun(Exception):
    """Nothing of it is to stay."""


class ThreadImports:
    def __init__(self, database: Database, project: str) -> None:
        """project: its id."""
        self._database: Final = database
        self._project: Final = project

    async def take(self, exported: Exported, *, dry: bool = False) -> Taken:
        """dry: what would become of it. Raises NotTaken, Unavailable."""
        read = _read(exported)
        taken: Taken | None = None
        try:
            async with self._database.write() as connection:
                taken = await self._take(connection, read)
                if dry:
                    raise _DryRun
        except _DryRun:
            pass
        assert taken is not None
        return taken

    async def _take(self, connection: AsyncConnection, read: _Read) -> Taken:
        renamed: dict[str, str] = {}
        row, thread_id = await self._thread(connection, read)
        resources, missing = await self._resources(connection, read.thread.tool_resources)
        if read.thread.id not in (None, thread_id):
            renamed[str(read.thread.id)] = thread_id
        made = row is None
        if row is None:
            values = {
                "id": thread_id,
                "project_id": self._project,
                "created_at": _created(read),
                "metadata": read.thread.metadata,
                "tool_resources": resources,
            }
            row = (await connection.execute(sa.insert(threads).values(values).returning(threads))).mappings().one()
        run_ids = await run_imports.named(connection, self._project, row["seq"], read.runs)
        renamed |= {old: new for old, new in run_ids.items() if new != old}
        new = await self._new_messages(connection, read, row, renamed)
        if new and not made and await run_states.active(connection, row["seq"]) is not None:
            raise NotTaken(f"a run has {thread_id}: wait until it has ended, and import the rest again")
        if new:
            await connection.execute(sa.insert(items), new)
        runs = await run_imports.add(connection, self._project, row, read.runs, run_ids=run_ids, message_ids=renamed)
        missing |= await self._missing(connection, files, _named(read.messages))
        return Taken(thread_id, made, len(new), runs, renamed, missing)

    async def _thread(self, connection: AsyncConnection, read: _Read) -> tuple[sa.RowMapping | None, str]:
        """The one that there is; and the id that it has, or shall have."""
        other = imported_ids.made("thread_", self._project, read.identity)
        own = imported_ids.good(read.thread.id)
        query = sa.select(threads).where(threads.c.id.in_([other, own or other])).with_for_update(key_share=True)
        found = {row["id"]: row for row in (await connection.execute(query)).mappings()}
        if other in found:
            return found[other], other
        if own is None or not own.startswith("thread_"):
            return None, other
        if own not in found:
            return None, own
        return (found[own], own) if found[own]["project_id"] == self._project else (None, other)

    async def _new_messages(
        self, connection: AsyncConnection, read: _Read, thread: sa.RowMapping, renamed: dict[str, str]
    ) -> list[dict[str, Any]]:
        """Rows of those that come behind the last that is there."""
        owns = [imported_ids.good(one.id) for one in read.messages]
        others = [
            imported_ids.made("msg_", self._project, f"{read.identity} {one.id or at}")
            for at, one in enumerate(read.messages)
        ]
        wanted = [*others, *(own for own in owns if own is not None)]
        taken = await imported_ids.whose(connection, items.c.id, items.c.thread_seq, wanted)
        here = {item_id for item_id, thread_seq in taken.items() if thread_seq == thread["seq"]}
        known = [at for at, pair in enumerate(zip(owns, others, strict=True)) if here.intersection(pair)]
        if not known and read.messages:
            await _check_newer(connection, read, thread)
        rows = []
        for at in range(known[-1] + 1 if known else 0, len(read.messages)):
            message, own = read.messages[at], owns[at]
            item_id = others[at] if own is None or own in taken else own
            if message.id not in (None, item_id):
                renamed[str(message.id)] = item_id
            taken[item_id] = thread["seq"]  # a file may have an id twice
            rows.append(
                {
                    **self._row(message, thread),
                    "id": item_id,
                    "run_id": renamed.get(message.run_id or "", message.run_id),
                }
            )
        return rows

    def _row(self, message: _Message, thread: sa.RowMapping) -> dict[str, Any]:
        status, details = message.status, message.incomplete_details
        reason = details.reason if details is not None else None
        if status == "in_progress":
            status, reason = "incomplete", _CUT
        moment = message.created_at if message.created_at is not None else thread["created_at"]
        return {
            "project_id": self._project,
            "thread_seq": thread["seq"],
            "output": False,
            "created_at": moment,
            "type": "message",
            "role": message.role,
            "status": status,
            "content": msgspec.to_builtins(message.content),
            "assistant_id": message.assistant_id,
            "attachments": _attachments(message),
            "metadata": message.metadata,
            "completed_at": message.completed_at,
            "incomplete_at": message.incomplete_at,
            "incomplete_reason": reason,
        }

    async def _resources(
        self, connection: AsyncConnection, exported: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, set[str]]:
        """What there is of it, or a run of the thread would fail; and what there is not."""
        kept: dict[str, Any] = {}
        missing: set[str] = set()
        for tool, name, table in ((CODE, "file_ids", files), (SEARCH, "vector_store_ids", vector_stores)):
            told = (exported or {}).get(tool)
            wanted = told.get(name) if isinstance(told, dict) else None
            if isinstance(wanted, list):
                texts = [one for one in wanted if isinstance(one, str)]
                gone = await self._missing(connection, table, texts)
                kept[tool] = {name: [one for one in texts if one not in gone]}
                missing |= gone
        return kept or None, missing

    async def _missing(self, connection: AsyncConnection, table: sa.Table, wanted: Collection[str]) -> set[str]:
        there = alive() if table is files else table.c.deleted_at.is_(None)
        found: set[str] = set()
        for some in imported_ids.blocks(wanted):
            query = sa.select(table.c.id).where(table.c.id.in_(some), table.c.project_id == self._project, there)
            found.update(await connection.scalars(query))
        return {*wanted} - found


async def _check_newer(connection: AsyncConnection, read: _Read, thread: sa.RowMapping) -> None:
    """None of the messages is there: they can only come behind those that are. Raises NotTaken."""
    last = await connection.scalar(
        sa.select(sa.func.max(items.c.created_at)).where(items.c.thread_seq == thread["seq"])
    )
    if last is not None and any(one.created_at is not None and one.created_at < last for one in read.messages):
        raise NotTaken(
            f"some of its messages are older than those that {thread['id']} has here, and nobody can tell where they "
            "belong: put all messages of a thread into one object, or delete the thread and import it whole"
        )


def _read(exported: Exported) -> _Read:
    """Raises NotTaken."""
    try:
        thread = msgspec.convert(without_nulls(exported.thread), _Thread)
        check_metadata(thread.metadata)
    except (msgspec.ValidationError, InvalidRequest) as error:
        raise NotTaken(f"the thread: {error}") from None
    messages = [_message(one, at) for at, one in enumerate(oldest_first(exported.messages), 1)]
    runs = run_imports.read(exported)
    if thread.id is not None:
        return _Read(thread, messages, runs, thread.id)
    dumped = msgspec.json.encode([exported.thread, exported.messages])
    return _Read(thread, messages, runs, hashlib.sha256(dumped).hexdigest())


def _message(dumped: dict[str, Any], number: int) -> _Message:
    """number: from the oldest. Raises NotTaken."""
    name = ascii(dumped["id"]) if dumped.get("id") is not None else f"message {number}"
    content = dumped.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if isinstance(parts, list):
        parts = [_part(one) for one in parts]
    try:
        message = msgspec.convert({**without_nulls(dumped), "content": parts}, _Message)
        check_metadata(message.metadata)
    except (msgspec.ValidationError, InvalidRequest) as error:
        raise NotTaken(f"{name}: {error}") from None
    for told in (message.assistant_id, message.run_id):
        if told is not None and imported_ids.good(told) is None:
            raise NotTaken(f"{name}: {told[:40]!r} is no id")
    return message


def _part(part: Any) -> Any:
    """With what the objects of threads have, and short dumps leave out."""
    if not isinstance(part, dict):
        return part
    inner = part.get(str(part.get("type")))
    if isinstance(inner, str) and part.get("type") == "text":
        return {"type": "text", "text": {"value": inner, "annotations": []}}
    if isinstance(inner, dict):
        whole: dict[str, Any] = {"annotations": []} if part.get("type") == "text" else {}
        return {**part, str(part["type"]): {**whole, **without_nulls(inner)}}
    return part


def _created(read: _Read) -> int:
    moments = [one.created_at for one in read.messages if one.created_at is not None]
    return read.thread.created_at or min(moments, default=int(clock.now()))


def _attachments(message: _Message) -> list[dict[str, Any]] | None:
    if message.attachments is not None:
        return message.attachments
    tools = [{"type": "file_search"}, {"type": "code_interpreter"}]
    return [{"file_id": one, "tools": tools} for one in message.file_ids or ()] or None


def _named(messages: Sequence[_Message]) -> set[str]:
    """The files."""
    return {one for message in messages for one in _files_of(message)}


def _files_of(message: _Message) -> Iterator[str]:
    for attachment in _attachments(message) or ():
        if isinstance(attachment.get("file_id"), str):
            yield attachment["file_id"]
    for part in message.content:
        if isinstance(part, ImageFileContent):
            yield part.image_file.file_id
        elif isinstance(part, TextContent):
            for one in part.text.annotations:
                yield (one.file_citation if isinstance(one, FileCitationAnnotation) else one.file_path).file_id
