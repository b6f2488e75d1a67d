"""Usage in SQLite's own file, by its driver itself.

A batch is one call in one thread, and in it a handful of statements of many rows each. Between them the interpreter is
free; a call or a statement for each row would give it away and wait for it as often, and beside a busy event loop each
time is a wait.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from homeport.errors import Unavailable
from homeport.store.database import BUSY_SECONDS
from homeport.store.usage_batch import FIELDS, Batch
from homeport.store.usage_row import UsageRow
from homeport.store.usage_tables import costs, hours

Values = Sequence[Any]
#: Rows in a statement. A few lengths only, so that each is prepared once; the last statement is filled up. More of them
#: are no cheaper, and the interpreter is held while their values are bound.
LENGTHS = (1, 8, 64)


class UsageFile:
    """The tables must be there. For any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """Raises Unavailable; then nothing was written."""
        await asyncio.to_thread(self._write, rows)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _write(self, rows: Sequence[UsageRow]) -> None:
        batch = Batch.of(rows)
        with self._lock:
            try:
                _transact(self._opened(), batch)
            except sqlite3.Error as error:
                self._drop()
                raise Unavailable("The database of usage cannot be written. Try again in a moment.") from error

    def _close(self) -> None:
        with self._lock:
            self._drop()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
        return self._database

    def _drop(self) -> None:
        """The next write opens it anew."""
        if self._database is not None:
            self._database.close()
            self._database = None


def _transact(database: sqlite3.Connection, batch: Batch) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        new = batch.only(_insert(database, batch))
        for table, added in zip((hours, costs), new.sums(), strict=True):
            _add(database, table, added)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _insert(database: sqlite3.Connection, batch: Batch) -> Sequence[str]:
    """The ids of the rows that are new. Rows are numbered upwards, so theirs are above the highest number of before."""
    (highest,) = database.execute("SELECT coalesce(max(seq), 0) FROM usage").fetchone()
    taken = 0
    for rows in _filled(batch.values, batch.rows[-1].values):  # what fills up is there already, and skipped
        taken += database.execute(_INSERT[len(rows)], _flat(rows)).rowcount
    if taken == len(batch.rows):
        return [row.request_id for row in batch.rows]
    new = "SELECT json_group_array(request_id) FROM usage WHERE seq > ?"
    ids: list[str] = msgspec.json.decode(database.execute(new, (highest,)).fetchone()[0])
    return ids


def _add(database: sqlite3.Connection, table: sa.Table, added: Sequence[Values]) -> None:
    if not added:
        return
    keys = len(table.primary_key.columns)
    nothing = [*added[-1][:keys], *[0] * (len(table.c) - keys)]
    for rows in _filled(added, nothing):
        database.execute(_ADD[table.name][len(rows)], _flat(rows))


def _filled(rows: Sequence[Values], filling: Values) -> Iterator[Sequence[Values]]:
    """Pieces whose lengths are all of LENGTHS."""
    for start in range(0, len(rows), LENGTHS[-1]):
        piece = list(rows[start : start + LENGTHS[-1]])
        length = next(length for length in LENGTHS if length >= len(piece))
        yield piece + [filling] * (length - len(piece))


def _flat(rows: Sequence[Values]) -> list[Any]:
    flat: list[Any] = []
    for row in rows:
        flat += row
    return flat


def _inserts(table: str, columns: Sequence[str], conflict: str) -> dict[int, str]:
    """Length -> the statement for as many rows."""
    row = f"({', '.join('?' * len(columns))})"
    begin = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608  (names of our own tables)
    return {length: f"{begin}{', '.join([row] * length)} ON CONFLICT {conflict}" for length in LENGTHS}


def _adds(table: sa.Table) -> dict[int, str]:
    keys = ", ".join(column.name for column in table.primary_key.columns)
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name, one in table.c.items() if not one.primary_key)
    return _inserts(table.name, table.c.keys(), f"({keys}) DO UPDATE SET {more}")


_INSERT = _inserts("usage", FIELDS, "(request_id) DO NOTHING")
_ADD = {table.name: _adds(table) for table in (hours, costs)}
