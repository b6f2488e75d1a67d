"""Adapters of fine-tuned models as files of this machine, for engines that read files: `DIGEST.gguf` in one folder.

Each is brought from where its bytes are (blobs.py) when it is asked for the first time, and read to its end and
compared with its digest before it gets its name. Several processes may share the folder. Whatever is in it can be
brought again.
"""

import asyncio
import hashlib
from collections.abc import Collection
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO

from homeport import clock, ids
from homeport.errors import ContentMissing
from homeport.store.blobs import Blobs
from homeport.store.staged import OLD, disk


class Adapters:
    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder
        self._coming: dict[str, asyncio.Task[Path]] = {}

    async def file(self, digest: str) -> Path:
        """It is there. Who asks while it is being brought waits for the same. Raises ContentMissing, StorageFull,
        Unavailable."""
        path = self._path(digest)
        if await asyncio.to_thread(path.is_file):
            return path
        coming = self._coming.get(digest)
        if coming is None:
            coming = self._coming[digest] = asyncio.get_running_loop().create_task(self._bring(digest, path))
            coming.add_done_callback(lambda _: self._coming.pop(digest, None))
        return await asyncio.shield(coming)

    async def drop(self, digests: Collection[str]) -> None:
        """No model has them any more. That they are not there is no error."""

        def drop() -> None:
            for digest in digests:
                with suppress(OSError):
                    self._path(digest).unlink(missing_ok=True)

        await asyncio.to_thread(drop)

    async def keep(self, digests: Collection[str]) -> None:
        """Everything else goes that has been there for an hour: what is younger may be of a model that whoever asks has
        not seen yet, or be on its way."""

        def sweep() -> None:
            kept = {self._path(digest).name for digest in digests}
            for path in self._folder.iterdir() if self._folder.is_dir() else ():
                with suppress(OSError):
                    if path.name not in kept and path.stat().st_mtime < clock.now() - OLD:
                        path.unlink(missing_ok=True)

        await asyncio.to_thread(sweep)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.gguf"

    async def _bring(self, digest: str, path: Path) -> Path:
        partial = self._folder / f"{digest}.{ids.random_text(8)}.partial"
        sha256 = hashlib.sha256()
        try:
            with disk(self._folder):
                file = await asyncio.to_thread(self._open, partial)
                with file:
                    async with aclosing(self._blobs.read(digest)) as pieces:
                        async for piece in pieces:
                            sha256.update(piece)
                            await asyncio.to_thread(file.write, piece)
                if sha256.hexdigest() != digest:
                    raise ContentMissing
                await asyncio.to_thread(partial.replace, path)
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return path

    def _open(self, partial: Path) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return partial.open("xb")
