"""The part of the composition root for assistants and responses: threads, runs, conversations, and where code runs."""

from collections.abc import Sequence

from homeport.api.containers import Containers as ContainersOperations
from homeport.api.multipart import Form
from homeport.api.resources import Operation
from homeport.batching import Gateway
from homeport.control.containers import Containers
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

#: Containers that have expired are emptied this often.
EXPIRY_SECONDS = 60.0


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
        self._containers = Containers(blobs, files, settings.code_interpreter)
        self._run_events = Events(queue.database, run_events, runs)
        self._response_events = Events(queue.database, response_events, responses)

    def operations(self) -> Sequence[Operation]:
        largest = self._settings.files.max_file_mb * 2**20
        file = Form("file", largest=largest, staged=self._blobs.staged, optional=True)
        return [*ContainersOperations(self._containers, file).operations()]

    def handlers(self) -> Sequence[Handler]:
        return []

    def chores(self) -> Sequence[Chore]:
        return [Chore(self._queue, "containers.expire", EXPIRY_SECONDS, self._containers.expire)]

    async def open(self) -> None:
        """Once the tables are there."""

    def drain(self) -> None:
        """Whoever follows is let go, to come again elsewhere. From any thread."""

    async def close(self) -> None:
        """Once nobody works any more."""
