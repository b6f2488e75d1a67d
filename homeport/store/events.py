"""What runs and responses tell of themselves: a log of events each, numbered from 0, for whoever watches.

Whoever works on it tells (`Telling`): those who watch in the same process hear at once; the rows are written with the
next commit, or some at once every FLUSH_SECONDS, so that a token costs no commit. Watchers elsewhere read the rows.
Whoever does not work on it (who makes it, or cancels what nobody has) writes events in its own transaction (`tell`).
A number is given once: the row it is about counts them, and one writer at a time has that.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import Unavailable
from homeport.store.database import Database

#: Between what is said and the commit of its row, where nothing else is committed.
FLUSH_SECONDS = 0.05
#: A watcher looks for rows of other processes so often; and is told that somebody is there after so long.
LOOK_SECONDS, QUIET_SECONDS = 0.2, 15.0
#: Events that are read at once.
_SOME = 500
#: Of those that a watcher in this process has not taken yet: from there on it reads the rows.
_BEHIND = 1000


class Told(NamedTuple):
    """data: JSON, as it is sent."""

    number: int
    event: str
    data: bytes


class _Watcher:
    """Of one run, in this process."""

    def __init__(self) -> None:
        self.heard: deque[Told] = deque(maxlen=_BEHIND)
        self.news = asyncio.Event()


class Events:
    """events: their table. of: that of what they are about."""

    def __init__(self, database: Database, events: sa.Table, of: sa.Table) -> None:
        self._database = database
        self._events = events
        self._of = of
        (self._seq,) = (column for column in events.columns if column.name.endswith("_seq"))
        self._watchers: dict[int, set[_Watcher]] = defaultdict(set)

    async def tell(self, connection: AsyncConnection, seq: int, events: Sequence[tuple[str, bytes]]) -> int:
        """In the caller's transaction. The number of the first. After the commit call `told`."""
        counted = sa.update(self._of).where(self._of.c.seq == seq).values(events=self._of.c.events + len(events))
        after: int | None = await connection.scalar(counted.returning(self._of.c.events))
        if after is None:
            return 0
        first = after - len(events)
        await self._insert(connection, seq, [Told(first + at, *event) for at, event in enumerate(events)])
        return first

    def told(self, seq: int) -> None:
        """There are rows to be read."""
        for watcher in self._watchers.get(seq, ()):
            watcher.news.set()

    @asynccontextmanager
    async def telling(
        self, seq: int, first: int, hold: Callable[[AsyncConnection], Awaitable[object]]
    ) -> AsyncGenerator["Telling", None]:
        """first: the number of the next, as the row has it. hold: raises where the work is somebody else's by now.

        What was said is written at its end, where it can be: others have heard it, and no number is given twice.
        """
        telling = Telling(self, self._database, seq, first, hold)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(telling.run())
            try:
                yield telling
            finally:
                writing.cancel()
                with suppress(Exception):
                    await telling.flush()

    async def follow(
        self, seq: int, after: int, over: Callable[[AsyncConnection], Awaitable[bool]]
    ) -> AsyncGenerator[Told | None, None]:
        """Those after a number (-1: all), in their order, until there will be none. over: whether it has ended, asked
        before the rows are looked at. None: nothing was heard for long.

        Raises Unavailable only before the first.
        """
        watcher = _Watcher()
        self._watchers[seq].add(watcher)
        try:
            last, quiet = after, clock.monotonic()
            first = True
            while True:
                ended, rows = False, list[Told]()
                try:
                    async with self._database.read() as connection:
                        ended = await over(connection)
                        rows = await self._rows(connection, seq, last)
                except Unavailable:  # it may be back before anybody notices
                    if first:
                        raise
                first = False
                for told in rows:
                    yield told
                    last, quiet = told.number, clock.monotonic()
                if ended and len(rows) < _SOME:
                    return
                if len(rows) < _SOME:
                    async for told in self._heard(watcher, last):
                        yield told
                        last, quiet = told.number, clock.monotonic()
                if clock.monotonic() - quiet > QUIET_SECONDS:
                    yield None
                    quiet = clock.monotonic()
        finally:
            self._watchers[seq].discard(watcher)
            if not self._watchers[seq]:
                del self._watchers[seq]

    async def _heard(self, watcher: _Watcher, last: int) -> AsyncGenerator[Told, None]:
        """What is said in this process, until the rows are to be looked at."""
        while True:
            while watcher.heard:
                told = watcher.heard.popleft()
                if told.number <= last:
                    continue
                if told.number > last + 1:  # somebody else has said something in between
                    watcher.heard.appendleft(told)
                    watcher.news.clear()
                    await clock.sleep(FLUSH_SECONDS)
                    return
                yield told
                last = told.number
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await watcher.news.wait()
            watcher.news.clear()
            if not watcher.heard:
                return

    def hear(self, seq: int, told: Told) -> None:
        for watcher in self._watchers.get(seq, ()):
            watcher.heard.append(told)
            watcher.news.set()

    async def write(self, connection: AsyncConnection, seq: int, events: Sequence[Told]) -> None:
        """With numbers that were given already."""
        if events:
            await self._insert(connection, seq, events)
            counted = sa.update(self._of).where(self._of.c.seq == seq).values(events=events[-1].number + 1)
            await connection.execute(counted)

    async def _insert(self, connection: AsyncConnection, seq: int, events: Sequence[Told]) -> None:
        if events:
            rows = [{self._seq.name: seq, **told._asdict()} for told in events]
            await connection.execute(sa.insert(self._events), rows)

    async def _rows(self, connection: AsyncConnection, seq: int, last: int) -> list[Told]:
        table = self._events
        query = (
            sa.select(table.c.number, table.c.event, table.c.data)
            .where(self._seq == seq, table.c.number > last)
            .order_by(table.c.number)
            .limit(_SOME)
        )
        return [Told(*row) for row in await connection.execute(query)]


class Telling:
    """Of one who works on something, within its `with` block."""

    def __init__(
        self,
        events: Events,
        database: Database,
        seq: int,
        first: int,
        hold: Callable[[AsyncConnection], Awaitable[object]],
    ) -> None:
        self._events = events
        self._database = database
        self._seq = seq
        self._next = first
        self._hold = hold
        self._unwritten: list[Told] = []
        self._turn = asyncio.Lock()
        self._said = asyncio.Event()

    def say(self, event: str, data: bytes) -> None:
        told = Told(self._next, event, data)
        self._next += 1
        self._unwritten.append(told)
        self._events.hear(self._seq, told)
        self._said.set()

    async def write(self, connection: AsyncConnection) -> None:
        """All that was said, with the caller's transaction, which is committed or the work is over."""
        async with self._turn:
            unwritten, self._unwritten = self._unwritten, []
            await self._events.write(connection, self._seq, unwritten)

    async def flush(self) -> None:
        async with self._turn:
            unwritten = self._unwritten
            if not unwritten:
                return
            async with self._database.write() as connection:
                await self._hold(connection)
                await self._events.write(connection, self._seq, unwritten)
            self._unwritten = self._unwritten[len(unwritten) :]

    async def run(self) -> None:
        """Writes what was said, until cancelled. Raises what `hold` raises."""
        while True:
            await self._said.wait()
            self._said.clear()
            await clock.sleep(FLUSH_SECONDS)
            with suppress(Unavailable):  # with the next commit, then
                await self.flush()
