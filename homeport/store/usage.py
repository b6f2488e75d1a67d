"""The usage log: one row for each request that was admitted, in a file of its own.

`put()` is called on the hot path: it appends to a queue in memory and returns. A thread writes the rows in batches, so
the log never blocks a request and never waits for the state's database.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("homeport.usage")

BATCH_SECONDS = 0.2
BATCH_ROWS = 250
#: Rows that may wait in memory; beyond it the oldest writer problem shows as `dropped`, never as growing memory.
CAPACITY = 100_000


class UsageRow(NamedTuple):
    """What is kept of a request. No prompt, no answer, no key. Times: unix seconds, durations in milliseconds."""

    request_id: str
    started_at: float
    key_id: str
    project: str
    endpoint: str
    model: str
    ran: str
    backend: str
    stream: int
    status: int
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    first_ms: int
    total_ms: int


_COLUMNS = {
    str: "TEXT NOT NULL",
    int: "INTEGER NOT NULL",
    float: "REAL NOT NULL",
}
_TABLE = "CREATE TABLE IF NOT EXISTS usage (seq INTEGER PRIMARY KEY AUTOINCREMENT, {})".format(
    ", ".join(f"{name} {_COLUMNS[kind]}" for name, kind in UsageRow.__annotations__.items())
)
_INSERT = "INSERT INTO usage ({}) VALUES ({})".format(  # noqa: S608  (names from the class above)
    ", ".join(UsageRow._fields), ", ".join("?" * len(UsageRow._fields))
)


class UsageLog:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._rows: deque[UsageRow] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._write_until_stopped, name="usage-log", daemon=True)

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()

    def put(self, row: UsageRow) -> None:
        if len(self._rows) >= CAPACITY:
            self.dropped += 1
            return
        self._rows.append(row)
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what waits (5 seconds at most) and stop."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _write_until_stopped(self) -> None:
        database = sqlite3.connect(self.path, timeout=5.0)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(_TABLE)
        database.commit()
        pause = threading.Event()
        while True:
            self._wake.wait()
            if not self._stopping:
                pause.wait(BATCH_SECONDS)
            self._wake.clear()
            self._flush(database)
            if self._stopping and not self._rows:
                break
        database.close()

    def _flush(self, database: sqlite3.Connection) -> None:
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH_ROWS, len(self._rows)))]
            try:
                self._insert(database, batch)
            except sqlite3.Error as error:
                log.error("usage rows could not be written, %d kept for later: %s", len(batch), error)
                self._rows.extendleft(reversed(batch))
                if self._stopping:
                    self.dropped += len(self._rows)
                    self._rows.clear()
                return

    def _insert(self, database: sqlite3.Connection, batch: Sequence[UsageRow]) -> None:
        with database:
            database.executemany(_INSERT, batch)
