"""`homeport restore`: what `homeport backup` has made becomes the state of a data folder or of a PostgreSQL database.

    checked      everything in the backup is what its manifest says; the target is empty, or --force; nobody serves it
    marked       the data folder says that it is not whole (store/restoring.py), until
    put back     files, then databases: SQLite's are made beside their places and then renamed, PostgreSQL's tables come
                 in one transaction
    unmarked

A restore that was cut may be begun again. docs/backup.md.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport.backends.weights.progress import of_long
from homeport.errors import HomeportError, SettingsError
from homeport.settings import Settings
from homeport.store import archive, blobs, copies, journal, migrations, restoring
from homeport.store.archive import Manifest, Reader
from homeport.store.database import Database
from homeport.store.staged import Staged
from homeport.store.tables import jobs

#: Of a database file while it is made.
_BESIDE = ".restoring"
_SQLITE_FILES = ("", "-wal", "-shm")


def put_back(settings: Settings, source: Path, *, force: bool = False) -> Manifest:
    """force: what is in the target goes. Raises SettingsError: nothing has been changed, or the target says so."""
    source = source.absolute()
    with closing(archive.reader(source)) as reader:
        manifest = archive.manifest(reader)
        _check_forms(manifest)
        _check_all(reader, manifest)
        try:
            return asyncio.run(_put_back(settings, source, reader, manifest, force=force))
        except HomeportError as error:
            raise SettingsError(error.message) from None


def _check_forms(manifest: Manifest) -> None:
    for history, form in manifest.forms.items():
        if history not in migrations.HEADS or form > migrations.HEADS[history]:
            raise SettingsError(f"The backup is of a newer Homeport ({manifest.homeport}). Upgrade.")


def _check_all(reader: Reader, manifest: Manifest) -> None:
    """Before anything is written."""
    progress, done = of_long("checking", sum(entry.bytes for _, entry in manifest.entries)), 0
    for name, entry in manifest.entries:
        sha256, size = hashlib.sha256(), 0
        for piece in archive.pieces(reader, name):
            sha256.update(piece)
            size += len(piece)
            progress.at(done + size)
        if (size, sha256.hexdigest()) != (entry.bytes, entry.sha256):
            raise SettingsError(f"The backup is damaged: {name} is not what was written. Nothing was restored.")
        done += size
    progress.done(done)


async def _put_back(settings: Settings, source: Path, reader: Reader, manifest: Manifest, *, force: bool) -> Manifest:
    data = settings.data
    if journal.in_use(data / "journal"):
        raise SettingsError(f"A Homeport is running on {data}. Stop it first.")
    state = Database(settings.state_url) if settings.database_url else None
    try:
        if not force and not restoring.is_cut(data) and await _is_taken(settings, state):
            raise SettingsError("There is a Homeport's state already. With --force it goes, and the backup's comes.")
        if state is not None:
            await _check_alone(state)
        restoring.begin(data, source)
        await _files(settings, reader, manifest)
        _models(data / "models", reader, manifest)
        if state is None:
            await _sqlite(data, reader, manifest)
        else:
            await _postgresql(state, reader, manifest)
        restoring.end(data)
    finally:
        if state is not None:
            await state.close()
    return manifest


async def _check_alone(database: Database) -> None:
    """Raises SettingsError."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    async with database.read() as connection:
        if number := (await connection.execute(query)).scalar():
            raise SettingsError(f"{number} others are connected to the database. Stop every Homeport first.")


async def _is_taken(settings: Settings, state: Database | None) -> bool:
    if state is None:
        return any((settings.data / f"{history}.db").exists() for history in migrations.HEADS)
    async with state.read() as connection:
        return any([(await copies.there(connection, history)).tables for history in migrations.HEADS])


