"""Renews the leases of the jobs in hand, from a thread with an event loop and a database of its own: a main loop that
is blocked must not lose them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from homeport import clock
from homeport.errors import Unavailable
from homeport.store.queue import Beat, Job, Queue

log = logging.getLogger("homeport.jobs")

#: At the end, for what is under way. A database that hangs for longer is left behind with the thread.
_ENDING_SECONDS = 5.0


@dataclass(slots=True)
class Lease:
    """until: by `clock.monotonic`; nobody else has the job before. The heartbeat's thread moves it on."""

    job: Job
    until: float


class Heartbeat:
    """Beats while the block runs: each third of a lease all are renewed, and in between it is only looked which jobs
    are to end."""

    def __init__(
        self,
        queue: Queue,
        leases: Callable[[], Sequence[Lease]],
        heard: Callable[[Beat], None],
        *,
        look_seconds: float,
    ) -> None:
        """leases: those in hand, asked for in the thread. heard: called in the loop of the block."""
        self._queue = queue
        self._leases = leases
        self._heard = heard
        self._third = queue.lease_seconds / 3
        self._every = min(look_seconds, self._third)
        self._ending = asyncio.Event()  # of the thread's loop
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> None:
        self._main = asyncio.get_running_loop()
        self._thread.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # the thread has ended already, and said why
            self._loop.call_soon_threadsafe(self._ending.set)
        await asyncio.to_thread(self._thread.join, _ENDING_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._beat_until_ended())

    async def _beat_until_ended(self) -> None:
        queue = self._queue.another()
        try:
            while not await self._ended():
                leases = self._leases()
                if not leases:
                    continue
                try:
                    async with asyncio.timeout(self._third):
                        await self._beat(queue, leases)
                except (Unavailable, TimeoutError):
                    pass  # the leases hold for a while yet: it is tried again in a moment
                except Exception:
                    log.exception("leases were not renewed")
        finally:
            await queue.database.close()

    async def _ended(self) -> bool:
        """Waits until it is time to look again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every):
                await self._ending.wait()
        return self._ending.is_set()

    async def _beat(self, queue: Queue, leases: Sequence[Lease]) -> None:
        jobs = [lease.job for lease in leases]
        began = clock.monotonic()
        if min(lease.until for lease in leases) - began > 2 * self._third:
            beat = await queue.look(jobs)
        else:
            beat = await queue.beat(jobs)
            for lease in leases:
                if lease.job.id not in beat.lost:
                    lease.until = began + queue.lease_seconds
        if beat.lost or beat.cancelled:
            with suppress(RuntimeError):  # the main loop has ended, and left this thread behind
                self._main.call_soon_threadsafe(self._heard, beat)
