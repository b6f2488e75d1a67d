"""The part of the composition root for vector stores: who owns them, and how files get into them."""

from collections.abc import Sequence

from homeport.api.resources import Operation
from homeport.api.vector_stores import VectorStores as VectorStoresOperations
from homeport.batching import Gateway
from homeport.control.vector_store_batches import VectorStoreBatches
from homeport.control.vector_store_files import VectorStoreFiles
from homeport.control.vector_stores import VectorStores
from homeport.documents.reader import Reader
from homeport.jobs.embedding import Embedder
from homeport.jobs.ingestion import Ingestion, Sweep
from homeport.jobs.worker import Handler
from homeport.settings import Settings
from homeport.store.blobs import Blobs
from homeport.store.queue import Queue


class Ingesting:
    def __init__(self, settings: Settings, queue: Queue, blobs: Blobs, gateway: Gateway, reader: Reader) -> None:
        """gateway: what makes vectors. reader: of documents; whoever has made it closes it."""
        self._queue = queue
        self._blobs = blobs
        self._reader = reader
        self._embedder = Embedder(gateway.line, gateway.callers(queue.database))
        self.stores = VectorStores(queue.database, queue, model=settings.vector_stores.embedding_model)

    def operations(self) -> Sequence[Operation]:
        files = VectorStoreFiles(self._queue.database, self._queue)
        batches = VectorStoreBatches(self._queue.database, self._queue)
        return VectorStoresOperations(self.stores, files, batches).operations()

    def handlers(self) -> Sequence[Handler]:
        return [Ingestion(self._queue, self._blobs, self._reader, self._embedder), Sweep(self._queue)]
