"""Bytes on their way in: a temporary file of this machine that is hashed while it is written (store/blobs.py).

The file is locked as long as whoever writes it lives, so that of what lies in the folder it can be told what a killed
process has left.
"""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from homeport import clock, ids
from homeport.errors import StorageFull, Unavailable

log = logging.getLogger("homeport")

#: Bytes that go to the disk at once, in a thread; until then they wait in memory.
PIECE = 2**20
#: Bytes that are read at once: little enough that whoever looks at their lines meanwhile does not hold up others.
_READ_PIECE = 2**16
#: Seconds. What is younger may be of a process that has not come to lock it, or is about to give it a row.
OLD = 3600.0

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Staged:
    """For one writer. digest, md5: hexadecimal, of what was written so far; so are its `bytes`."""

    def __init__(self, folder: Path, *, md5: bool = False) -> None:
        """md5: whether it is wanted, too. Touches no disk."""
        self.path = folder / ids.random_text(24)
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._waiting = bytearray()
        self._file: int | None = None
        self._gone = False
        self._lock = threading.Lock()  # who was cancelled has left a thread behind that is still at it

    @property
    def digest(self) -> str:
        """SHA-256."""
        sha256 = self._sha256.copy()
        sha256.update(self._waiting)
        return sha256.hexdigest()

    @property
    def md5(self) -> str:
        assert self._md5 is not None, "whoever wants it says so at the beginning"
        md5 = self._md5.copy()
        md5.update(self._waiting)
        return md5.hexdigest()

    async def write(self, data: bytes) -> None:
        """Raises StorageFull, Unavailable; then nothing more can be made of it."""
        self.bytes += len(data)
        self._waiting += data
        if len(self._waiting) >= PIECE:
            await self._put_down()

    async def finish(self) -> None:
        """All of it is on the disk. Raises StorageFull, Unavailable."""
        await self._put_down()
        await asyncio.to_thread(self._sync)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """What was written so far, in pieces of 64 kB. Raises StorageFull, Unavailable."""
        await self._put_down()
        with disk(self.path.parent):
            file = await asyncio.to_thread(FileIO, self.path)
            with file:
                while piece := await asyncio.to_thread(file.read, _READ_PIECE):
                    yield piece

    async def drop(self) -> None:
        await asyncio.to_thread(self._drop)

    async def _put_down(self) -> None:
        data, self._waiting = self._waiting, bytearray()
        await asyncio.to_thread(self._append, data)

    def _append(self, data: bytearray) -> None:
        with self._lock, disk(self.path.parent):
            if self._gone:
                return
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            self._sha256.update(data)
            if self._md5 is not None:
                self._md5.update(data)

    def _sync(self) -> None:
        with self._lock, disk(self.path.parent):
            if self._file is None or os.fstat(self._file).st_size != self.bytes:
                raise OSError(errno.EIO, "what was written is not there")
            os.fsync(self._file)

    def _drop(self) -> None:
        with self._lock:
            self._gone = True
            file, self._file = self._file, None
            if file is not None:
                with suppress(OSError):  # then it is old one day
                    self.path.unlink(missing_ok=True)
                os.close(file)


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """What the operating system says of it goes to the log; clients learn what it means for them."""
    try:
        yield
    except OSError as error:
        log.error("files cannot be kept in %s: %s", folder, error.strerror)
        if error.errno in _FULL:
            raise StorageFull("There is no room left on this server's disk for more files.") from error
        raise Unavailable("This server cannot get at its files. Try again in a moment.") from error


def take_away_old(folder: Path) -> None:
    """Files that killed processes left. Raises Unavailable."""
    with disk(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < clock.now() - OLD:
                    _take_away(path)


def _take_away(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # a living process's
    else:
        path.unlink()
    finally:
        os.close(file)
