"""What code has left in its folder, read by a server that trusts none of it: no link is followed, nothing but a regular
file is opened, and there is an end to it.

To be called while the processes of the cell are stopped, as they are whenever no execution is going on.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from homeport.sandbox.cell import ENTRIES
from homeport.sandbox.inside import tree

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Found(NamedTuple):
    """path: below the folder. stat: as it was found. folder: a descriptor of the one that it is in."""

    path: str
    stat: os.stat_result
    folder: int

    def open(self) -> BinaryIO:
        """Before the next one is asked for. Raises OSError: it is another than was found."""
        opened = os.open(self.path.rpartition("/")[2], _READ, dir_fd=self.folder)
        told = os.fstat(opened)
        if not stat.S_ISREG(told.st_mode) or (told.st_dev, told.st_ino) != (self.stat.st_dev, self.stat.st_ino):
            os.close(opened)
            raise OSError(f"{self.path!r} is another file by now")
        return open(opened, "rb")


def walk(folder: Path, most: int = ENTRIES) -> Iterator[Found]:
    """Regular files that have one name, on the folder's own disk, whose path is text. It ends early where there are
    more entries than `most`, or folders deeper than a cell may have them, or that may not be looked into."""
    root = os.open(folder, tree.FOLDER)
    try:
        device = os.fstat(root).st_dev
        with suppress(tree.TooMuch):
            for number, entry in enumerate(tree.entries(root)):
                if number >= most:
                    return
                told = entry.stat
                if stat.S_ISREG(told.st_mode) and told.st_nlink == 1 and told.st_dev == device and _is_text(entry.path):
                    yield Found(entry.path, told, entry.folder)
    finally:
        os.close(root)


def remove(folder: Path) -> None:
    """The folder is gone, with all that is in it, however deep. That there is none is no error."""
    try:
        root = os.open(folder, tree.FOLDER)
    except FileNotFoundError:
        return
    try:
        tree.clear(root, lambda _: True)
    finally:
        os.close(root)
    folder.rmdir()


def _is_text(path: str) -> bool:
    """Names are bytes, and of those not every one is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
