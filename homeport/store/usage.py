"""The log of usage: rows of the ledger on their way to the database.

`put()` is called on the hot path: it appends to a queue and returns. A thread writes the rows in batches, so the log
never blocks a request and never waits for the state's database; until a row is written its journal has it. Rows beyond
MOST_WAITING go on from the queue to disk (`spill.py` draws who has a row when), where there is room for millions; when
that is full, too, they stay, until the journal is full and nothing is admitted any more.

The oldest row goes first: the batch that is being written, then those on disk, then those in memory.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

import msgspec

from homeport import clock
from homeport.errors import Unavailable
from homeport.store.database import Database
from homeport.store.journal import Journal
from homeport.store.spill import Spill, SpillFull
from homeport.store.usage_row import UsageRow
from homeport.store.usage_rows import UsageRows

log = logging.getLogger("homeport.usage")

BATCH_SECONDS = 0.2
BATCH_ROWS = 500
#: Rows that wait in memory for a database that is away or slow. Some of the journal's slots are theirs, the rest is for
#: requests that run.
MOST_WAITING = 20_000
#: While the database cannot be reached it is asked this often.
AGAIN_SECONDS = 1.0
#: At the end, what waits is written for so long.
CLOSING_SECONDS = 4.0
#: Then the batch under way has a moment more. A database that hangs for longer is left behind with it.
ENDING_SECONDS = 1.0


class Unwritten(Protocol):
    """What is held for a row until the database has it. Both are called in the event loop."""

    def written(self) -> None:
        """The database has it."""
        ...

    def join(self, held: dict[Any, Any]) -> None:
        """It will be written together with others: be told as one with those of `held` that can be, so that this stays
        small. Whatever stays in it is told `written` once all of them are."""
        ...


class Waiting(msgspec.Struct, eq=False):
    """A row that waits. row: or what makes it, called in the thread: counting tokens takes its time."""

    slot: int
    row: UsageRow | Callable[[], UsageRow]
    unwritten: Unwritten | None = None

    def made(self) -> UsageRow:
        if not isinstance(self.row, UsageRow):
            self.row = self.row()
        return self.row


class UsageLog:
    def __init__(self, database: Callable[[], Database], journal: Journal, spill: Spill) -> None:
        """database: made in the thread, for its own event loop. spill: of this journal, and empty."""
        self._database = database
        self._journal = journal
        self._spill = spill
        self._waiting: deque[Waiting] = deque()
        #: The batch that is being written until the database has it. A row is added here before it leaves the queue.
        self._writing: Sequence[Waiting] = ()
        #: Segment of the spill -> what is held for its rows. Of the event loop alone.
        self._held: dict[int, dict[Any, Any]] = {}
        self._wake = threading.Event()
        self._pause = threading.Event()  # set when it is time to stop: no pause is longer than that
        self._stopping = False
        self._stop_at = float("inf")
        self._reachable = True
        self._spilling = False
        self._full = False
        self._thread = threading.Thread(target=self._write_until_stopped, name="usage-log", daemon=True)
        self._last_used: dict[str, int] = {}

    def start(self) -> None:
        """In the event loop that puts."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def put(self, slot: int, row: UsageRow | Callable[[], UsageRow], unwritten: Unwritten | None = None) -> None:
        """slot: of the journal, freed once the row is in the database or on disk."""
        self._waiting.append(Waiting(slot, row, unwritten))
        if not self._wake.is_set():
            self._wake.set()

    def find(self, request_id: str) -> UsageRow | None:
        """A row that still waits in memory."""
        for waiting in (*list(self._waiting), *self._writing):  # in the order in which they move
            if isinstance(waiting.row, UsageRow) and waiting.row.request_id == request_id:
                return waiting.row
        return None

    @property
    def waiting(self) -> int:
        """Rows that wait in memory for the database."""
        return len(self._waiting) + len(self._writing)

    @property
    def reachable(self) -> bool:
        """The database has taken the last rows that it was given."""
        return self._reachable

    @property
    def on_disk(self) -> bool:
        """Some rows wait there."""
        return self._spill.holds

    @property
    def bytes_on_disk(self) -> int:
        return self._spill.bytes

    def take_last_used(self) -> dict[str, int]:
        """Key id -> unix second of its last request, of the rows that were written since this was called before."""
        taken, self._last_used = self._last_used, {}
        return taken

    async def settled(self, seconds: float = 5.0) -> bool:
        """Everything that was put before is in the database; False when that took too long."""
        self._wake.set()
        for _ in range(int(seconds / 0.01)):
            if not self._behind:
                return True
            await asyncio.sleep(0.01)
        return False

    def close(self) -> bool:
        """Write what waits (5 seconds at most; the journal and the spill keep the rest) and stop. False: the thread has
        not, and goes on with the journal until the process ends."""
        self._stop_at = clock.monotonic() + CLOSING_SECONDS
        self._stopping = True
        self._pause.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=CLOSING_SECONDS + ENDING_SECONDS)
        if self._thread.is_alive():
            return False
        self._spill.close()
        return True

    @property
    def _behind(self) -> bool:
        """Some rows are not in the database yet. A row that moves on is for a moment in two of these, never in none."""
        return bool(self._waiting or self._spill.holds or self._writing)

    def _write_until_stopped(self) -> None:
        database = self._database()
        rows = UsageRows(database)
        with asyncio.Runner() as runner:
            while not (self._stopping and not self._behind):
                self._wake.wait()
                if not self._stopping:
                    self._pause.wait(BATCH_SECONDS)
                self._wake.clear()
                if not self._write_all(runner, rows):
                    break
            runner.run(rows.close())
            runner.run(database.close())

    def _write_all(self, runner: asyncio.Runner, rows: UsageRows) -> bool:
        """False: it is time to stop, and not everything could be written. What waits is in the journal or on disk."""
        while self._behind:
            if clock.monotonic() > self._stop_at:
                return False
            self._move_to_disk()
            if not self._write(runner, rows):
                if self._stopping:
                    return False
                self._pause.wait(AGAIN_SECONDS)
        return True

    def _write(self, runner: asyncio.Runner, rows: UsageRows) -> bool:
        """One batch, of the oldest rows. It leaves where it is only once it is in the database."""
        if not self._writing and self._spill.holds:
            return self._write_from_disk(runner, rows)
        if not self._writing:
            self._writing = [*islice(self._waiting, BATCH_ROWS)]
            for _ in self._writing:
                self._waiting.popleft()
        batch = self._writing
        if not self._try(runner, rows, [waiting.made() for waiting in batch]):
            return False
        told = [waiting.unwritten for waiting in batch if waiting.unwritten is not None]
        if told:
            self._in_loop(_written, told)
        self._writing = ()
        self._journal.free([waiting.slot for waiting in batch])
        return True

    def _write_from_disk(self, runner: asyncio.Runner, rows: UsageRows) -> bool:
        batch = self._spill.oldest(BATCH_ROWS)
        if batch and not self._try(runner, rows, batch):
            return False
        segment = self._spill.taken(len(batch))
        if segment is not None:
            self._in_loop(self._release, segment)
        if not self._spill.holds and self._spilling:
            self._spilling = False
            log.info("the rows of usage that waited on disk are in the database")
        return True

    def _try(self, runner: asyncio.Runner, rows: UsageRows, made: Sequence[UsageRow]) -> bool:
        error = runner.run(self._give(rows, made))
        if error is not None:
            if self._reachable:
                why = "the database cannot be reached" if isinstance(error, Unavailable) else type(error).__name__
                log.error("usage rows cannot be written (%s): the journal keeps them until they can", why)
            self._reachable = False
            return False
        self._reachable = True
        for row in made:
            self._last_used[row.key_id] = int(row.started_at)
        return True

    async def _give(self, rows: UsageRows, made: Sequence[UsageRow]) -> Exception | None:
        """A database that hangs takes its time to fail. Meanwhile more rows come."""
        async with asyncio.TaskGroup() as group:
            moving = group.create_task(self._keep_moving())
            try:
                await rows.write(made)
            except Exception as error:
                return error
            finally:
                moving.cancel()
        return None

    async def _keep_moving(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            self._move_to_disk()

    def _move_to_disk(self) -> None:
        """What is too much for memory. A row is safe there before its slot is free."""
        while len(self._waiting) > MOST_WAITING:
            batch = [*islice(self._waiting, BATCH_ROWS)]
            try:
                segment = self._spill.append([waiting.made() for waiting in batch])
            except SpillFull:
                if not self._full:
                    log.error("no more rows of usage can wait on disk: when the journal is full, requests are refused")
                self._full = True
                return
            if not self._spilling:
                log.warning("the database is behind: rows of usage wait on disk until it is not")
            self._spilling, self._full = True, False
            told = [waiting.unwritten for waiting in batch if waiting.unwritten is not None]
            if told:
                self._in_loop(self._hold, segment, told)
            for _ in batch:
                self._waiting.popleft()
            self._journal.free([waiting.slot for waiting in batch])

    def _in_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _hold(self, segment: int, unwritten: Iterable[Unwritten]) -> None:
        held = self._held.setdefault(segment, {})
        for one in unwritten:
            one.join(held)

    def _release(self, segment: int) -> None:
        _written(self._held.pop(segment, {}).values())


def _written(unwritten: Iterable[Unwritten]) -> None:
    for one in unwritten:
        one.written()
