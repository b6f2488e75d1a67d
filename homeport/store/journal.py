"""Entries of the ledger while they are open, and until the log of usage has them: a file mapped into memory.

What is written to the map is the kernel's, so a killed process loses nothing of it, and a write costs less than a
microsecond. (A power cut may lose the last seconds, as it may of any log that does not wait for the disk.)

The file is slots of one size. A slot is free, open (a request runs) or closed (its row waits for the database). Each
process has a file of its own, with a name that no other ever has, and holds its lock. A process that ends leaves none,
unless rows still wait; so a file that nobody holds was left by a process that was killed, and whoever starts next reads
it and takes it away.
"""

import fcntl
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from homeport import ids

#: A slot: state, lengths, the record of the opening, and at its half that of the closing. Both are never the same
#: bytes, so a slot that is torn by a kill is what it was before.
SLOT = 2048
_HEAD = struct.Struct("<BxHH")
_CLOSING = 512
LARGEST_OPENING = _CLOSING - _HEAD.size
LARGEST_CLOSING = SLOT - _CLOSING
#: Slots that the file grows by.
STEP = 4096
#: Entries that are open or wait for the database: beyond it nothing is admitted, for it could not be recorded.
MOST = 131_072

_FREE, _OPEN, _CLOSED = 0, 1, 2


class Left(NamedTuple):
    """What a killed process left in a slot. closed: its row was whole and may be in the database already."""

    closed: bool
    record: bytes


class JournalFull(Exception):
    """The database has not taken rows for too long, and the spill takes no more."""


class Journal:
    """open and close are for the event loop, free is for the thread that writes the rows.

    name: of this process's life. left: what processes left that were killed, under the names of the killed; it stays
    until forget_left().
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._orphans = {path: file for path in folder.glob("*") if (file := _locked(path, os.O_RDWR)) is not None}
        self.killed = [path.name for path in self._orphans]
        self.left: list[Left] = [left for file in self._orphans.values() for left in _read(file)]
        self.name, self._path, self._file = _new(folder)
        os.ftruncate(self._file, STEP * SLOT)
        self._map = mmap.mmap(self._file, 0)
        self._free: deque[int] = deque()
        self._slots = 0
        self._grow()

    @property
    def taken(self) -> int:
        """Slots of requests that run, and of rows that wait."""
        return self._slots - len(self._free)

    @property
    def full(self) -> bool:
        """open() would raise."""
        return not self._free and self._slots >= MOST

    def open(self, record: bytes) -> int:
        """The slot of a new entry. record: LARGEST_OPENING bytes at most. Raises JournalFull."""
        assert len(record) <= LARGEST_OPENING
        if not self._free:
            self._grow()
        slot = self._free.pop()
        at = slot * SLOT
        start = at + _HEAD.size
        self._map[start : start + len(record)] = record
        _HEAD.pack_into(self._map, at, _FREE, len(record), 0)
        self._map[at] = _OPEN
        return slot

    def close(self, slot: int, record: bytes) -> None:
        """The entry's row is whole. record: LARGEST_CLOSING bytes at most."""
        assert len(record) <= LARGEST_CLOSING
        at = slot * SLOT
        start = at + _CLOSING
        self._map[start : start + len(record)] = record
        self._map[at + 4 : at + 6] = len(record).to_bytes(2, "little")
        self._map[at] = _CLOSED

    def free(self, slots: Sequence[int]) -> None:
        """Their rows are in the database, or safe in the spill."""
        for slot in slots:
            self._map[slot * SLOT] = _FREE
        self._free.extend(slots)

    def forget_left(self) -> None:
        """What was left is in the database now."""
        for path, file in self._orphans.items():
            path.unlink(missing_ok=True)
            os.close(file)
        self._orphans, self.left, self.killed = {}, [], []

    def shut(self, *, keep: bool = False) -> None:
        """keep: the next start shall find its name, though no slot is taken: there is a spill of that name."""
        if len(self._free) == self._slots and not keep:
            self._path.unlink(missing_ok=True)
        self._map.close()
        for file in (self._file, *self._orphans.values()):
            os.close(file)

    def _grow(self) -> None:
        size = len(self._map) // SLOT
        if size == self._slots:
            if size >= MOST:
                raise JournalFull
            size += STEP
            self._map.resize(size * SLOT)
        self._free.extend(range(size - 1, self._slots - 1, -1))
        self._slots = size


def in_use(folder: Path) -> bool:
    """A living process has a journal there."""
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(file)
    return False


def _new(folder: Path) -> tuple[str, Path, int]:
    """A file that nobody has read or taken away before it was locked."""
    while True:
        name = ids.random_text(16)
        file = _locked(folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if file is not None:
            return name, folder / name, file


def _locked(path: Path, flags: int) -> int | None:
    """None: a living process holds it, or it is gone."""
    try:
        file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    os.close(file)
    return None


def _read(file: int) -> Iterator[Left]:
    size = os.fstat(file).st_size
    for at in range(0, size - SLOT + 1, SLOT):
        slot = os.pread(file, SLOT, at)
        state, opening, closing = _HEAD.unpack_from(slot)
        if state == _OPEN and opening <= LARGEST_OPENING:
            yield Left(False, slot[_HEAD.size : _HEAD.size + opening])
        elif state == _CLOSED and closing <= LARGEST_CLOSING:
            yield Left(True, slot[_CLOSING : _CLOSING + closing])
