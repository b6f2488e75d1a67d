"""Files that are laid into the folder of a cell, in which its code may have left links to anywhere: none is followed,
and whatever has a path that is wanted is replaced. For folders that nobody changes meanwhile."""

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from homeport import ids

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: It is not there, or something else is.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Stamp(NamedTuple):
    """What tells a file from another at its path, without reading it."""

    inode: int
    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, told: os.stat_result) -> "Stamp":
        return cls(told.st_ino, told.st_size, told.st_mtime_ns)


async def lay(folder: Path, path: str, pieces: AsyncIterator[bytes]) -> Stamp:
    """path: below the folder. Raises OSError, and what the pieces raise."""
    above, name = _above(folder, path)
    coming = f".{ids.random_text(24)}"
    try:
        file = os.open(coming, _NEW, 0o600, dir_fd=above)
        try:
            async for piece in pieces:
                await asyncio.to_thread(_write, file, piece)
            os.fchmod(file, 0o644)
            stamp = Stamp.of(os.fstat(file))
        finally:
            os.close(file)
        _take(above, name)
        os.rename(coming, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(coming, dir_fd=above)
        raise
    finally:
        os.close(above)
    return stamp


def take(folder: Path, path: str) -> None:
    """That it is not there is no error. Raises OSError."""
    with _found(folder, path) as (above, name):
        if above is not None:
            _take(above, name)


def is_there(folder: Path, path: str) -> bool:
    """Something is, whatever it is. Raises OSError."""
    with _found(folder, path) as (above, name):
        if above is None:
            return False
        try:
            os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def open_to_read(folder: Path, path: str) -> int | None:
    """A descriptor of a file; None: it is not there, or no file. Raises OSError."""
    with _found(folder, path) as (above, name):
        if above is None:
            return None
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            return None
        return file


def name_also(folder: Path, path: str, name: str) -> None:
    """A second name in the folder for a file in it, unless something has that name. Raises OSError."""
    above = os.open(folder, _FOLDER)
    try:
        with suppress(FileExistsError):
            os.symlink(path, name, dir_fd=above)
    finally:
        os.close(above)


def _above(folder: Path, path: str) -> tuple[int, str]:
    """The folder that a file is to be in, made where it is not there, and its name in it."""
    *names, last = path.split("/")
    above = os.open(folder, _FOLDER)
    try:
        for name in names:
            inner = _folder(above, name)
            os.close(above)
            above = inner
    except BaseException:
        os.close(above)
        raise
    return above, last


def _folder(above: int, name: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        _take(above, name)
        os.mkdir(name, 0o755, dir_fd=above)
        return os.open(name, _FOLDER, dir_fd=above)


@contextmanager
def _found(folder: Path, path: str) -> Iterator[tuple[int | None, str]]:
    """The folder that a file is in, and its name; None: that is not there."""
    *names, last = path.split("/")
    above: int | None = os.open(folder, _FOLDER)
    try:
        for name in names:
            assert above is not None
            outer, above = above, None
            try:
                with suppress(OSError):
                    above = os.open(name, _FOLDER, dir_fd=outer)
            finally:
                os.close(outer)
            if above is None:
                break
        yield above, last
    finally:
        if above is not None:
            os.close(above)


def _take(above: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(name, dir_fd=above)


def _write(file: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(file, left) :]
