"""`homeport backup`: a consistent copy of the databases and of the files that their rows refer to, while serving.

First the rows, all of one moment; then the bytes, which nobody collects meanwhile (store/holds.py). Models are taken
along where that is wished: `homeport pull` brings them anew. Rows of usage that have not yet come to the database (in
`journal/` and `spill/`, usually for less than a second) are of a later moment, and not in it. docs/backup.md.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path

import msgspec

from homeport import __version__, clock
from homeport.backends.weights.progress import Progress, of_long
from homeport.errors import ContentMissing, HomeportError, SettingsError
from homeport.settings import Settings
from homeport.store import archive, blobs, copies, migrations
from homeport.store.archive import Copy, Entry, Manifest, Writer
from homeport.store.blobs import Blobs
from homeport.store.database import Database
from homeport.store.holds import Hold, holding


def make(settings: Settings, target: Path, *, models: bool = False) -> Manifest:
    """target: a folder, or a file whose name ends with .tar. Returns what is in it. Raises SettingsError."""
    if settings.database_url is None and not (settings.data / "state.db").exists():
        raise SettingsError(f"There is nothing to back up in {settings.data}.")
    writer = archive.writer(target.absolute())
    try:
        made = asyncio.run(_make(settings, writer, models=models))
        writer.finish()
    except HomeportError as error:
        writer.abandon()
        raise SettingsError(error.message) from None
    except BaseException:
        writer.abandon()
        raise
    return made


async def _make(settings: Settings, writer: Writer, *, models: bool) -> Manifest:
    taken = _Taken(writer)
    async with AsyncExitStack() as stack:
        databases = {"state": await stack.enter_async_context(_opened(settings.state_url))}
        if settings.database_url is None and (settings.data / "usage.db").exists():
            databases["usage"] = await stack.enter_async_context(_opened(settings.usage_url))
        elif settings.database_url is not None:
            databases["usage"] = databases["state"]
        state = databases["state"]
        hold = await stack.enter_async_context(holding(state)) if await _can_hold(state) else None
        wanted = await _take_rows(databases, taken, hold)
        kept = blobs.chosen(settings, state)
        await _take_blobs(kept, wanted, taken, hold)
    if models:
        _take_models(settings.data / "models", taken)
    manifest = Manifest(
        format=archive.FORMAT,
        homeport=__version__,
        made_at=int(clock.now()),
        database="postgresql" if settings.database_url else "sqlite",
        forms=taken.forms,
        tables=taken.tables,
        blobs={digest: size for digest, size in wanted.items() if digest not in taken.damaged},
        damaged=taken.damaged,
        models=taken.models,
        parts=taken.parts,
    )
    _put(writer, archive.MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


class _Taken:
    """What is in the backup by now."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.forms: dict[str, str] = {}
        self.tables: list[Copy] = []
        self.parts: dict[str, Entry] = {}
        self.damaged: list[str] = []
        self.models: dict[str, Entry] = {}


async def _can_hold(state: Database) -> bool:
    """Not before there were files, and then there is nothing to be held."""
    async with state.read() as connection:
        return "backups" in (await copies.there(connection, "state")).tables


async def _take_rows(databases: dict[str, Database], taken: _Taken, hold: Hold | None) -> dict[str, int]:
    """Returns the blobs that they refer to: digest -> bytes."""
    wanted: dict[str, int] = {}
    progress, done = Progress("rows", 0), 0
    async with AsyncExitStack() as stack:
        # All of one moment: on PostgreSQL in one transaction, on SQLite in two that begin at once.
        connections = {one: await stack.enter_async_context(one.read()) for one in {*databases.values()}}
        found = {name: await copies.there(connections[one], name) for name, one in databases.items()}
        for history, database in databases.items():
            connection = connections[database]
            form = await migrations.form(connection, history)
            if form is None:
                continue
            taken.forms[history] = form
            if history == "state":
                wanted = {**await copies.wanted_blobs(connection, found[history])}
            for table in copies.copied(found[history]):
                rows, names = 0, list[str]()
                async with aclosing(copies.parts(connection, table)) as parts:
                    async for part in parts:
                        names.append(f"{history}/{table.name}-{len(names) + 1:05}.msgpack")
                        taken.parts[names[-1]] = _put(taken.writer, names[-1], part.data)
                        rows += part.rows
                        done += len(part.data)
                        progress.at(done)
                        if hold is not None:
                            await hold.beat()
                sequence = await copies.sequence(connection, table)
                columns = [str(column.name) for column in table.columns]
                taken.tables.append(Copy(history, str(table.name), columns, rows, names, sequence))
    progress.done(done)
    if "state" not in taken.forms:
        raise SettingsError("There is nothing to back up: the database is empty.")
    return wanted


async def _take_blobs(kept: Blobs, wanted: dict[str, int], taken: _Taken, hold: Hold | None) -> None:
    progress, done = of_long("files", sum(wanted.values())), 0
    for digest, size in wanted.items():
        sha256, left = hashlib.sha256(), size
        taken.writer.begin(archive.blob_name(digest), size)
        with suppress(ContentMissing):
            async with aclosing(kept.read(digest, 0, size)) as pieces:
                async for piece in pieces:
                    taken.writer.write(piece)
                    sha256.update(piece)
                    left -= len(piece)
                    progress.at(done + size - left)
                    if hold is not None:
                        await hold.beat()
        while left:  # so many were promised, and are not there
            nothing = bytes(min(left, archive.PIECE))
            taken.writer.write(nothing)
            left -= len(nothing)
        taken.writer.end()
        if sha256.hexdigest() != digest:
            taken.damaged.append(digest)
        done += size
    progress.done(done)


def _take_models(folder: Path, taken: _Taken) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".partial"]
    progress, done = of_long("models", sum(path.stat().st_size for path in files)), 0
    for path in files:
        name = path.relative_to(folder).as_posix()
        sha256, left = hashlib.sha256(), path.stat().st_size
        size = left
        taken.writer.begin(f"models/{name}", size)
        with path.open("rb") as file:
            while left and (piece := file.read(min(left, archive.PIECE))):
                taken.writer.write(piece)
                sha256.update(piece)
                left -= len(piece)
                progress.at(done + size - left)
        if left:
            raise SettingsError(f"{path} has become shorter while it was copied. Make the backup anew.")
        taken.writer.end()
        taken.models[name] = Entry(size, sha256.hexdigest())
        done += size
    progress.done(done)


def _put(writer: Writer, name: str, data: bytes) -> Entry:
    writer.begin(name, len(data))
    writer.write(data)
    writer.end()
    return Entry(len(data), hashlib.sha256(data).hexdigest())


@asynccontextmanager
async def _opened(url: str) -> AsyncGenerator[Database, None]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()
