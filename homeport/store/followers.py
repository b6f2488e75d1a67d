"""Whoever follows a log of events (store/events.py): what it has not had yet, in the order of numbers, as it comes.

What is said in this process is heard by `hear`. Rows tell the rest: whatever was said before, what comes from other
processes, and what was missed here. One query looks for all followers whether others have written more.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport import clock
from homeport.errors import Unavailable
from homeport.store.database import Database, unbroken

#: It is looked so often whether other processes have written more.
LOOK_SECONDS = 0.05
#: A follower asks so often whether it may go on, and is told that somebody is there when it has heard nothing for long.
BREATH_SECONDS, QUIET_SECONDS = 1.0, 15.0
#: Events that are read at once; and those heard that a follower has not taken yet, beyond which it reads the rows.
_SOME = 500

#: Whether there will be no more events of what is followed, as the connection sees it.
Over = Callable[[AsyncConnection], Awaitable[bool]]


class Told(NamedTuple):
    """data: JSON, as it is sent."""

    number: int
    event: str
    data: bytes


class _Follower:
    """last: the number of the last event that it has. look: there may be rows to be read."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.look = True
        self._news = asyncio.Event()
        self._heard: deque[Told] = deque(maxlen=_SOME)

    def hear(self, told: Told) -> None:
        self._heard.append(told)
        self._news.set()

    def wake(self) -> None:
        self.look = True
        self._news.set()

    def take(self) -> list[Told]:
        """What comes next of what was heard. What was missed is in the rows, or will be."""
        taken: list[Told] = []
        while self._heard:
            told = self._heard.popleft()
            if told.number == self.last + 1:
                taken.append(told)
                self.last = told.number
            elif told.number > self.last:
                self._heard.clear()
                self.look = True
        return taken

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()


class Followers:
    """events: the log's table. seq: its column that says what an event is about. of: the table of that."""

    def __init__(self, database: Database, events: sa.Table, seq: sa.ColumnElement[int], of: sa.Table) -> None:
        self._database = database
        self._events = events
        self._seq = seq
        self._of = of
        self._following: dict[int, set[_Follower]] = defaultdict(set)
        self._followed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False

    async def look(self, here: Callable[[], Collection[int]]) -> None:
        """Until cancelled. here: what is told of in this process, so that it is heard."""
        self._loop = asyncio.get_running_loop()
        while True:
            await self._followed.wait()
            away = self._following.keys() - here()
            if away:
                with suppress(Unavailable):
                    await unbroken(self._look_at(away))
            if not self._following:
                self._followed.clear()
            await clock.sleep(LOOK_SECONDS)

    def drain(self) -> None:
        """They end, to come again elsewhere. From any thread."""
        self._draining = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._wake_all)

    def hear(self, seq: int, told: Told) -> None:
        for follower in self._following.get(seq, ()):
            follower.hear(told)

    def wake(self, seq: int) -> None:
        """There may be rows to be read."""
        for follower in self._following.get(seq, ()):
            follower.wake()

    def written(self, seq: int, last: int) -> None:
        """Events up to a number are in the rows, for those who have not heard them."""
        for follower in self._following.get(seq, ()):
            if follower.last < last:
                follower.wake()

    async def follow(
        self, seq: int, after: int, over: Over, holds: Callable[[], bool]
    ) -> AsyncGenerator[Sequence[Told], None]:
        """As Events.follow."""
        follower = _Follower(after)
        self._following[seq].add(follower)
        self._followed.set()
        told_at = float("-inf")
        try:
            while True:
                ended, some = False, follower.take()
                if not some and follower.look:
                    follower.look = False
                    try:
                        some, ended = await unbroken(self._read(follower, seq, over))
                    except Unavailable:
                        if told_at < 0:
                            raise
                        follower.look = True  # it may be back before anybody notices
                        await clock.sleep(BREATH_SECONDS)
                if some or clock.monotonic() - told_at > QUIET_SECONDS:
                    told_at = clock.monotonic()
                    yield some
                    follower.look = follower.look or not some
                if ended or self._draining or not holds():
                    return
                if not some and not follower.look:
                    await follower.wait(BREATH_SECONDS)
        finally:
            self._following[seq].discard(follower)
            if not self._following[seq]:
                del self._following[seq]

    async def _read(self, follower: _Follower, seq: int, over: Over) -> tuple[list[Told], bool]:
        """The next rows, and whether these are the last of all."""
        table = self._events
        query = (
            sa.select(table.c.number, table.c.event, table.c.data)
            .where(self._seq == seq, table.c.number > follower.last)
            .order_by(table.c.number)
            .limit(_SOME)
        )
        async with self._database.read() as connection:
            ended = await over(connection)
            rows = [Told(*row) for row in await connection.execute(query)]
        if rows:
            follower.last = rows[-1].number
        if len(rows) == _SOME:
            follower.look, ended = True, False
        return rows, ended

    async def _look_at(self, seqs: Collection[int]) -> None:
        """Wakes those who follow what has told more, or is gone."""
        query = sa.select(self._of.c.seq, self._of.c.events).where(self._of.c.seq.in_(seqs))
        async with self._database.read() as connection:
            counts = {row.seq: row.events for row in await connection.execute(query)}
        for seq in seqs:
            for follower in self._following.get(seq, ()):
                if seq not in counts or counts[seq] > follower.last + 1:
                    follower.wake()

    def _wake_all(self) -> None:
        for seq in self._following:
            self.wake(seq)
