"""What the replicas share: counters, cached bytes, messages. In this process by default; over Redis in `redis.py`.

A charge counts against one limit, in one of three ways:

    a bucket        has a period: it gives back `limit / period` every second, which is OpenAI's arithmetic
    held            has none (requests at once): counts until it is given back
    money           `seeded`: counts until it is given back, which is when the database has what it really took; then
                    that counts for good. What was spent before this store knew of it comes from the database: until
                    somebody seeds it, it is `missing`

`take` charges all of a request's charges in one atomic step, or none. `give` settles them. Money is whole nanodollars,
below 2^53.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, NamedTuple, Protocol

import msgspec

from homeport import clock
from homeport.errors import SettingsError

#: What refilling may be wrong by, in units of the limit: what overflows by less, fits.
TOLERANCE = 1e-6
#: A held counter that nobody touched for so long is forgotten; money is then seeded anew.
IDLE_SECONDS = 2 * 86_400.0
_SWEEP_SECONDS = 60.0
#: Messages that wait for one slow subscriber; beyond it the oldest is lost.
_MESSAGES = 1000


class Charge(NamedTuple):
    """key: the counter's name, the same in every replica. period: seconds, or None. How much is charged is said apart:
    the charges of a caller stay the same from request to request."""

    key: str
    limit: int
    period: float | None
    seeded: bool = False


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What came of a `take`.

    refused: index of the first charge that does not fit. missing: indexes of money that nobody has seeded. With either,
    nothing was charged. used: of each charge, before this one and after its refill. session: goes back with `give`.
    share: the limits were divided by it, because the replicas cannot see each other just now.
    """

    refused: int | None
    used: Sequence[float]
    missing: Sequence[int] = ()
    session: int = 0
    share: int = 1


class Shared(Protocol):
    async def take(self, charges: Sequence[Charge], amounts: Sequence[float]) -> Taken:
        """Charge all or nothing, by the store's own clock. Never waits long: raises Unavailable (503) instead.

        An amount of 0 always fits.
        """
        ...

    def give(
        self, charges: Sequence[Charge], reserved: Sequence[float], used: Sequence[float], session: int = 0
    ) -> None:
        """Settle: what `take` charged, and what it came to. Returns at once; the order is kept, also with `take`.

        Called in the event loop's thread. session: of what was taken.
        """
        ...

    async def expect(self, key: str) -> None:
        """Call it before asking the database what was spent: what is settled from now on goes on top of the seed."""
        ...

    async def seed(self, key: str, used: int) -> None:
        """Say what was spent so far, unless somebody has: the sum of the costs of everything that has ended."""
        ...

    async def forget(self, keys: Iterable[str], killed: Iterable[str] = ()) -> None:
        """Let this money be seeded anew: the database has the requests of replicas that were killed.

        killed: their names; nothing is held for them any more.
        """
        ...

    async def publish(self, channel: str, message: bytes) -> None:
        """To everybody who listens now, this process too. Lost, without an error, while the store is away."""
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncGenerator[bytes, None]]:
        """`async with shared.subscribe("news") as messages: async for message in messages: ...`"""
        ...

    async def get(self, key: str) -> bytes | None:
        """None: not there, too old, or the store is away."""
        ...

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep for `ttl` seconds, memory permitting."""
        ...

    async def clear(self, prefix: str) -> None:
        """Keep nothing any more whose key begins so. Raises Unavailable."""
        ...

    @property
    def away(self) -> bool:
        """It is elsewhere, and cannot be reached just now."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


def connect(
    redis_url: str | None = None, *, on_failure: Literal["closed", "local"] = "closed", replica: str | None = None
) -> Shared:
    """The store that the settings name. Connects at start(). Raises SettingsError.

    replica: the name of this process, which no other ever had.
    """
    if redis_url is None:
        return MemoryShared()
    try:
        from homeport.store.redis import RedisShared
    except ModuleNotFoundError:
        raise SettingsError("Redis needs an extra: pip install 'homeport[redis]'.") from None
    return RedisShared(redis_url, on_failure=on_failure, replica=replica)


