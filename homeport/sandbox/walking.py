"""What is in the folder of a cell, in which its code may have left anything."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """path: below the folder."""

    path: str
    stat: os.stat_result


def walk(folder: Path) -> Iterator[Found]:
    """Files with one name; no links, and whatever else is no file."""
    for root, _, names, descriptor in os.fwalk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                told = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(told.st_mode) and told.st_nlink == 1:
                    yield Found(os.path.relpath(os.path.join(root, name), folder), told)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
