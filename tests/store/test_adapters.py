"""Adapters become files of this machine, whole or not at all."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homeport import clock
from homeport.errors import ContentMissing
from homeport.store.adapters import Adapters
from homeport.store.blobs import Blobs
from homeport.store.database import Database
from homeport.store.folder import Folder

DATA = b"GGUF" + bytes(range(256)) * 3000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Counted(Folder):
    """What it says may be something else than what it was given."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads = 0
        self.damage = False

    async def read(self, digest: str, begin: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        async for piece in super().read(digest, begin, end):
            yield piece[:-1] if self.damage else piece


class House:
    def __init__(self, path: Path) -> None:
        self.bucket = Counted(path / "blobs")
        self.folder = path / "adapters"
        self.database = Database(f"sqlite:///{path / 'state.db'}")
        self.adapters = Adapters(Blobs(self.database, self.bucket, self.bucket.staging), self.folder)

    async def put(self, data: bytes) -> None:
        await self.bucket.start()
        file = self.bucket.staging / "one"
        file.write_bytes(data)
        await self.bucket.put(file, hashlib.sha256(data).hexdigest())

    def there(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@asynccontextmanager
async def house(path: Path) -> AsyncGenerator[House, None]:
    made = House(path)
    try:
        await made.put(DATA)
        yield made
    finally:
        await made.database.close()


def test_it_is_brought_once_for_all_who_ask(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as one:
            files = await asyncio.gather(*[one.adapters.file(DIGEST) for _ in range(5)])
            assert {*files} == {one.folder / f"{DIGEST}.gguf"}
            assert files[0].read_bytes() == DATA
            assert await one.adapters.file(DIGEST) == files[0]
            assert one.bucket.reads == 1
            assert (one.folder.stat().st_mode & 0o777, one.there()) == (0o700, [f"{DIGEST}.gguf"])

    asyncio.run(run())


def test_who_leaves_takes_it_from_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as one:
            leaving, staying = [asyncio.ensure_future(one.adapters.file(DIGEST)) for _ in range(2)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            leaving.cancel()
            assert (await staying).read_bytes() == DATA

    asyncio.run(run())


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_what_is_not_what_it_should_be_is_no_file(tmp_path: Path, how: str) -> None:
    async def run() -> None:
        async with house(tmp_path) as one:
            one.bucket.damage = how == "damaged"
            with pytest.raises(ContentMissing):
                await one.adapters.file(DIGEST if how == "damaged" else "0" * 64)
            assert one.there() == []
            one.bucket.damage = False
            assert (await one.adapters.file(DIGEST)).read_bytes() == DATA

    asyncio.run(run())


def test_what_no_model_has_goes(tmp_path: Path) -> None:
    """At once where a model was deleted; what was found at the start once it is an hour old."""

    async def run() -> None:
        async with house(tmp_path) as one:
            await one.adapters.file(DIGEST)
            for name in ("old.gguf", "kept.gguf", "new.gguf", f"{DIGEST}.abc.partial"):
                (one.folder / name).touch()
            for name in ("old.gguf", "kept.gguf", f"{DIGEST}.abc.partial"):
                os.utime(one.folder / name, (0, clock.now() - 7200))
            await one.adapters.keep(["kept"])
            assert one.there() == sorted(["kept.gguf", "new.gguf", f"{DIGEST}.gguf"])
            await one.adapters.drop([DIGEST, "nobody"])
            assert one.there() == ["kept.gguf", "new.gguf"]

    asyncio.run(run())
