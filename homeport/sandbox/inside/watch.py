"""What the processes of a cell take together, which limits of single processes do not hold.

Looked at from process 1 while code runs; what takes too much is killed, all of it. So for some hundredths of a second
there can be more than is allowed. A control group (groups.py), where the machine has one to give, knows no such time.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from . import tree

DATA = "/mnt/data"
#: Kept in memory: what is in them counts as memory.
TEMPORARY = ("/tmp", "/dev/shm")
#: Of bytes, what the disk of /mnt/data always keeps free, whoever fills it.
SPARE = 128 * 1024**2
#: Of bytes, for a file in memory: its inode and its name.
_FILE = 2048


class Hidden(Exception):
    """A process has made itself one that cannot be looked at."""


def processes() -> Iterator[int]:
    """All but process 1."""
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and name != "1")


def states() -> set[str]:
    """Of all threads: letters, as /proc has them."""
    found = set()
    for pid in processes():
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/stat", encoding="latin-1") as file:
                    found.add(file.read().rpartition(")")[2].split()[0])
    return found


def too_much_memory(most: int) -> bool:
    """Anonymous memory of all of them, and files in memory. What forks share is counted once, as soon as it matters."""
    temporary = sum(_used(folder) for folder in TEMPORARY)
    rough = sum(_told(pid, "status", ("RssAnon", "RssShmem")) for pid in processes())
    if rough + temporary <= most:
        return False
    exact = sum(_told(pid, "smaps_rollup", ("Pss_Anon", "Pss_Shmem")) for pid in processes())
    return exact + temporary > most


def _told(pid: int, file: str, names: tuple[str, ...]) -> int:
    """Bytes, by those lines of a file of /proc; 0 of a process that is gone."""
    try:
        with open(f"/proc/{pid}/{file}", encoding="latin-1") as opened:
            lines = [line.split() for line in opened]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError:
        _must_be_ending(pid)
        return 0
    return sum(int(line[1]) * 1024 for line in lines if line and line[0].rstrip(":") in names)


def _used(folder: str) -> int:
    """With what the kernel takes for each file, an empty one, too."""
    told = os.statvfs(folder)
    return (told.f_blocks - told.f_bfree) * told.f_frsize + (told.f_files - told.f_ffree) * _FILE


class Disk:
    """Of an execution. What was there before may stay where it is more than is allowed, and may not become more: who
    has a full folder can make room."""

    def __init__(self, *, most_bytes: int, most_entries: int) -> None:
        """Raises tree.TooMuch: what is there cannot even be looked at."""
        self._root = os.open(DATA, tree.FOLDER)
        self._device = os.fstat(self._root).st_dev
        before = tree.size(self._root, 2 * most_entries)
        self._before = before.times
        self._bytes = max(most_bytes, before.bytes)
        self._entries = max(most_entries, before.entries)
        self._spare = min(SPARE, _free() // 2)

    def too_much(self) -> bool:
        """Raises tree.TooMuch."""
        if _free() < self._spare:
            return True
        size = tree.size(self._root, self._entries)
        return size.entries > self._entries or size.bytes + self._without_names() > self._bytes

    def take_back(self) -> None:
        """What is new, or other than it was, is gone. Only once nobody runs any more."""
        tree.clear(self._root, self._is_new)

    def _is_new(self, told: os.stat_result) -> bool:
        before = self._before.get(told.st_ino)
        return before is None if stat.S_ISDIR(told.st_mode) else before != told.st_ctime_ns

    def _without_names(self) -> int:
        """Of files that were deleted, and are open."""
        taken: dict[int, int] = {}
        for pid in processes():
            for told in _open_files(pid):
                if told.st_nlink == 0 and told.st_dev == self._device and stat.S_ISREG(told.st_mode):
                    taken[told.st_ino] = told.st_blocks * 512
        return sum(taken.values())

    def close(self) -> None:
        os.close(self._root)


def _free() -> int:
    told = os.statvfs(DATA)
    return told.f_bavail * told.f_frsize


def _open_files(pid: int) -> Iterator[os.stat_result]:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):
                yield os.stat(f"{folder}/{name}")
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError:
        _must_be_ending(pid)


def _must_be_ending(pid: int) -> None:
    """What has no memory any more may not be looked into, either. Raises Hidden: it has."""
    if _told(pid, "status", ("VmRSS",)):
        raise Hidden
