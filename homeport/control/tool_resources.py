"""What the hosted tools of an assistant, or of a thread, may use: files that code sees, and a vector store.

A row has `{"code_interpreter": {"file_ids": [...]}, "file_search": {"vector_store_ids": [...]}}`, or what there is of
it. Files and stores may be deleted afterwards: whoever uses them looks whether they are there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.control import vector_store_states
from homeport.control.files import alive, no_such_file
from homeport.control.owners import Owner
from homeport.control.vector_stores import VectorStores
from homeport.errors import InvalidRequest, NotFound
from homeport.store.tables import files
from homeport.wire.assistants import MOST_CODE_FILES, MOST_STORE_FILES, NewStore, OtherToolResources
from homeport.wire.assistants import ToolResources as Asked
from homeport.wire.threads import Attachment, CodeInterpreterAttachment, FileSearchAttachment
from homeport.wire.vector_stores import CreateVectorStoreRequest, ExpiresAfter

CODE, SEARCH = "code_interpreter", "file_search"
#: A store that is made with a thread, or for what is attached to its messages, lives so long after it was used last.
THREAD_STORE_DAYS = 7
_CODE_FILES = "tool_resources.code_interpreter.file_ids"
_STORES = "tool_resources.file_search.vector_store_ids"
_NEW_FILES = "tool_resources.file_search.vector_stores[0].file_ids"
#: Files that are looked for in one statement.
_SOME = 1000

Resources = Mapping[str, Any]


class Named(NamedTuple):
    """A file that a request names. param: where. purposes: that it may have; None: any."""

    file_id: str
    param: str
    purposes: Sequence[str] | None = None


def code_files(resources: Resources | None) -> list[str]:
    return list((resources or {}).get(CODE, {}).get("file_ids", ()))


def stores(resources: Resources | None) -> list[str]:
    return list((resources or {}).get(SEARCH, {}).get("vector_store_ids", ()))


class ToolResources:
    def __init__(self, vector_stores: VectorStores) -> None:
        self._stores = vector_stores

    async def add(
        self, connection: AsyncConnection, owner: Owner, asked: Asked | None, *, days: int | None = None
    ) -> Resources | None:
        """Of something new, in the caller's transaction. days: that a store which is made for it lives after it was
        used last; None: for ever. Afterwards call `told`.

        Raises NotFound, InvalidRequest.
        """
        if asked is None:
            return None
        made: dict[str, Any] = {}
        if asked.code_interpreter is not None:
            made[CODE] = await _code(connection, owner, asked.code_interpreter.file_ids)
        if asked.file_search is not None:
            found = await _search(connection, owner, asked.file_search.vector_store_ids)
            for new in asked.file_search.vector_stores or ():
                await check_files(connection, owner, [Named(one, _NEW_FILES) for one in new.file_ids or ()])
                found["vector_store_ids"] = [await self._made(connection, owner, new, days)]
            made[SEARCH] = found
        return made

    async def changed(
        self, connection: AsyncConnection, owner: Owner, before: Resources | None, asked: OtherToolResources | None
    ) -> Resources | None:
        """Raises NotFound, InvalidRequest."""
        if asked is None:
            return None
        changed = dict(before or {})
        if asked.code_interpreter is not None:
            changed[CODE] = await _code(connection, owner, asked.code_interpreter.file_ids)
        if asked.file_search is not None:
            changed[SEARCH] = await _search(connection, owner, asked.file_search.vector_store_ids)
        return changed

    async def attached(
        self, connection: AsyncConnection, owner: Owner, before: Resources | None, attachments: Sequence[Attachment]
    ) -> Resources | None:
        """Those of a thread that the caller has locked, after files were attached to its messages. Afterwards call
        `told`.

        Raises NotFound, InvalidRequest.
        """
        seen = _ids(attachments, CodeInterpreterAttachment)
        searched = _ids(attachments, FileSearchAttachment)
        after = dict(before or {})
        if seen:
            file_ids = list(dict.fromkeys([*code_files(before), *seen]))
            if len(file_ids) > MOST_CODE_FILES:
                raise InvalidRequest(
                    f"Code of a thread may see {MOST_CODE_FILES} files, and this one's would see {len(file_ids)}. Take "
                    f"some out of the thread's '{_CODE_FILES}'.",
                    param="attachments",
                    code="array_above_max_length",
                )
            after[CODE] = {"file_ids": file_ids}
        if len(searched) > MOST_STORE_FILES:
            raise InvalidRequest(
                f"A vector store may have {MOST_STORE_FILES} files, and {len(searched)} are attached.",
                param="attachments",
                code="array_above_max_length",
            )
        if searched and stores(before):
            await self._put(connection, owner, stores(before)[0], searched)
        elif searched:
            store_id = await self._made(connection, owner, NewStore(file_ids=searched), THREAD_STORE_DAYS)
            after[SEARCH] = {"vector_store_ids": [store_id]}
        return after or None

    def told(self) -> None:
        """After the commit: there are files to be brought in."""
        self._stores.told()

    async def _made(self, connection: AsyncConnection, owner: Owner, new: NewStore, days: int | None) -> str:
        asked = CreateVectorStoreRequest(
            file_ids=new.file_ids,
            chunking_strategy=new.chunking_strategy,
            metadata=new.metadata,
            expires_after=None if days is None else ExpiresAfter(anchor="last_active_at", days=days),
        )
        store_id: str = (await self._stores.add(connection, owner, asked))["id"]
        return store_id

    async def _put(self, connection: AsyncConnection, owner: Owner, store_id: str, file_ids: Sequence[str]) -> None:
        try:
            await _check_store(connection, owner, store_id)
        except (NotFound, InvalidRequest):
            raise InvalidRequest(
                f"The vector store '{store_id}' of this thread has expired, or was deleted: nothing can be put into "
                f"it. Give the thread another one, or none, as its '{_STORES}'.",
                param="attachments",
            ) from None
        await self._stores.put(connection, owner, store_id, file_ids)


async def check_files(connection: AsyncConnection, owner: Owner, named: Iterable[Named]) -> None:
    """Whether they are the project's, and for what they are used for. Raises NotFound, InvalidRequest."""
    wanted = list(named)
    names = list({one.file_id for one in wanted})
    found: dict[str, str] = {}
    for at in range(0, len(names), _SOME):
        which = files.c.id.in_(names[at : at + _SOME]), files.c.project_id == owner.project, alive()
        query = sa.select(files.c.id, files.c.purpose).where(*which)
        found |= {row.id: row.purpose for row in await connection.execute(query)}
    for one in wanted:
        if one.file_id not in found:
            raise no_such_file(one.file_id, param=one.param)
        if one.purposes is not None and found[one.file_id] not in one.purposes:
            raise InvalidRequest(
                f"Invalid '{one.param}': the file '{one.file_id}' has the purpose '{found[one.file_id]}'. Upload it "
                f"with the purpose '{one.purposes[0]}'.",
                param=one.param,
                code="invalid_purpose",
            )


async def _code(connection: AsyncConnection, owner: Owner, file_ids: Sequence[str] | None) -> dict[str, Any]:
    kept = list(dict.fromkeys(file_ids or ()))
    await check_files(connection, owner, [Named(one, _CODE_FILES) for one in kept])
    return {"file_ids": kept}


async def _search(connection: AsyncConnection, owner: Owner, store_ids: Sequence[str] | None) -> dict[str, Any]:
    for store_id in store_ids or ():
        try:
            await _check_store(connection, owner, store_id)
        except (NotFound, InvalidRequest) as error:
            raise type(error)(error.message, param=_STORES) from None
    return {"vector_store_ids": list(store_ids or ())}


async def _check_store(connection: AsyncConnection, owner: Owner, store_id: str) -> None:
    """Raises NotFound; InvalidRequest: it has expired."""
    vector_store_states.check_usable(await vector_store_states.find(connection, owner, store_id))


def _ids(attachments: Iterable[Attachment], tool: type[CodeInterpreterAttachment | FileSearchAttachment]) -> list[str]:
    return list(dict.fromkeys([one.file_id for one in attachments if one.is_for(tool)]))
