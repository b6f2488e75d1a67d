"""A Homeport's data without a server: keys, projects, records, files; on either database."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from homeport import keys
from homeport.settings import Settings
from homeport.store import tables, usage_tables
from homeport.store.blobs import chosen
from homeport.store.database import Database
from homeport.store.images import Images, Made
from homeport.store.migrations import migrate
from homeport.store.usage_rows import UsageRows
from tests.store import made_usage
from tests.store.filed import House

T = TypeVar("T")
CONTENTS = (b"", b"one", b"two\n" * 300_000)


@dataclass
class Data:
    """data: its folder. database_url: None where it is SQLite. files: table of the settings. key: once it is full."""

    data: Path
    database_url: str | None = None
    files: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def table(self) -> dict[str, Any]:
        """As homeport.toml has it."""
        url = {"database_url": self.database_url} if self.database_url else {}
        return {"server": {"data": str(self.data)}, "files": {**self.files}, **url}

    @property
    def settings(self) -> Settings:
        return msgspec.convert(self.table, Settings)

    def arguments(self, config: Path) -> list[str]:
        """Of the command line; config: a file that is written for it."""
        lines = [f"database_url = {self.database_url!r}"] if self.database_url else []
        lines += ["[server]", f"data = {str(self.data)!r}", "[files]"]
        lines += [f"{name} = {value!r}" for name, value in self.files.items()]
        config.write_text("\n".join(lines))
        return ["--config", str(config)]

    def run(self, work: Callable[[House], Awaitable[T]]) -> T:
        """On files of the first project."""

        async def whole() -> T:
            database = Database(self.settings.state_url)
            try:
                async with database.read() as connection:
                    project = (await connection.execute(sa.select(tables.projects.c.id))).scalars().first()
                blobs = chosen(self.settings, database)
                await blobs.start()
                return await work(House(blobs, project or ""))
            finally:
                await database.close()

        return asyncio.run(whole())

    def fill(self) -> None:
        """With some of everything."""
        self.key = keys.create(self.settings, "first", days=3).secret
        keys.create(self.settings, "of the Admin API", admin=True)
        gone = keys.create(self.settings, "gone")
        keys.revoke(self.settings, gone.id)

        async def records() -> None:
            database = Database(self.settings.usage_url)
            await migrate(database, "usage")
            rows = UsageRows(database)
            await rows.write([made_usage.row(number) for number in range(2500)])
            await rows.close()
            await database.close()

        asyncio.run(records())

        async def stored(house: House) -> None:
            for data in CONTENTS:
                await house.add(data)
            async with house.blobs.database.write() as connection:
                last = sa.insert(tables.files).values(
                    seq=5000,
                    id="file-last",
                    project_id=house.project,
                    filename="x",
                    purpose="batch",
                    bytes=3,
                    digest=digest(b"one"),
                    created_at=1,
                    status="uploaded",
                )
                await connection.execute(last)
                await connection.execute(sa.delete(tables.files).where(tables.files.c.id == "file-last"))
                await connection.execute(
                    sa.insert(tables.idempotency_keys).values(
                        scope=b"\x00\xff", digest=b"\x01", body=b"\xfe", until=2**40, content_type="a/b"
                    )
                )

            drawn = Images(house.blobs, seconds=3600)
            async with house.blobs.staged() as staged:
                await staged.write(b"drawn")
                await drawn.keep(house.project, [Made(staged, "image/png")])

        self.run(stored)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that the databases hold, but who holds what up."""

        async def read(url: str, metadata: sa.MetaData) -> dict[str, list[tuple[Any, ...]]]:
            database = Database(url)
            found: dict[str, list[tuple[Any, ...]]] = {}
            async with database.read() as connection:
                for table in metadata.sorted_tables:
                    query = sa.select(table).order_by(*table.primary_key.columns)
                    found[table.name] = [tuple(row) for row in await connection.execute(query)]
            await database.close()
            return found

        state = asyncio.run(read(self.settings.state_url, tables.metadata))
        usage = asyncio.run(read(self.settings.usage_url, usage_tables.metadata))
        return {name: rows for name, rows in {**state, **usage}.items() if name != "backups"}

    def shown(self) -> bytes | None:
        """The picture."""
        ((name, *_),) = self.rows()["images"]

        async def read(house: House) -> bytes | None:
            images = Images(house.blobs, seconds=3600)
            found = await images.find(f"{name}.png")
            return None if found is None else b"".join([piece async for piece in images.read(found)])

        return self.run(read)

    def contents(self) -> dict[str, bytes]:
        """File -> bytes, of all files."""

        async def read(house: House) -> dict[str, bytes]:
            found = {}
            async with house.blobs.database.read() as connection:
                rows = (await connection.execute(sa.select(tables.files.c.id, tables.files.c.digest))).all()
            for id, sha256 in rows:
                data = b"".join([piece async for piece in house.blobs.read(sha256)])
                assert digest(data) == sha256
                found[id] = data
            return found

        return self.run(read)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_whole(file: Path) -> bool:
    with sqlite3.connect(file) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return bool(answer == ("ok",))
