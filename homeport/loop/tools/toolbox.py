"""The hosted tools of a run, or of a response: those that it asks for, with its stores and its container."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from homeport.control.container_work import ContainerWork
from homeport.control.owners import Owner
from homeport.control.tool_resources import Resources, code_files, stores
from homeport.control.vector_search import VectorSearch
from homeport.control.vector_stores import VectorStores
from homeport.errors import InvalidRequest
from homeport.loop.citations import number_of
from homeport.loop.tools import Hosted, code_interpreter, file_search
from homeport.loop.tools.code_interpreter import CodeInterpreter
from homeport.loop.tools.file_search import FileSearch, Options
from homeport.loop.tools.workplaces import Workplaces
from homeport.loop.turns import Ran, Searched
from homeport.store.database import Database
from homeport.store.tables import items, threads

Tool = Mapping[str, Any]


class Toolbox:
    def __init__(
        self,
        database: Database,
        *,
        stores: VectorStores,
        search: VectorSearch,
        work: ContainerWork,
        workplaces: Workplaces,
        context: Callable[[str, str], int | None] = lambda model, project: None,
    ) -> None:
        """context: tokens that a model takes which a project asks, where that is known."""
        self._database = database
        self._stores = stores
        self._search = search
        self._work = work
        self._workplaces = workplaces
        self._context = context

    def check(self, types: Sequence[str]) -> None:
        """Whether tools of these types are to be had. Raises InvalidRequest, which names the first that is not."""
        for at, one in enumerate(types):
            if one == "code_interpreter" and self._workplaces.reason:
                raise InvalidRequest(
                    self._workplaces.reason, param=f"tools[{at}].type", code="code_interpreter_unavailable"
                )

    def definitions(self, tools: Sequence[Tool]) -> list[dict[str, Any]]:
        """What models are told of tools of these types, before anything is looked for or made for them."""
        known = {"file_search": file_search.DEFINITION, "code_interpreter": code_interpreter.definition(())}
        return [known[tool["type"]] for tool in tools if tool["type"] in known]

    async def of_run(
        self,
        who: Owner,
        *,
        thread_seq: int,
        model: str,
        tools: Sequence[Tool],
        tool_resources: Resources | None,
        sources: Sequence[Searched | Ran] = (),
    ) -> list[Hosted]:
        """tools, tool_resources: as a run's row has them; those of its thread are looked at now. sources: what the run
        has found and made so far.

        Raises NotFound: the thread is gone; InvalidRequest: there is no room for its files.
        """
        query = sa.select(threads.c.tool_resources).where(threads.c.seq == thread_seq)
        said = sa.select(sa.func.count()).select_from(items).where(items.c.thread_seq == thread_seq)
        async with self._database.read() as connection:
            of_thread: Resources | None = await connection.scalar(query)
            number = max(await connection.scalar(said) or 0, _next(sources))
        made: list[Hosted] = []
        for tool in tools:
            if tool["type"] == "file_search":
                awaited = stores(of_thread)
                made.append(
                    FileSearch(
                        who,
                        self._search,
                        self._stores,
                        store_ids=[*stores(tool_resources), *awaited],
                        awaited=awaited,
                        model=model,
                        context=self._context(model, who.project),
                        options=Options.of_assistant(tool),
                        number=number,
                    )
                )
            elif tool["type"] == "code_interpreter":
                file_ids = [*code_files(tool_resources), *code_files(of_thread)]
                container_id = await self._work.of_thread(who, thread_seq, file_ids)
                made.append(await self._code_interpreter(who, container_id, model))
        return made

    async def of_response(
        self,
        who: Owner,
        *,
        model: str,
        tools: Sequence[Tool],
        container: str | None = None,
        sources: Sequence[Searched | Ran] = (),
    ) -> list[Hosted]:
        """tools: as responses have them. container: that code ran in before, in the conversation: where one is made for
        the response, that goes on, if it still lives. sources: as of_run.

        Raises NotFound, InvalidRequest: no such container or file, or it has expired.
        """
        made: list[Hosted] = []
        for at, tool in enumerate(tools):
            if tool["type"] == "file_search":
                made.append(
                    FileSearch(
                        who,
                        self._search,
                        self._stores,
                        store_ids=tool["vector_store_ids"],
                        model=model,
                        context=self._context(model, who.project),
                        options=Options.of_response(tool, f"tools[{at}]"),
                        number=_next(sources),
                    )
                )
            elif tool["type"] == "code_interpreter":
                wanted, param = tool["container"], f"tools[{at}].container"
                if isinstance(wanted, str):
                    await self._work.named(who, wanted, param)
                    container_id = wanted
                else:
                    file_ids = wanted.get("file_ids") or ()
                    container_id = await self._work.automatic(
                        who, file_ids, before=container, param=f"{param}.file_ids"
                    )
                made.append(await self._code_interpreter(who, container_id, model))
        return made

    async def _code_interpreter(self, who: Owner, container_id: str, model: str) -> Hosted:
        there = await self._work.there(who, container_id)
        context = self._context(model, who.project)
        return CodeInterpreter(who, self._workplaces, container_id, there=there, context=context)


def _next(sources: Sequence[Searched | Ran]) -> int:
    """A number for the markers of the next search, which none before has."""
    taken = [number_of(one.passages[0].marker) for one in sources if isinstance(one, Searched) and one.passages]
    return max(taken, default=-1) + 1
