"""The part of the composition root for assistants and responses: threads, runs, conversations, and where code runs."""

import asyncio
from collections.abc import Sequence

from homeport.api.resources import Operation
from homeport.batching import Gateway
from homeport.control.files import Files
from homeport.control.vector_search import VectorSearch
from homeport.control.vector_stores import VectorStores
from homeport.jobs.housekeeping import Chore
from homeport.jobs.worker import Handler
from homeport.settings import Settings
from homeport.store.blobs import Blobs
from homeport.store.events import Events
from homeport.store.queue import Queue
from homeport.store.tables import response_events, responses, run_events, runs


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
    ) -> None:
        """gateway: what answers each turn. stores, search: of vector stores."""
        self._settings = settings
        self._queue = queue
        self._blobs = blobs
        self._gateway = gateway
        self._files = files
        self._stores = stores
        self._search = search
        self._run_events = Events(queue, run_events, runs)
        self._response_events = Events(queue, response_events, responses)

    def operations(self) -> Sequence[Operation]:
        return []

    def handlers(self) -> Sequence[Handler]:
        return []

    def chores(self) -> Sequence[Chore]:
        return []

    async def open(self) -> None:
        """Once the tables are there."""

    async def watch(self) -> None:
        """In every process, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_events.run())
            group.create_task(self._response_events.run())

    def drain(self) -> None:
        """Whoever follows is let go, to come again elsewhere. From any thread."""
        self._run_events.drain()
        self._response_events.drain()

    async def close(self) -> None:
        """Once nobody works any more."""
