"""The log of usage: rows of the ledger on their way to the database.

`put()` is called on the hot path: it appends to a queue and returns. A thread writes the rows in batches, so the log
never blocks a request and never waits for the state's database; until a row is written its journal has it.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from homeport.errors import Unavailable
from homeport.store.database import Database
from homeport.store.journal import Journal
from homeport.store.usage_rows import UsageRow, UsageRows

log = logging.getLogger("homeport.usage")

BATCH_SECONDS = 0.2
BATCH_ROWS = 500
#: While the database cannot be reached it is asked this often.
AGAIN_SECONDS = 1.0


class Waiting:
    """A row that waits. row: or what makes it, called in the thread: counting tokens takes its time."""

    __slots__ = ("row", "slot", "written")

    def __init__(
        self, slot: int, row: UsageRow | Callable[[], UsageRow], written: Callable[[], None] | None = None
    ) -> None:
        self.slot = slot
        self.row = row
        self.written = written


class UsageLog:
    def __init__(self, database: Callable[[], Database], journal: Journal) -> None:
        """database: made in the thread, for its own event loop."""
        self._database = database
        self._journal = journal
        self._waiting: deque[Waiting] = deque()
        self._wake = threading.Event()
        self._pause = threading.Event()  # set when it is time to stop: no pause is longer than that
        self._stopping = False
        self._reachable = True
        self._thread = threading.Thread(target=self._write_until_stopped, name="usage-log", daemon=True)
        self._last_used: dict[str, int] = {}

    def start(self) -> None:
        """In the event loop that puts."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def put(self, slot: int, row: UsageRow | Callable[[], UsageRow], written: Callable[[], None] | None = None) -> None:
        """slot: of the journal, freed once the row is in the database; written: called then, in the event loop."""
        self._waiting.append(Waiting(slot, row, written))
        if not self._wake.is_set():
            self._wake.set()

    def find(self, request_id: str) -> UsageRow | None:
        """A row that still waits."""
        for waiting in list(self._waiting):
            if isinstance(waiting.row, UsageRow) and waiting.row.request_id == request_id:
                return waiting.row
        return None

    @property
    def waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting)

    @property
    def reachable(self) -> bool:
        """The database has taken the last rows that it was given."""
        return self._reachable

    def take_last_used(self) -> dict[str, int]:
        """Key id -> unix second of its last request, of the rows that were written since this was called before."""
        taken, self._last_used = self._last_used, {}
        return taken

    async def settled(self, seconds: float = 5.0) -> bool:
        """Everything that was put before is in the database; False when that took too long."""
        self._wake.set()
        for _ in range(int(seconds / 0.01)):
            if not self._waiting:
                return True
            await asyncio.sleep(0.01)
        return False

    def close(self) -> None:
        """Write what waits (5 seconds at most; the journal keeps the rest) and stop."""
        self._stopping = True
        self._pause.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _write_until_stopped(self) -> None:
        database = self._database()
        rows = UsageRows(database)
        with asyncio.Runner() as runner:
            while not (self._stopping and not self._waiting):
                self._wake.wait()
                if not self._stopping:
                    self._pause.wait(BATCH_SECONDS)
                self._wake.clear()
                if not self._write_all(runner, rows):
                    break
            runner.run(rows.close())
            runner.run(database.close())

    def _write_all(self, runner: asyncio.Runner, rows: UsageRows) -> bool:
        """False: it is time to stop, and the database cannot be reached. The journal has what waits."""
        while self._waiting:
            if not self._write(runner, rows):
                if self._stopping:
                    return False
                self._pause.wait(AGAIN_SECONDS)
        return True

    def _write(self, runner: asyncio.Runner, rows: UsageRows) -> bool:
        """One batch. It leaves the queue only once it is in the database."""
        batch = [self._waiting[place] for place in range(min(BATCH_ROWS, len(self._waiting)))]
        for waiting in batch:
            if not isinstance(waiting.row, UsageRow):
                waiting.row = waiting.row()
        made = [waiting.row for waiting in batch if isinstance(waiting.row, UsageRow)]
        try:
            runner.run(rows.write(made))
        except Exception as error:
            if self._reachable:
                why = "the database cannot be reached" if isinstance(error, Unavailable) else type(error).__name__
                log.error("usage rows cannot be written (%s): the journal keeps them until they can", why)
            self._reachable = False
            return False
        self._reachable = True
        for row in made:
            self._last_used[row.key_id] = int(row.started_at)
        told = [waiting.written for waiting in batch if waiting.written is not None]
        if told:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_call, told)
        for _ in batch:
            self._waiting.popleft()
        self._journal.free([waiting.slot for waiting in batch])
        return True


def _call(functions: Iterable[Callable[[], None]]) -> None:
    for function in functions:
        function()
