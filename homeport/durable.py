"""The part of the composition root for what outlives a request: the queue, the worker, and what they work on.

It has one life: open() makes the tables' first rows (join() beside a process that has), watch() works until drain() and
drained(), close() lets go. Whatever is stored and whoever works on it is built here, and a kind of jobs joins by
standing among the handlers.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from homeport import assisting, batching, clock, ingesting
from homeport.api.batches import Batches as BatchesOperations
from homeport.api.chat_completions import ChatCompletions as ChatCompletionsOperations
from homeport.api.files import Files as FilesOperations
from homeport.api.multipart import Form
from homeport.api.resources import Operation
from homeport.api.uploads import Uploads as UploadsOperations
from homeport.backends.fetcher import Fetcher
from homeport.batching import Gateway
from homeport.control.batches import Batches
from homeport.control.chat_completions import ChatCompletions as StoredCompletions
from homeport.control.files import Files
from homeport.control.idempotency import Idempotency
from homeport.control.image_references import ImageReferences
from homeport.control.sessions import Sessions
from homeport.control.uploads import Uploads
from homeport.documents.reader import Reader
from homeport.errors import Unavailable
from homeport.gateway.endpoints import BATCHED
from homeport.jobs import housekeeping
from homeport.jobs.housekeeping import Chore
from homeport.jobs.worker import Event, Handler, Worker, check_lanes
from homeport.searching import Searching
from homeport.settings import Settings
from homeport.store import blobs
from homeport.store.chat_completions import ChatCompletions
from homeport.store.database import Database
from homeport.store.images import Images
from homeport.store.queue import Depth, Queue
from homeport.store.vector_store_usage import VectorStoreUsage
from homeport.tuning import Tuning
from homeport.wire.uploads import LARGEST_PART

#: Idempotency keys that are older than a day are forgotten this often.
IDEMPOTENCY_SECONDS = 600.0
#: Files and uploads that have expired are taken away this often; what killed processes left of files, that often.
EXPIRY_SECONDS = 30.0
SWEEP_SECONDS = 600.0
#: How much vector stores have is looked at this often: the last time in an hour is what stays of it.
USAGE_SECONDS = 600.0
#: How full the lanes are is asked for this often, for those who watch.
DEPTH_SECONDS = 5.0


class Durable:
    """lanes: that this process works on. depths: how full all lanes were a moment ago, where somebody wants to know."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        idempotency: Idempotency,
        sessions: Sessions,
        gateway: Gateway,
        fetcher: Fetcher,
        watched: bool = False,
    ) -> None:
        """gateway: what answers the lines of batches. fetcher: of pictures that requests give by URL. watched: somebody
        wants to know how full the lanes are.

        Raises SettingsError.
        """
        jobs = settings.jobs
        self.queue = Queue(database, lease_seconds=jobs.lease_seconds)
        self.blobs = blobs.chosen(settings, database)
        self.files = Files(self.blobs, settings.files)
        self.uploads = Uploads(self.blobs, self.files)
        self.references = ImageReferences(
            fetcher,
            self.files,
            self.blobs,
            largest=settings.images.max_file_mb * 2**20,
            most_fetched=settings.fetch.max_total_mb * 2**20,
        )
        self.images = Images(self.blobs, seconds=settings.images.url_minutes * 60)
        self.completions = ChatCompletions(database)
        self._stored_completions = StoredCompletions(database)
        self.batches = Batches(database, self.queue, {one.path for one in BATCHED})
        documents = settings.documents
        self._reader = Reader(seconds=documents.seconds, memory_mb=documents.memory_mb, at_once=documents.at_once)
        self._ingesting = ingesting.Ingesting(settings, self.queue, self.blobs, gateway, self._reader)
        self._searching = Searching(settings, database, self._ingesting.stores, gateway)
        self._tuning = Tuning(settings, self.queue, self.blobs, gateway)
        self._assisting = assisting.Assisting(
            settings,
            self.queue,
            self.blobs,
            gateway,
            files=self.files,
            stores=self._ingesting.stores,
            search=self._searching.rules,
            reader=self._reader,
        )
        self.response_line = self._assisting.response_line
        self._largest_file = settings.files.max_file_mb * 2**20
        self._chores = [
            Chore(self.queue, "idempotency.sweep", IDEMPOTENCY_SECONDS, idempotency.sweep),
            Chore(self.queue, "sessions.sweep", IDEMPOTENCY_SECONDS, sessions.sweep),
            Chore(self.queue, "files.expire", EXPIRY_SECONDS, self.files.expire),
            Chore(self.queue, "uploads.expire", EXPIRY_SECONDS, self.uploads.expire),
            Chore(self.queue, "images.expire", EXPIRY_SECONDS, self.images.expire),
            Chore(self.queue, "vector_stores.expire", EXPIRY_SECONDS, self._ingesting.stores.expire),
            Chore(self.queue, "vector_stores.usage", USAGE_SECONDS, VectorStoreUsage(database).look),
            Chore(self.queue, "blobs.sweep", SWEEP_SECONDS, self.blobs.sweep),
            *self._assisting.chores(),
        ]
        handlers: Sequence[Handler] = [
            *self._chores,
            *batching.handlers(
                settings, self.queue, self.blobs, self.batches, gateway, self.references, self.response_line
            ),
            *self._ingesting.handlers(),
            *self._tuning.handlers(),
            *self._assisting.handlers(),
        ]
        check_lanes(jobs.lanes, handlers)
        self.lanes = sorted(set(jobs.lanes or (one.lane for one in handlers)))
        self._worker: Worker | None = None
        if jobs.in_server:
            name = f"{socket.gethostname()}/{os.getpid()}"
            self._worker = Worker(self.queue, handlers, name=name, lanes=jobs.lanes, poll_seconds=jobs.poll_seconds)
        self._watched = watched
        self._patience = settings.server.notice_seconds + settings.server.drain_seconds
        self._drained_by: float | None = None
        self._empty = {one.lane: Depth(0, 0, 0.0) for one in handlers}
        self.depths: Mapping[str, Depth] = self._empty

    @property
    def counts(self) -> Counter[Event]:
        """What this process has done."""
        return self._worker.counts if self._worker is not None else Counter()

    def operations(self) -> Sequence[Operation]:
        """What projects do with what they own."""
        hint = "Larger files come by /v1/uploads, in parts."
        file = Form("file", largest=self._largest_file, staged=self.blobs.staged, hint=hint)
        part = Form("data", largest=LARGEST_PART, staged=self.blobs.staged)
        return [
            *FilesOperations(self.files, file).operations(),
            *UploadsOperations(self.uploads, part).operations(),
            *BatchesOperations(self.batches).operations(),
            *ChatCompletionsOperations(self._stored_completions).operations(),
            *self._ingesting.operations(),
            *self._searching.operations(),
            *self._tuning.operations(),
            *self._assisting.operations(),
        ]

    async def open(self) -> None:
        """Once the tables are there. Raises Unavailable."""
        await housekeeping.begin(self.queue, self._chores)
        await self.join()

    async def join(self) -> None:
        """As one of several processes, of which another has opened. Raises Unavailable."""
        await self.blobs.start()
        await self._searching.open()
        await self._tuning.open()
        await self._assisting.open()

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self._worker is not None:
                group.create_task(self._worker.run())
            if self._watched:
                group.create_task(self._watch_depths())
            group.create_task(self._assisting.watch())

    async def _watch_depths(self) -> None:
        while True:
            with suppress(Unavailable):
                self.depths = self._empty | await self.queue.depths()
            await clock.sleep(DEPTH_SECONDS)

    def drain(self) -> None:
        """No more jobs are begun, and those in hand come to a stop. From any thread, and from a handler of signals."""
        if self._drained_by is None:
            self._drained_by = clock.monotonic() + self._patience
        self._tuning.drain()
        self._assisting.drain()
        if self._worker is not None:
            self._worker.drain()

    async def drained(self) -> None:
        """Returns when they have, or had their time since drain(). What is left is handed back when watch() is
        cancelled."""
        self.drain()
        if self._worker is not None and self._drained_by is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._drained_by - clock.monotonic())):
                    await self._worker.drained()

    async def close(self) -> None:
        await self._tuning.close()
        await self._assisting.close()
        await self._reader.close()
        await self.blobs.close()
