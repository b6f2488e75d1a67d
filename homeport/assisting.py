"""The part of the composition root for assistants and responses: threads, runs, conversations, and where code runs."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from homeport.api.assistants import Assistants as AssistantsOperations
from homeport.api.containers import Containers as ContainersOperations
from homeport.api.conversations import Conversations as ConversationsOperations
from homeport.api.input_tokens import InputTokens as InputTokensOperations
from homeport.api.multipart import Form
from homeport.api.resources import Operation
from homeport.api.response_line import ResponseLine
from homeport.api.responses import Responses as ResponsesOperations
from homeport.api.run_streams import RunStreams
from homeport.api.runs import Runs as RunsOperations
from homeport.api.threads import Threads as ThreadsOperations
from homeport.backends.text import LONGEST_DEFAULT_CONTEXT
from homeport.batching import Gateway
from homeport.control.assistants import Assistants
from homeport.control.container_work import ContainerWork
from homeport.control.containers import Containers
from homeport.control.conversations import Conversations
from homeport.control.files import Files
from homeport.control.item_files import ItemFiles
from homeport.control.messages import Messages
from homeport.control.owners import Owner
from homeport.control.response_items import ResponseItems
from homeport.control.responses import Responses
from homeport.control.run_watching import RunWatching
from homeport.control.runs import Rooms, Runs
from homeport.control.threads import Threads
from homeport.control.tool_resources import ToolResources
from homeport.control.vector_search import VectorSearch
from homeport.control.vector_stores import VectorStores
from homeport.documents.reader import Reader
from homeport.errors import HomeportError, InvalidRequest
from homeport.gateway.endpoints import CHAT
from homeport.gateway.routing import Target
from homeport.jobs.batch_lines import Callers, wait
from homeport.jobs.housekeeping import Chore
from homeport.jobs.response import Respond
from homeport.jobs.run import RunJobs
from homeport.jobs.worker import Handler
from homeport.loop.asking import Asking
from homeport.loop.input_tokens import InputTokens
from homeport.loop.loop import Loop
from homeport.loop.responding import Responding
from homeport.loop.tools.toolbox import Toolbox
from homeport.loop.tools.workplaces import Workplaces
from homeport.sandbox.warm import WarmCells
from homeport.settings import Settings
from homeport.store.blobs import Blobs
from homeport.store.events import Events
from homeport.store.queue import Queue
from homeport.store.tables import response_events, responses, run_events, runs

#: Runs that should have ended, and whose workers do not say so, are ended this often.
EXPIRY_SECONDS = 10.0
#: What has been told long ago is forgotten this often.
FORGET_SECONDS = 600.0
#: Containers that have expired are emptied this often.
CONTAINERS_SECONDS = 60.0


class Assisting:
    """Assistants, threads and runs; responses and conversations; containers."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        blobs: Blobs,
        gateway: Gateway,
        *,
        files: Files,
        stores: VectorStores,
        search: VectorSearch,
        reader: Reader,
    ) -> None:
        """gateway: what answers each turn. stores, search: of vector stores. reader: of documents; whoever has made it
        closes it."""
        self._settings = settings
        self._queue = queue
        self._blobs = blobs
        self._gateway = gateway
        self._files = files
        self._stores = stores
        self._search = search
        self._containers = Containers(blobs, files, settings.code_interpreter)
        self._cells = WarmCells(settings.code_interpreter, data=settings.data)
        work = ContainerWork(blobs, files, settings.code_interpreter)
        self._workplaces = Workplaces(work, self._cells, blobs, settings.code_interpreter, settings.data / "containers")
        self._toolbox = Toolbox(
            queue.database,
            stores=stores,
            search=search,
            work=work,
            workplaces=self._workplaces,
            context=Contexts(settings, gateway).of,
        )
        self._run_events = Events(queue, run_events, runs)
        self._response_events = Events(queue, response_events, responses)
        self._models = Models(gateway, gateway.callers(queue.database))
        self._resources = ToolResources(stores)
        self._messages = Messages(queue.database, self._resources)
        self._threads = Threads(queue, self._messages, self._resources)
        self._assistants = Assistants(queue.database, self._models, self._resources, check_hosted=self._toolbox.check)
        self._item_files = ItemFiles(files, blobs, reader)
        self._loop = Loop(
            Asking(gateway.line, gateway.callers(queue.database)), max_turns=settings.assistants.max_turns
        )
        self._responses = Responses(queue, self._response_events, gateway.holds)
        self._responding = Responding(self._loop, self._toolbox, self._item_files)
        watchers = gateway.line.ledger.watchers
        self.response_line = ResponseLine(self._responses, self._responding, self._models, watchers, patience=wait)
        rooms = Rooms(self._assistants, self._threads, self._messages, self._resources, self._models)
        self._runs = Runs(queue, self._run_events, rooms, run_seconds=settings.assistants.run_seconds)
        self._run_watching = RunWatching(queue.database, self._run_events, gateway.holds)

    def operations(self) -> Sequence[Operation]:
        streams, poll_ms = RunStreams(self._run_watching), self._settings.assistants.poll_after_ms
        database = self._queue.database
        largest = self._settings.server.max_body_mb * 2**20
        return [
            *AssistantsOperations(self._assistants).operations(),
            # Before those of threads: `/v1/threads/runs` is no thread.
            *RunsOperations(self._runs, streams, poll_ms=poll_ms).operations(),
            *ThreadsOperations(self._threads, self._messages).operations(),
            *ConversationsOperations(Conversations(database), ResponseItems(database), largest=largest).operations(),
            *self._input_tokens(largest).operations(),
            *ResponsesOperations(self._responses).operations(),
            *ContainersOperations(self._containers, self._container_file()).operations(),
        ]

    def _input_tokens(self, largest: int) -> InputTokensOperations:
        counting = InputTokens(self._responses, self._responding, self._toolbox)
        return InputTokensOperations(counting, self._models.first, largest=largest)

    def _container_file(self) -> Form:
        largest = self._settings.files.max_file_mb * 2**20
        return Form("file", largest=largest, staged=self._blobs.staged, optional=True)

    def handlers(self) -> Sequence[Handler]:
        chosen = self._settings.assistants
        return [
            RunJobs(self._queue, self._run_events, self._loop, self._toolbox, self._item_files, at_once=chosen.at_once),
            Respond(
                self._queue,
                self._response_events,
                self._responding,
                at_once=chosen.at_once,
                seconds=chosen.run_seconds,
            ),
        ]

    def chores(self) -> Sequence[Chore]:
        return [
            Chore(self._queue, "runs.expire", EXPIRY_SECONDS, self._runs.expire),
            Chore(self._queue, "events.forget", FORGET_SECONDS, self._forget_told),
            Chore(self._queue, "containers.expire", CONTAINERS_SECONDS, self._containers.expire),
        ]

    async def _forget_told(self) -> None:
        seconds = self._settings.assistants.events_hours * 3600
        await self._run_watching.forget(seconds)
        await self._responses.forget_told(seconds)

    async def open(self) -> None:
        """Once the tables are there."""
        await self._cells.open()
        await self._workplaces.open()

    async def watch(self) -> None:
        """In every process, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_events.run())
            group.create_task(self._response_events.run())
            group.create_task(self._workplaces.watch())

    def drain(self) -> None:
        """Whoever follows is let go, to come again elsewhere. From any thread."""
        self._run_events.drain()
        self._response_events.drain()

    async def close(self) -> None:
        """Once nobody works any more."""
        await self._workplaces.close()
        await self._cells.close()


class Models:
    """Which models may answer in an assistant's name (control/assistants.py), and who may have them run
    (control/runs.py)."""

    def __init__(self, gateway: Gateway, callers: Callers) -> None:
        self._gateway = gateway
        self._callers = callers

    async def admit(self, owner: Owner, model: str) -> None:
        target = await self.first(owner, model)
        if target.local and not target.backend.can(CHAT.capability):
            raise InvalidRequest(
                f"The requested model '{model}' cannot be used with the Assistants API: it does not answer chats.",
                param="model",
                code="unsupported_model",
            )

    async def first(self, owner: Owner, model: str) -> Target:
        """What would answer, if it is well. Raises ModelNotFound, PermissionDenied, Unavailable."""
        principal = await self._callers.of(owner.key_id)
        principal.may_use(model)
        if model.startswith("ft:"):
            await self._gateway.router.look_for(model)
        targets = self._gateway.router.targets(model, principal.project)
        self._gateway.limits.check_tier(principal, model)
        return targets[0]

    async def admit_run(self, owner: Owner, model: str) -> None:
        (await self._callers.of(owner.key_id)).may(CHAT.scope)
        await self.admit(owner, model)


class Contexts:
    """How many tokens models take, as far as it is known without asking them."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._models = settings.models
        self._gateway = gateway

    def of(self, model: str, project: str) -> int | None:
        """The least of those that may answer; None: nobody knows. Models of this machine take
        LONGEST_DEFAULT_CONTEXT, unless the settings say otherwise."""
        with suppress(HomeportError):
            local = [one for one in self._gateway.router.targets(model, project) if one.local]
            return min((self._length(one.model) for one in local), default=None)
        return None

    def _length(self, name: str) -> int:
        model = self._models.get(name)
        return (model.context_length if model is not None else None) or LONGEST_DEFAULT_CONTEXT
