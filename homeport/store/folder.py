"""The bytes of files in a folder: `ab/cd/` and the SHA-256 of them, which begins so. Replicas may share it.

A blob comes to be in one step, whole: its temporary file, which lies beside the blobs and is on the disk, gets its name
as a second one. No name that a client chose is ever a part of a path.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from homeport import ids
from homeport.errors import ContentMissing
from homeport.store.staged import disk

#: Bytes that are read at once.
PIECE = 2**18
#: Of file systems that know no second name for a file.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)


class Folder:
    """A Bucket (store/blobs.py)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def staging(self) -> Path:
        """For the files that it is given."""
        return self._path / "staging"

    def __str__(self) -> str:
        return str(self._path)

    async def start(self) -> None:
        await asyncio.to_thread(self._make)

    def _make(self) -> None:
        with disk(self._path):
            self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.chmod(0o700)

    async def close(self) -> None:
        """Nothing is open."""

    async def put(self, file: Path, digest: str) -> None:
        await asyncio.to_thread(self._put, file, digest)

    def _put(self, file: Path, digest: str) -> None:
        with disk(self._path):
            while not (self._named(file, digest) and self._synced(digest)):
                if not file.exists():
                    raise FileNotFoundError(errno.ENOENT, "what was written is not there")

    def _named(self, file: Path, digest: str) -> bool:
        """False: its folder was empty, and somebody took it away meanwhile."""
        blob = self._blob(digest)
        try:
            for folder in (blob.parent.parent, blob.parent):
                folder.mkdir(exist_ok=True)
            os.link(file, blob)
        except FileExistsError:
            return True
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._copied(file, blob)
        return True

    def _copied(self, file: Path, blob: Path) -> bool:
        copy = self.staging / ids.random_text(24)
        copy.parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(file, copy)
            copy.chmod(0o600)
            _sync(copy)
            copy.replace(blob)
        except FileNotFoundError:
            return False
        finally:
            copy.unlink(missing_ok=True)
        return True

    def _synced(self, digest: str) -> bool:
        """Also where the name was there: whoever gave it may have been killed before this. False: as above."""
        shelf = self._blob(digest).parent
        try:
            for folder in (shelf, shelf.parent, self._path):
                _sync(folder)
        except FileNotFoundError:
            return False
        return True

    async def has(self, digest: str) -> bool:
        return await asyncio.to_thread(self._has, digest)

    def _has(self, digest: str) -> bool:
        with disk(self._path):
            try:
                self._blob(digest).stat()
            except FileNotFoundError:
                return False
        return True

    async def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(self._open, digest)
        with file:  # open as long as it is read, so what is deleted meanwhile is still read to its end
            at = begin
            while end is None or at < end:
                wanted = PIECE if end is None else min(PIECE, end - at)
                with disk(self._path):
                    piece = await asyncio.to_thread(os.pread, file.fileno(), wanted, at)
                if not piece:
                    return
                yield piece
                at += len(piece)

    def _open(self, digest: str) -> FileIO:
        with disk(self._path), suppress(FileNotFoundError):
            return FileIO(self._blob(digest))
        raise ContentMissing

    async def delete(self, digest: str) -> None:
        await asyncio.to_thread(self._delete, digest)

    def _delete(self, digest: str) -> None:
        blob = self._blob(digest)
        with disk(self._path):
            blob.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            blob.parent.rmdir()
            blob.parent.parent.rmdir()

    async def digests(self) -> AsyncGenerator[tuple[str, float], None]:
        for shelves in await asyncio.to_thread(self._shelves):
            for found in await asyncio.to_thread(lambda folder: [*self._blobs(folder)], shelves):
                yield found

    def _shelves(self) -> list[Path]:
        with disk(self._path):
            return sorted(path for path in self._path.iterdir() if len(path.name) == 2)

    def _blobs(self, folder: Path) -> Iterator[tuple[str, float]]:
        with disk(self._path), suppress(FileNotFoundError):
            for shelf in sorted(folder.iterdir()):
                with suppress(FileNotFoundError):
                    for blob in sorted(shelf.iterdir()):
                        with suppress(FileNotFoundError):
                            yield blob.name, blob.stat().st_mtime

    def _blob(self, digest: str) -> Path:
        return self._path / digest[:2] / digest[2:4] / digest


def _sync(path: Path) -> None:
    """Bytes of a file, names in a folder."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