def share_of(limit: int, share: int) -> int:
    """One replica's part of a limit while it cannot see the others; none is left with nothing."""
    return max(1, limit // share) if limit else 0


class _Counter:
    """used: all that counts now. rate: what comes back a second. settled: money that was spent for good, a part of
    `used`; None where nobody has seeded it. late: what was settled since a seed is expected, None where none is.
    at: when it was last charged."""

    __slots__ = ("at", "late", "rate", "settled", "used")

    def __init__(self, now: float) -> None:
        self.used: float = 0
        self.at = now
        self.rate = 0.0
        self.settled: int | None = None
        self.late: int | None = None


class MemoryShared:
    """In this process. Every step is atomic because none of them waits."""

    away = False

    def __init__(self, *, cache_bytes: int = 64 * 2**20) -> None:
        self._counters: dict[str, _Counter] = {}
        self._sweep_at = clock.monotonic() + _SWEEP_SECONDS
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._kept_bytes = 0
        self._cache_bytes = cache_bytes
        self._subscribers: dict[str, set[asyncio.Queue[bytes]]] = {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def take(self, charges: Sequence[Charge], amounts: Sequence[float]) -> Taken:
        now = clock.monotonic()
        if now >= self._sweep_at:
            self._sweep(now)
        counters = self._counters
        used: list[float] = []
        missing: list[int] = []
        refused: int | None = None
        for (key, limit, period, seeded), amount in zip(charges, amounts, strict=True):
            counter = counters.get(key)
            if counter is None:
                counter = counters[key] = _Counter(now)
            before = counter.used
            if period is not None:
                rate = counter.rate = limit / period
                if before:
                    before -= (now - counter.at) * rate
                    if before < 0.0:
                        before = 0.0
            elif seeded and counter.settled is None:
                missing.append(len(used))
            if before + amount - limit > TOLERANCE and amount and refused is None and len(used) not in missing:
                refused = len(used)
            counter.used = before + amount
            counter.at = now
            used.append(before)
        if refused is not None or missing:
            for (key, _, _, _), before in zip(charges, used, strict=True):
                counters[key].used = before
        return Taken(refused, used, missing)

    def give(
        self, charges: Sequence[Charge], reserved: Sequence[float], used: Sequence[float], session: int = 0
    ) -> None:
        counters = self._counters
        for (key, limit, period, seeded), held, came_to in zip(charges, reserved, used, strict=True):
            counter = counters.get(key)
            if period is not None:
                now = clock.monotonic()
                if counter is None:
                    counter = counters[key] = _Counter(now)
                rate = counter.rate = limit / period
                left = counter.used - (now - counter.at) * rate
                if left < 0.0:
                    left = 0.0
                left += came_to - held
                counter.used = max(0.0, left)
                counter.at = now
            elif counter is not None:
                counter.used -= held
                if counter.settled is not None:
                    counter.used += came_to
                    counter.settled += int(came_to)
                elif counter.late is not None:
                    counter.late += int(came_to)
                elif counter.used <= 0 and not seeded:
                    del counters[key]

    async def expect(self, key: str) -> None:
        counter = self._counters.get(key)
        if counter is not None:
            counter.late = 0

    async def seed(self, key: str, used: int) -> None:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(clock.monotonic())
        if counter.settled is None:
            counter.settled = used + (counter.late or 0)
            counter.used += counter.settled
            counter.late = None

    async def forget(self, keys: Iterable[str], killed: Iterable[str] = ()) -> None:
        for key in keys:
            counter = self._counters.get(key)
            if counter is not None and counter.settled is not None:
                counter.used -= counter.settled
                counter.settled, counter.late = None, None

    def hold(self, key: str, amount: int) -> None:
        """What another store charged still counts here: this one stands in for it."""
        counter = self._counters[key] = _Counter(clock.monotonic())
        counter.used = amount

    def held(self, key: str) -> int:
        """What is charged on a counter without a period and was not given back."""
        counter = self._counters.get(key)
        return int(counter.used) - (counter.settled or 0) if counter is not None else 0

    def _sweep(self, now: float) -> None:
        """Memory stays bounded by what was used lately, whatever names clients make up."""
        self._sweep_at = now + _SWEEP_SECONDS
        for key, counter in list(self._counters.items()):
            idle = now - counter.at
            if counter.rate:
                full_again = counter.used <= idle * counter.rate
            else:
                full_again = counter.used == (counter.settled or 0) and idle > IDLE_SECONDS
            if full_again:
                del self._counters[key]

    async def publish(self, channel: str, message: bytes) -> None:
        for queue in self._subscribers.get(channel, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MESSAGES)
        listening = self._subscribers.setdefault(channel, set())
        listening.add(queue)
        messages = _each(queue)
        try:
            yield messages
        finally:
            await messages.aclose()
            listening.discard(queue)
            if not listening:
                self._subscribers.pop(channel, None)

    async def get(self, key: str) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        until, value = kept
        if until <= clock.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        self._drop(key)
        if len(value) > self._cache_bytes:
            return
        self._kept[key] = (clock.monotonic() + ttl, value)
        self._kept_bytes += len(value)
        while self._kept_bytes > self._cache_bytes:
            self._drop(next(iter(self._kept)))

    async def clear(self, prefix: str) -> None:
        for key in [key for key in self._kept if key.startswith(prefix)]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._kept_bytes -= len(dropped[1])


async def _each(queue: asyncio.Queue[bytes]) -> AsyncGenerator[bytes, None]:
    while True:
        yield await queue.get()
