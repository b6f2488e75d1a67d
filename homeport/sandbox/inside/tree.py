"""Folders of somebody who means harm: measured, emptied. Links are never followed, nothing is opened but folders.

Also imported by the server, which looks at the same folders from outside (files.py).
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Folders in folders; more is nobody's work.
DEPTH = 32


class Entry(NamedTuple):
    """folder: a descriptor of the one that it is in, open until the next entry. path: below the root."""

    folder: int
    name: str
    path: str
    stat: os.stat_result


class TooMuch(Exception):
    """More folders in folders than DEPTH, or one that may not be looked into: it counts as a disk that is full."""


def entries(root: int) -> Iterator[Entry]:
    """Everything below, folders before what is in them, while the code may be changing it. Raises TooMuch."""
    yield from _entries(root, "", 0)


def _entries(folder: int, path: str, depth: int) -> Iterator[Entry]:
    if depth > DEPTH:
        raise TooMuch
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return  # it is gone
    for name in names:
        try:
            told = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:  # a folder that may not be searched
            raise TooMuch from error
        yield Entry(folder, name, f"{path}{name}", told)
        if stat.S_ISDIR(told.st_mode):
            try:
                inner = os.open(name, FOLDER, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise TooMuch from error
            try:
                yield from _entries(inner, f"{path}{name}/", depth + 1)
            finally:
                os.close(inner)


class Size(NamedTuple):
    """bytes: what the disk has for it, each inode once. times: of each inode, when it was last changed."""

    bytes: int
    entries: int
    times: dict[int, int]


def size(root: int, most: int) -> Size:
    """most: entries; it stops counting above. Raises TooMuch."""
    times: dict[int, int] = {}
    taken = count = 0
    for entry in entries(root):
        count += 1
        if count > most:
            break
        if entry.stat.st_ino not in times:
            times[entry.stat.st_ino] = entry.stat.st_ctime_ns
            taken += entry.stat.st_blocks * 512
    return Size(taken, count, times)


def clear(root: int, unwanted: Callable[[os.stat_result], bool]) -> None:
    """Takes away what is unwanted, however deep; folders only where that leaves them empty. For folders that nobody
    changes meanwhile: it goes up by `..`, so that depth costs no descriptors."""
    os.fchmod(root, 0o700)
    folder = os.dup(root)
    pending = [_cleared(folder, unwanted)]
    names: list[str] = []
    try:
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                inner = os.open(name, FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
                names.append(name)
                pending.append(_cleared(folder, unwanted))
                continue
            pending.pop()
            if not names:
                return
            told = os.fstat(folder)
            above = os.open("..", FOLDER, dir_fd=folder)
            os.close(folder)
            folder = above
            with suppress(OSError):  # something in it is wanted
                if unwanted(told):
                    os.rmdir(names[-1], dir_fd=folder)
            names.pop()
    finally:
        os.close(folder)


def _cleared(folder: int, unwanted: Callable[[os.stat_result], bool]) -> list[str]:
    """The folders in it, each of which may be looked into from now on; whatever else is unwanted is gone."""
    folders = []
    for name in os.listdir(folder):
        with suppress(OSError):
            told = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(told.st_mode):
                if unwanted(told):
                    os.unlink(name, dir_fd=folder)
                continue
            if told.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(name, stat.S_IRWXU, dir_fd=folder)
            folders.append(name)
    return folders
