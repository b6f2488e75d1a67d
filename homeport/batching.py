"""The part of the composition root that works on batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from homeport import clock
from homeport.control.batches import Batches
from homeport.control.image_references import ImageReferences
from homeport.control.owners import Owner
from homeport.errors import HomeportError
from homeport.gateway.accounts import Snapshot
from homeport.gateway.entra import PREFIX
from homeport.gateway.keyring import Principal
from homeport.gateway.limits import Limits
from homeport.gateway.pipeline import StraightLine
from homeport.gateway.routing import Router
from homeport.gateway.training_bills import TrainingBills
from homeport.gateway.widths import Widths
from homeport.jobs.batch import Expire, Sweep, Validate
from homeport.jobs.batch_chunk import Lines
from homeport.jobs.batch_files import Finalize
from homeport.jobs.batch_lines import Answerer, Answering, Callers
from homeport.jobs.worker import Handler
from homeport.settings import Settings
from homeport.store.blobs import Blobs
from homeport.store.database import Database
from homeport.store.queue import Queue

#: Chunks that a process has in hand: enough to keep a model busy while one comes to its end and the next begins.
CHUNKS = 4
#: Lines of a chunk that may be relied on to be there.
_LINES = 50


class Gateway(NamedTuple):
    """What answers whom nobody waits for. snapshot: of keys, the newest; raises Unavailable when it cannot be relied
    on. training_bills: what those who train cost. upstreams: by their names in the settings."""

    line: StraightLine
    router: Router
    limits: Limits
    snapshot: Callable[[], Snapshot]
    training_bills: TrainingBills
    upstreams: Mapping[str, Any] = {}

    def caller(self, key_id: str) -> Principal | None:
        """None: the key is gone. Raises Unavailable."""
        found = self.snapshot()
        return found.caller(key_id) if key_id.startswith(PREFIX) else found.by_id.get(key_id)

    def holds(self, owner: Owner) -> bool:
        """Whether a key that was good is so still."""
        try:
            found = self.caller(owner.key_id)
        except HomeportError:  # nobody can tell any more
            return False
        return found is not None and (found.expires_at is None or found.expires_at > clock.now())

    def callers(self, database: Database) -> Callers:
        return Callers(database, self.caller)


def handlers(
    settings: Settings,
    queue: Queue,
    blobs: Blobs,
    batches: Batches,
    gateway: Gateway,
    references: ImageReferences,
    responses: Answerer,
) -> Sequence[Handler]:
    """responses: what answers them."""
    callers = gateway.callers(queue.database)
    longest = settings.server.max_body_mb * 2**20
    chosen = settings.batches.lines_at_once
    at_once = max(CHUNKS, -(-chosen // _LINES)) if chosen is not None else CHUNKS
    router, widths = gateway.router, Widths(gateway.router, chosen)
    answering = Answering(gateway.line, callers, references, responses)
    return [
        Validate(batches, queue, blobs, router=router, callers=callers, limits=gateway.limits, longest=longest),
        Lines(batches, queue, blobs, answering=answering, widths=widths, longest=longest, at_once=at_once),
        Finalize(batches, queue, blobs, longest=longest),
        Expire(batches, queue, blobs),
        Sweep(batches, queue, blobs),
    ]
