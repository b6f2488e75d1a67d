"""Rows of usage on disk, for a database that is away longer than memory lasts.

Who has a row, at each moment (`spill` is this module, memory and the order of things are `usage.py`):

      the request ends          too many wait: on disk                  the slot is free
    ------------------> journal ----------------------> journal + spill ----------------> spill
                           |                                                                |
              the row is   |                                            its segment's rows  |
              written      v                                            are written         v
                   journal + database --------------> database <------------------ spill + database
                                     the slot is free           the segment is gone

A row leaves one place only after it is safe in the next, so a process may be killed anywhere: what has not arrived is
where it was, and what is in two places is given to the database twice, which takes it once, into the rows and into the
sums by the hour (`usage_rows.py`, by the request's id). A record that a kill has torn was not yet safe: its slot was
not free, and the journal has the row.

A spill is a folder of segments, numbered upwards; a segment is records one after the other, each its length, its
CRC-32 and a row as msgpack. The folder has the name of its process's journal and belongs to whoever holds that. What
is on disk there is fsynced.
"""

import logging
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from zlib import crc32

import msgspec

from homeport.store.usage_batch import harmless
from homeport.store.usage_row import UsageRow

log = logging.getLogger("homeport.usage")

#: Bytes of all spills in a folder together.
MOST = 2**30
#: A segment that is as long as this gets no more records.
SEGMENT = 4 * 2**20
#: Of a segment that cannot be read to its end: it stays, under this name, for whoever can make something of it.
DAMAGED = ".damaged"

_HEAD = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(UsageRow).decode


class SpillFull(Exception):
    """No room: the rows stay where they were."""


class Spill:
    """First in, first out. For one thread; `holds` may be asked by any."""

    def __init__(self, folder: Path, name: str, *, most: int | None = None, segment: int | None = None) -> None:
        """folder: of all spills. name: of the journal whose rows these are; what is there under it comes first.

        most, segment: MOST and SEGMENT unless told otherwise. Nothing is made on disk before the first row comes.
        """
        self._all = folder
        self._folder = folder / name
        self._most = most or MOST
        self._longest = segment or SEGMENT
        found = [path for path in self._folder.glob("*") if path.stem.isdecimal()]
        self._segments = deque(sorted(int(path.stem) for path in found if path.suffix != DAMAGED))
        #: The one that its writer, who is dead, wrote last: its end may be torn.
        self._last_found = self._segments[-1] if self._segments else None
        self._next = max((int(path.stem) for path in found), default=0) + 1
        self._file: int | None = None  # of the newest segment, while it gets records
        self._size = 0
        self._unread: deque[UsageRow] = deque()  # of the oldest, once it is read
        self._damaged = False

    @property
    def holds(self) -> bool:
        """Some rows are here and, as far as anybody knows, not in the database."""
        return bool(self._segments)

    @property
    def bytes(self) -> int:
        """Of this spill, on disk. May be asked by any thread."""
        return _used(self._all, self._folder.name) if self.holds else 0

    def append(self, rows: Sequence[UsageRow]) -> int:
        """They are safe here when it returns: the number of their segment. Raises SpillFull: none is."""
        data = b"".join(map(_record, rows))
        try:
            if _used(self._all) + len(data) > self._most:
                raise SpillFull
            if self._file is None or self._size >= self._longest:
                self._begin()
            assert self._file is not None
            _write(self._file, data)
        except OSError as error:
            self._take_back()
            raise SpillFull from error
        self._size += len(data)
        return self._segments[-1]

    def oldest(self, most: int) -> Sequence[UsageRow]:
        """The rows that have been here longest, all of one segment; empty: there is none. They stay until `taken`."""
        while not self._unread and self._segments:
            number = self._segments[0]
            if number == self._segments[-1]:
                self._end()  # what comes now is another segment's
            self._unread.extend(self._read(number))
            if not self._unread:
                self._remove()
        return [*islice(self._unread, most)]

    def taken(self, count: int) -> int | None:
        """So many of the oldest are in the database. The number of their segment if that was the rest of it."""
        for _ in range(count):
            self._unread.popleft()
        return self._remove() if count and not self._unread else None

    def close(self) -> None:
        """What is here stays."""
        self._end()
        with suppress(OSError):  # there are segments in it, or it was never made
            self._folder.rmdir()

    def _begin(self) -> None:
        self._end()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(self._next)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._segments.append(self._next)
        self._next += 1
        for folder in (self._folder, self._all, self._all.parent):
            _sync(folder)

    def _end(self) -> None:
        file, self._file, self._size = self._file, None, 0
        if file is not None:
            os.close(file)

    def _take_back(self) -> None:
        """What was not written whole, so that the records before it stay the segment's last."""
        if self._file is None:
            return
        size = self._size
        with suppress(OSError):
            os.ftruncate(self._file, size)
            os.lseek(self._file, size, os.SEEK_SET)
            if size:
                return
        self._end()
        if not size:
            with suppress(OSError):
                self._path(self._segments[-1]).unlink()
                self._segments.pop()

    def _read(self, number: int) -> Iterator[UsageRow]:
        """What cannot be read holds up nothing that can, and is kept: unless it is the torn end, whose rows the journal
        has."""
        lost = 0
        try:
            data = self._path(number).read_bytes()
        except OSError:
            data, lost = b"", 1
        read = 0
        for record in _records(data):
            read += _HEAD.size + len(record)
            try:
                yield _decode(record)
            except msgspec.DecodeError:
                lost += 1
        if lost or (read < len(data) and number != self._last_found):
            self._damaged = True
            log.error("rows of usage in %s cannot be read: it is kept as *%s", self._path(number), DAMAGED)

    def _remove(self) -> int:
        """The oldest segment. Should that fail, its rows are only given to the database once more."""
        number = self._segments.popleft()
        path, damaged, self._damaged = self._path(number), self._damaged, False
        with suppress(OSError):
            if damaged:
                path.rename(path.with_suffix(DAMAGED))
            else:
                path.unlink()
        return number

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}"


def _record(row: UsageRow) -> bytes:
    try:
        data = _encode(row)
    except (UnicodeEncodeError, OverflowError):
        data = _encode(harmless(row))
    return _HEAD.pack(len(data), crc32(data)) + data


def _records(data: bytes) -> Iterator[bytes]:
    """Up to the first that is not whole."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, check = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        record = data[at : at + length]
        if not length or len(record) < length or crc32(record) != check:
            return
        yield record
        at += length


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)


def _sync(folder: Path) -> None:
    """The names in it."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _used(folder: Path, name: str = "*") -> int:
    """Bytes, of all spills or of one. Other processes add files and take them away meanwhile."""
    used = 0
    for path in folder.glob(f"{name}/*"):
        with suppress(FileNotFoundError):
            used += path.stat().st_size
    return used
