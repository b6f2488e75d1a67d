"""The part of the composition root for assistants and responses: threads, runs, conversations, and where code runs."""

from collections.abc import Sequence

from homeport.api.conversations import Conversations as ConversationsOperations
from homeport.api.resources import Operation
from homeport.batching import Gateway
from homeport.control.conversations import Conversations
from homeport.control.files import Files
from homeport.control.response_items import ResponseItems
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
        self._run_events = Events(queue.database, run_events, runs)
        self._response_events = Events(queue.database, response_events, responses)

    def operations(self) -> Sequence[Operation]:
        database = self._queue.database
        largest = self._settings.server.max_body_mb * 2**20
        return [
            *ConversationsOperations(Conversations(database), ResponseItems(database), largest=largest).operations(),
        ]

    def handlers(self) -> Sequence[Handler]:
        return []

    def chores(self) -> Sequence[Chore]:
        return []

    async def open(self) -> None:
        """Once the tables are there."""

    def drain(self) -> None:
        """Whoever follows is let go, to come again elsewhere. From any thread."""

    async def close(self) -> None:
        """Once nobody works any more."""
