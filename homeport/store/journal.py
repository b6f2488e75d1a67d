"""Entries of the ledger while they are open, and until the log of usage has them: a file mapped into memory.

What is written to the map is the kernel's, so a killed process loses nothing of it, and a write costs less than a
microsecond. (A power cut may lose the last seconds, as it may of any log that does not wait for the disk.)

The file is slots of one size. A slot is free, open (a request runs) or closed (its row waits for the database). Each
process has a file of its own and holds its lock; a file that nobody holds was left by a process that was killed, and
whoever starts next takes it over.
"""

import fcntl
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
    """The database has not taken rows for too long."""


class Journal:
    """open and close are for the event loop, free is for the thread that writes the rows."""

    def __init__(self, folder: Path) -> None:
        """Takes a file in `folder` that nobody holds, or makes one. left: what was in it and in every other one that
        nobody holds; forget_left() lets go of it."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._orphans: dict[Path, int] = {}
        self.left: list[Left] = []
        self._file = self._take_over(folder)
        self._map = mmap.mmap(self._file, 0)
        self._free: deque[int] = deque()
        self._slots = 0
        if not self.left:
            self._grow()

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
        """Their rows are in the database."""
        for slot in slots:
            self._map[slot * SLOT] = _FREE
        self._free.extend(slots)

    def forget_left(self) -> None:
        """What was left is in the database now. Before it no entry can be opened."""
        for path, file in self._orphans.items():
            path.unlink(missing_ok=True)
            os.close(file)
        self._orphans = {}
        if self.left:
            self.left = []
            self._map[::SLOT] = bytes(len(self._map) // SLOT)
            self._grow()

    def shut(self) -> None:
        self._map.close()
        os.close(self._file)

    def _grow(self) -> None:
        size = len(self._map) // SLOT
        if size == self._slots:
            if size >= MOST:
                raise JournalFull
            size += STEP
            self._map.resize(size * SLOT)
        self._free.extend(range(size - 1, self._slots - 1, -1))
        self._slots = size

    def _take_over(self, folder: Path) -> int:
        """The file of this process. Its lock and those of the ones that were left are held."""
        taken = -1
        known = sorted(folder.glob("journal-*"))
        for path in known:
            file = _locked(path)
            if file is None:
                continue
            self.left += _read(file)
            if taken < 0:
                taken = file
            else:
                self._orphans[path] = file
        number = 0
        while taken < 0:
            path = folder / f"journal-{number}"
            number += 1
            taken = _locked(path) or -1
        if os.fstat(taken).st_size % (STEP * SLOT) or not os.fstat(taken).st_size:
            os.ftruncate(taken, STEP * SLOT)
        return taken


def _locked(path: Path) -> int | None:
    """None: a living process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _read(file: int) -> Iterator[Left]:
    size = os.fstat(file).st_size
    for at in range(0, size - SLOT + 1, SLOT):
        slot = os.pread(file, SLOT, at)
        state, opening, closing = _HEAD.unpack_from(slot)
        if state == _OPEN and opening <= LARGEST_OPENING:
            yield Left(False, slot[_HEAD.size : _HEAD.size + opening])
        elif state == _CLOSED and closing <= LARGEST_CLOSING:
            yield Left(True, slot[_CLOSING : _CLOSING + closing])