async def _files(settings: Settings, reader: Reader, manifest: Manifest) -> None:
    bucket, staging = blobs.place(settings)
    progress, done = of_long("files", sum(manifest.blobs.values())), 0
    await bucket.start()
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    for digest, size in manifest.blobs.items():
        one = Staged(staging)
        try:
            for piece in archive.pieces(reader, archive.blob_name(digest)):
                await one.write(piece)
                progress.at(done + one.bytes)
            await one.finish()
            if one.digest != digest:
                raise SettingsError(f"The backup has changed while it was restored: {archive.blob_name(digest)}.")
            await bucket.delete(digest)  # one that is there may be damaged
            await bucket.put(one.path, digest)
        finally:
            await one.drop()
        done += size
    await bucket.close()
    progress.done(done)


def _models(folder: Path, reader: Reader, manifest: Manifest) -> None:
    for name in manifest.models:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise SettingsError(f"The backup is damaged: {name!r} is no name of a model's file.")
        place = folder.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(place.name + ".partial")
        with partial.open("wb") as file:
            for piece in archive.pieces(reader, f"models/{name}"):
                file.write(piece)
        partial.replace(place)


async def _sqlite(data: Path, reader: Reader, manifest: Manifest) -> None:
    for history in manifest.forms:
        beside = data / f"{history}.db{_BESIDE}"
        _remove(beside)
        database = Database(f"sqlite:///{beside}")
        try:
            async with database.write() as connection:
                await _rows(connection, history, reader, manifest)
            await _up_to_date(database, history)
            if problem := await migrations.problem(database, history):
                raise SettingsError(f"{beside}: {problem}")
        finally:
            await database.close()
    for history in migrations.HEADS:
        place = data / f"{history}.db"
        _remove(place)
        if history in manifest.forms:
            (data / f"{history}.db{_BESIDE}").rename(place)
    folder = os.open(data, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(file: Path) -> None:
    """And its log, which must never meet another database."""
    for ending in _SQLITE_FILES:
        file.with_name(file.name + ending).unlink(missing_ok=True)


async def _postgresql(database: Database, reader: Reader, manifest: Manifest) -> None:
    async with database.write() as connection:
        await migrations.alone(connection)
        for history in migrations.HEADS:
            await _drop(connection, history)
        for history in manifest.forms:
            await _rows(connection, history, reader, manifest)
    for history in migrations.HEADS:
        await _up_to_date(database, history)


async def _up_to_date(database: Database, history: str) -> None:
    """As this Homeport has it; and of the workers that had jobs then nobody works here."""
    await migrations.migrate(database, history)
    if history == "state":
        async with database.write() as connection:
            had = sa.update(jobs).where(jobs.c.status == "running")
            await connection.execute(had.values(status="queued", owner=None))


async def _drop(connection: AsyncConnection, history: str) -> None:
    metadata = await copies.there(connection, history)
    everything = [*metadata.sorted_tables, sa.Table(f"{history}_version", metadata)]
    for name in migrations.FOLLOWING[history]:
        await connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
    await connection.run_sync(metadata.drop_all, everything)


async def _rows(connection: AsyncConnection, history: str, reader: Reader, manifest: Manifest) -> None:
    """Tables of the form that the backup has, with its rows."""
    await migrations.make(connection, history, manifest.forms[history])
    metadata = await copies.there(connection, history)
    await copies.clear(connection, metadata)
    for copy in manifest.tables:
        if copy.history == history:
            if copy.name not in metadata.tables:
                raise SettingsError(f"The backup is damaged: there was no table {copy.name} then.")
            try:
                await copies.load(connection, metadata.tables[copy.name], copy, _data(reader, copy.parts))
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                raise SettingsError(f"This database does not take the rows of {copy.name}: {_kind(error)}.") from None


def _kind(error: DBAPIError) -> str:
    """Without the values, which belong to somebody."""
    return "they refer to others that are not there" if isinstance(error, IntegrityError) else type(error).__name__


def _data(reader: Reader, names: list[str]) -> Iterator[bytes]:
    for name in names:
        yield b"".join(archive.pieces(reader, name))
