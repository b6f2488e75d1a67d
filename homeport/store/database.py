"""The state's database: SQLite (a file) by default, PostgreSQL by `database_url`. SQL is SQLAlchemy Core, written once.

SQLite has one writer at a time and readers beside it (WAL): a writing transaction begins with BEGIN IMMEDIATE, so it
waits for its turn at its beginning and never fails in the middle, and is on disk when it ends (synchronous=FULL).
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from homeport import clock
from homeport.errors import SettingsError, Unavailable

T = TypeVar("T")

#: Seconds that a writer waits for another process's transaction.
BUSY_SECONDS = 10.0
#: Until it is tried again to begin with a file.
_AGAIN_SECONDS = 0.01
READERS = 8
#: Of PostgreSQL: seconds until connected, and for one statement. A server that hangs must not hang this one.
_PATIENCE = {"timeout": 5.0, "command_timeout": 30.0}
#: How often a connection that listens is asked whether it is still one.
_LISTENING_SECONDS = 15.0


class Database:
    """Transactions on one database. Raises Unavailable (503) when it cannot be reached."""

    def __init__(self, url: str, *, synchronous: str = "FULL") -> None:
        """url: `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/NAME`. Raises SettingsError."""
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise SettingsError("server.database_url is no URL. Write postgresql://USER:PASSWORD@HOST/NAME.") from None
        kind = parsed.get_backend_name()
        if kind == "postgres":
            kind = "postgresql"
        if kind not in ("sqlite", "postgresql"):
            raise SettingsError(f"server.database_url: {kind!r} is not supported. Use postgresql://, or leave it out.")
        self.sqlite = kind == "sqlite"
        self.url = parsed.set(drivername="sqlite+aiosqlite" if self.sqlite else "postgresql+asyncpg")
        self._synchronous = synchronous
        self._turn = asyncio.Lock()
        if self.sqlite:
            self._make_file()
            self._reader = self._sqlite("BEGIN", READERS, synchronous)
            self._writer = self._sqlite("BEGIN IMMEDIATE", 1, synchronous)
        else:
            self._reader = self._writer = self._postgresql()

    def _sqlite(self, begin: str, size: int, synchronous: str) -> AsyncEngine:
        engine = create_async_engine(
            self.url, pool_size=size, max_overflow=0, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
        )

        @sa.event.listens_for(engine.sync_engine, "connect")
        def _(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
            cursor = connection.cursor()
            _write_ahead(cursor)
            cursor.execute(f"PRAGMA synchronous={synchronous}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @sa.event.listens_for(engine.sync_engine, "begin")
        def _(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _make_file(self) -> None:
        """Readable by its owner alone; SQLite gives the files beside it the same mode.

        A file that is there is not touched: closing it would end all locks that this process has on it, those of
        SQLite's own connections too, and another process could then take the log from under them.
        """
        file = self.file
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _postgresql(self) -> AsyncEngine:
        try:
            return create_async_engine(
                self.url,
                connect_args=_PATIENCE,
                pool_size=READERS,
                max_overflow=READERS,
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ModuleNotFoundError:
            raise SettingsError("PostgreSQL needs an extra: pip install 'homeport[postgres]'.") from None

    def another(self) -> "Database":
        """The same one, for another event loop: connections belong to the loop that made them."""
        return Database(self.url.render_as_string(hide_password=False), synchronous=self._synchronous)

    @property
    def file(self) -> Path | None:
        """SQLite's file."""
        return Path(self.url.database) if self.sqlite and self.url.database else None

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection, None]:
        """One consistent view, for reading alone."""
        with _reachable():
            async with self._reader.connect() as connection:
                if not self.sqlite:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction: committed when the block ends, taken back when it raises."""
        with _reachable():
            if not self.sqlite:
                async with self._writer.begin() as connection:
                    yield connection
                return
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """PostgreSQL: call `heard` for every NOTIFY, until cancelled. Raises Unavailable: the connection is lost."""
        with _reachable():
            async with self._reader.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                lost = asyncio.Event()
                driver.add_termination_listener(lambda _: lost.set())
                try:
                    await driver.add_listener(channel, lambda *_: heard())
                    while not lost.is_set():
                        await driver.execute("SELECT 1")
                        with suppress(TimeoutError):
                            async with asyncio.timeout(_LISTENING_SECONDS):
                                await lost.wait()
                except Exception as error:  # the driver's own, which SQLAlchemy has not translated
                    raise Unavailable("The connection that listens is lost.") from error
                finally:
                    await connection.invalidate()  # nobody else shall have it
        raise Unavailable("The connection that listens is lost.")

    async def close(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """What comes of it. Cancelled meanwhile, it ends first: a statement that is cut off costs its connection."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await task
        raise


def _write_ahead(cursor: Any) -> None:
    """Of a file that is new to several processes at once one makes it so, and the others are told at once that it is
    locked: for that SQLite waits for nobody."""
    until = clock.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() > until:
                raise
            sleep(_AGAIN_SECONDS)
        else:
            return


class _reachable:
    """The driver's words may hold addresses, SQL and values: none of them reaches a client or a log."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sa.exc.IntegrityError):
            return  # a rule of the tables, for whoever wrote to say what it means
        # Of a connection that is lost while it is made, SQLAlchemy leaves it in the driver's words.
        untranslated = type(error).__module__.startswith("asyncpg.")
        if untranslated or isinstance(error, DBAPIError | OSError | sa.exc.TimeoutError):
            raise Unavailable("The database cannot be reached. Try again in a moment.") from error
