"""Folders of fine-tuning jobs on this machine (training/text/job.py): filled from blobs, emptied into blobs.

A folder lasts no longer than it is worked in. Whoever begins to train in one leaves its mark, a random name, there and
in the queue: where both are the same, nobody has gone on elsewhere meanwhile, and what the trainer left is the newest.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from homeport import ids
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged, disk
from homeport.training.text.job import TRAINING, VALIDATION

_MARK = "mark"
#: What is made of the files, and is the same wherever it is made.
_EXAMPLES = {TRAINING, VALIDATION, "prepared.json"}
_PIECE = 2**20


class Folders:
    """root: of all of them. Methods raise StorageFull, Unavailable."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self.root = root
        self._blobs = blobs
        self._lock: int | None = None

    def mine(self) -> bool:
        """Whether this process is the one of this machine that trains: the first that asked, until it ends."""
        if self._lock is None:
            with disk(self.root):
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            self._lock = file
        return True

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def made(self, job_id: str) -> Path:
        """It is there."""
        folder = self.root / job_id
        with disk(self.root):
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
        return folder

    async def remove(self, job_id: str) -> None:
        """That it is not there is no error."""
        await asyncio.to_thread(shutil.rmtree, self.root / job_id, ignore_errors=True)

    def there(self) -> list[str]:
        """The jobs that have one."""
        return sorted(one.name for one in self.root.iterdir() if one.is_dir()) if self.root.is_dir() else []

    async def fetch(self, digest: str, to: Path) -> None:
        """The bytes of a blob; whole, or not at all. Raises ContentMissing, too."""
        coming = to.with_name(f"{to.name}.{ids.random_text(8)}")
        try:
            with disk(self.root):
                file = await asyncio.to_thread(coming.open, "xb")
                with file:
                    async with aclosing(self._blobs.read(digest)) as pieces:
                        async for piece in pieces:
                            await asyncio.to_thread(file.write, piece)
                coming.replace(to)
        finally:
            coming.unlink(missing_ok=True)

    @asynccontextmanager
    async def staged(self, path: Path) -> AsyncGenerator[Staged, None]:
        """A copy of a file, on its way to be kept. Raises FileNotFoundError."""
        with path.open("rb") as file:
            async with self._blobs.staged() as staged:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    await staged.write(piece)
                yield staged


def mark(folder: Path) -> str:
    """A new one."""
    made = ids.random_text(16)
    with disk(folder):
        (folder / _MARK).write_text(made)
    return made


def has_mark(folder: Path, wanted: str | None) -> bool:
    with suppress(FileNotFoundError):
        return (folder / _MARK).read_text() == wanted
    return False


def forget_training(folder: Path) -> None:
    """What a trainer has left is of no use any more; examples stay."""
    with disk(folder):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in _EXAMPLES:
                path.unlink()


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file that takes its place when the block has ended well."""
    coming = path.with_name(f"{path.name}.{ids.random_text(8)}")
    with disk(path.parent):
        try:
            yield coming
            coming.replace(path)
        finally:
            coming.unlink(missing_ok=True)
