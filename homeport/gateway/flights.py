"""Equal requests that run at the same time ask once: a flight is an answer on its way, and everybody who listens.

    begins     with the first who asks, in a task of its own: the work goes on when its first listener leaves
    joined     by whoever asks the same meanwhile; everybody gets the answer from its beginning, as it comes
    paid       by one listener; when that one leaves, by the next one. For the others it is an answer from the cache
    ends       with its answer, or with its error, for everybody; or with its last listener, and nothing is kept then

An answer that becomes too large to be kept is not remembered from its beginning any more, cannot be joined, and comes
as fast as the slowest of its listeners reads.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from homeport.backends.capabilities import Answer, Frame, Usage
from homeport.errors import Unavailable

if TYPE_CHECKING:
    from homeport.gateway.ledger import Entry

#: Bytes that are read ahead of the slowest listener of an answer that is not remembered.
_AHEAD = 256 * 1024


class Found(NamedTuple):
    """An answer that was there already. told: header lines that say so; age: seconds; alike: its question only means
    the same."""

    frames: Sequence[Frame]
    told: bytes
    age: int
    alike: bool = False


class Work(NamedTuple):
    """What a flight does. find: an answer that is there already; ask: a new one; keep: called with the frames of a new
    one that has ended, and waited for when everybody has it. begin: what must be there as long as it flies."""

    find: Callable[[], Awaitable[Found | None]]
    ask: Callable[[], Awaitable[Answer]]
    keep: Callable[[Sequence[Frame]], Awaitable[None] | None]
    begin: Callable[[], AbstractContextManager[None]] = nullcontext


class Flights:
    """All of this process. max_bytes: of all answers on their way that are remembered; largest: of one."""

    def __init__(self, *, max_bytes: int, largest: int) -> None:
        self._max_bytes = max_bytes
        self._largest = largest
        self._bytes = 0
        self._listeners = 0
        self._joinable: dict[bytes, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def listeners(self) -> int:
        """Requests that ask, or wait for one that does."""
        return self._listeners

    def find(self, key: bytes) -> "Flight | None":
        return self._joinable.get(key)

    def begin(self, key: bytes, entry: "Entry", work: Work, *, joinable: bool) -> "Flight":
        """Whoever begins one listens to it before anything is waited for."""
        flight = Flight(self, key, entry, work)
        if joinable:
            self._joinable[key] = flight
        task = flight.task = asyncio.get_running_loop().create_task(flight.fly(), name="flight")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def close(self) -> None:
        """Nobody listens any more; what is being shared with other replicas is given up."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def listen(self, more: int) -> None:
        self._listeners += more

    def forget(self, flight: "Flight") -> None:
        """It cannot be joined any more."""
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]

    def has_room(self, flight: "Flight", more: int) -> bool:
        """For so many bytes of it, which are counted then."""
        if flight.size + more > self._largest or self._bytes + more > self._max_bytes:
            return False
        self._bytes += more
        return True

    def free(self, size: int) -> None:
        self._bytes -= size


class Flight:
    """request_id: of the one who asked. found: the answer was there already. error: how it ended, if badly. size: bytes
    that are remembered."""

    task: asyncio.Task[None]

    def __init__(self, flights: Flights, key: bytes, entry: "Entry", work: Work) -> None:
        self.key = key
        self.request_id = entry.call.request_id
        self.found: Found | None = None
        self.error: Exception | None = None
        self.size = 0
        self._flights = flights
        self._entry = entry
        self._payer: Entry | None = entry
        self._work = work
        self._frames: list[Frame] = []
        self._dropped = 0
        self._unread = 0
        self._remembered = True
        self._over = False
        self._usage: Usage | None = None
        self._places: dict[Entry, int] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None

    async def listen(self, entry: "Entry") -> AsyncGenerator[Frame, None]:
        """Its frames from the beginning. Raises what it fails with. Closing it is leaving."""
        self._places[entry] = 0
        self._flights.listen(1)
        entry.cache_hit = entry is not self._payer
        try:
            while True:
                place = self._places[entry]
                if place < self._dropped + len(self._frames):
                    frame = self._frames[place - self._dropped]
                    self._places[entry] = place + 1
                    if not self._remembered:
                        self._drop_what_all_have()
                    yield frame
                elif not self._over:
                    await self._news()
                elif self.error is not None:
                    raise self.error
                else:
                    return
        finally:
            del self._places[entry]
            self._flights.listen(-1)
            await self._left(entry)

    async def _left(self, entry: "Entry") -> None:
        if self._over:
            if entry is self._payer and self._usage is not None:
                entry.usage = self._usage  # all of it was made, however much of it was read
            if not self._places:
                self.error = None  # its traceback leads here
        elif not self._places:
            self._flights.forget(self)
            self.task.cancel()
            await asyncio.wait({self.task})
        else:
            if entry is self._payer:
                self._pays(next(iter(self._places)))
                entry.cache_hit = True
            if not self._remembered:
                self._drop_what_all_have()

    def _pays(self, entry: "Entry") -> None:
        """Who asked may be gone; what its request has come to is known of the one who pays."""
        self._payer = entry
        entry.cache_hit = False
        entry.target = self._entry.target
        entry.call.model = self._entry.call.model

    async def fly(self) -> None:
        kept: Awaitable[None] | None = None
        try:
            with self._work.begin():
                kept = await self._flown()
        except asyncio.CancelledError:
            self.error = Unavailable("The server is about to stop. Try again in a moment.")
            raise
        except Exception as error:
            self.error = error
        finally:
            self._over = True
            self._flights.forget(self)
            self._flights.free(self.size)
            if self._payer is not None:
                self._pays(self._payer)
            self._tell()
        if kept is not None:
            await kept

    async def _flown(self) -> Awaitable[None] | None:
        """What keeps the answer, if anything is to."""
        self.found = await self._work.find()
        if self.found is not None:
            self._payer = None
            for entry in self._places:
                entry.cache_hit = True
            self._frames.extend(self.found.frames)
            return None
        await self._ask()
        return self._work.keep(self._frames) if self._remembered else None

    async def _ask(self) -> None:
        async with aclosing(await self._work.ask()) as answer:
            self._pays(self._payer or self._entry)
            self._take(answer.first)
            if answer.rest is not None:
                async for frame in answer.rest:
                    self._take(frame)
                    if not self._remembered:
                        await self._until_read()

    def _take(self, frame: Frame) -> None:
        if frame.usage is not None:
            self._usage = frame.usage
        self._frames.append(frame)
        self._unread += len(frame.data)
        if self._remembered:
            if self._flights.has_room(self, len(frame.data)):
                self.size += len(frame.data)
            else:
                self._remembered = False
                self._flights.forget(self)
                self._flights.free(self.size)
                self.size = 0
                self._drop_what_all_have()
        self._tell()

    def _drop_what_all_have(self) -> None:
        had = min(self._places.values(), default=0) - self._dropped
        if had > 0:
            self._unread -= sum(len(frame.data) for frame in self._frames[:had])
            del self._frames[:had]
            self._dropped += had
        if self._room is not None and not self._room.done() and self._unread <= _AHEAD:
            self._room.set_result(None)

    async def _until_read(self) -> None:
        if self._unread > _AHEAD:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
