"""Assistants as their owners see them: a model, what it is told, and its tools."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from msgspec import UNSET, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock, ids
from homeport.backends.local import response_format, tools
from homeport.control import pages
from homeport.control.owners import Owner
from homeport.control.pages import Window
from homeport.control.tool_resources import CODE, SEARCH, ToolResources
from homeport.errors import NotFound
from homeport.store.database import Database
from homeport.store.tables import assistants
from homeport.wire.assistants import (
    Assistant,
    CreateAssistantRequest,
    ModifyAssistantRequest,
    ResponseFormat,
    Tool,
    shown_format,
    shown_tools,
)
from homeport.wire.fields import Deleted, Page

#: Columns that are as a request says them.
_PLAIN = ("model", "name", "description", "instructions", "metadata", "temperature", "top_p", "reasoning_effort")
#: Of a hosted tool: what its resources are called, and the list in them.
_LISTS = {CODE: "file_ids", SEARCH: "vector_store_ids"}


class Models(Protocol):
    async def admit(self, owner: Owner, model: str) -> None:
        """Whether they may have it answer. Raises InvalidRequest: it answers no chats; InvalidKey, PermissionDenied,
        ModelNotFound, Unavailable."""
        ...


class Assistants:
    def __init__(
        self,
        database: Database,
        models: Models,
        resources: ToolResources,
        *,
        check_hosted: Callable[[Sequence[str]], None],
    ) -> None:
        """check_hosted: whether tools of these types are to be had here; raises InvalidRequest."""
        self._database = database
        self._models = models
        self._resources = resources
        self._check_hosted = check_hosted

    async def create(self, owner: Owner, asked: CreateAssistantRequest) -> Assistant:
        """Raises InvalidRequest, NotFound, and what `Models` do."""
        await self._models.admit(owner, asked.model)
        await self.check(asked.tools, asked.response_format)
        values = {name: getattr(asked, name) for name in _PLAIN}
        values |= {"tools": shown_tools(asked.tools or ()), "response_format": shown_format(asked.response_format)}
        async with self._database.write() as connection:
            values["tool_resources"] = await self._resources.add(connection, owner, asked.tool_resources)
            row = {
                "id": ids.assistant(),
                "project_id": owner.project,
                "created_at": int(clock.now()),
                **values,
            }
            made = sa.insert(assistants).values(row).returning(*assistants.c)
            shown = as_object((await connection.execute(made)).mappings().one())
        self._resources.told()
        return shown

    async def check(self, asked: Sequence[Tool] | None, form: ResponseFormat | None) -> None:
        """Whether such tools are to be had, and every schema is one. Raises InvalidRequest."""
        shown = shown_tools(asked or ())
        self._check_hosted([tool["type"] for tool in shown])
        await asyncio.to_thread(_check_schemas, shown, shown_format(form))

    async def list(self, owner: Owner, window: Window) -> Page[Assistant]:
        """Raises InvalidRequest: no such place in the list."""
        async with self._database.read() as connection:
            found = await pages.page(
                connection,
                sa.select(assistants),
                window,
                seq=assistants.c.seq,
                id=assistants.c.id,
                within=assistants.c.project_id == owner.project,
            )
        return Page.of([as_object(row._mapping) for row in found.rows], has_more=found.has_more)

    async def retrieve(self, owner: Owner, assistant_id: str) -> Assistant:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return as_object(await find(connection, owner, assistant_id))

    async def modify(self, owner: Owner, assistant_id: str, asked: ModifyAssistantRequest) -> Assistant:
        """Runs that there are go on with what it was. Raises NotFound, InvalidRequest, and what `Models` do."""
        said = {name: value for name, value in structs.asdict(asked).items() if value is not UNSET}
        if "model" in said:
            await self._models.admit(owner, said["model"])
        await self.check(said.get("tools"), said.get("response_format"))
        if "tools" in said:
            said["tools"] = shown_tools(said["tools"] or ())
        if "response_format" in said:
            said["response_format"] = shown_format(said["response_format"])
        this = assistants.c.id == assistant_id, assistants.c.project_id == owner.project
        async with self._database.write() as connection:
            row = await find(connection, owner, assistant_id, lock=True)
            if asked.tool_resources is not UNSET:
                before = row["tool_resources"]
                said["tool_resources"] = await self._resources.changed(connection, owner, before, asked.tool_resources)
            if said:
                changed = sa.update(assistants).where(*this).values(said).returning(*assistants.c)
                row = (await connection.execute(changed)).mappings().one()
        return as_object(row)

    async def delete(self, owner: Owner, assistant_id: str) -> Deleted:
        """Its threads, and what its runs have said there, stay. Raises NotFound."""
        this = assistants.c.id == assistant_id, assistants.c.project_id == owner.project
        async with self._database.write() as connection:
            if not (await connection.execute(sa.delete(assistants).where(*this))).rowcount:
                raise _no_such(assistant_id)
        return Deleted("assistant.deleted", assistant_id)


async def find(connection: AsyncConnection, owner: Owner, assistant_id: str, *, lock: bool = False) -> sa.RowMapping:
    """lock: nobody else changes it until the transaction ends. Raises NotFound."""
    query = sa.select(assistants).where(assistants.c.id == assistant_id, assistants.c.project_id == owner.project)
    if lock:
        query = query.with_for_update()
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise _no_such(assistant_id)
    return found


def as_object(row: sa.RowMapping) -> Assistant:
    resources = dict(row["tool_resources"] or {})
    for tool in row["tools"]:
        if tool["type"] in _LISTS:
            resources.setdefault(tool["type"], {_LISTS[tool["type"]]: []})
    return Assistant(
        **{name: row[name] for name in ("id", "created_at", "model", "name", "description", "instructions", "tools")},
        tool_resources=resources,
        metadata=row["metadata"] or {},
        temperature=1.0 if row["temperature"] is None else row["temperature"],
        top_p=1.0 if row["top_p"] is None else row["top_p"],
        reasoning_effort=row["reasoning_effort"],
        response_format=row["response_format"] or "auto",
    )


def _check_schemas(shown: Sequence[Mapping[str, Any]], form: Any) -> None:
    """Raises InvalidRequest."""
    for at, tool in enumerate(shown):
        if tool["type"] == "function":
            tools.checked(tool["function"], f"tools[{at}].function")
    if isinstance(form, Mapping):
        response_format.form_of(form)


def _no_such(assistant_id: str) -> NotFound:
    return NotFound(f"No assistant found with id '{assistant_id}'.", param="assistant_id")
