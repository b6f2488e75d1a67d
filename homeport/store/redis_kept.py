"""Bytes that are kept in Redis, for `Shared.get` and `set`: what is wanted at the same time is asked for together.

Nobody waits long for them: when Redis does not answer within the deadline nothing is kept there for a while.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from homeport import clock

T = TypeVar("T")
_FAILURES = (RedisError, OSError, TimeoutError)
#: In one command, or one pipeline.
_AT_ONCE = 32
#: Bytes that wait to be written; what comes on top is not kept.
_MOST_WAITING = 64 * 2**20
_CLEARING_SECONDS = 10.0
_CLEARED_AT_ONCE = 1000


class _Read(NamedTuple):
    key: str
    waiter: "asyncio.Future[bytes | None]"


class _Write(NamedTuple):
    key: str
    value: bytes
    milliseconds: int
    waiter: "asyncio.Future[None]"


class KeptInRedis:
    def __init__(self, client: Redis, prefix: str, *, deadline: float, pause: float) -> None:
        """deadline: seconds for an answer; pause: after a failure it is left alone so long."""
        self._client = client
        self._prefix = prefix
        self._deadline = deadline
        self._pause = pause
        self._quiet_until = float("-inf")
        self._reads: deque[_Read] = deque()
        self._writes: deque[_Write] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._working = asyncio.get_running_loop().create_task(self._work(), name="redis-kept")

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._working is not None:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working
            self._working = None
        for read in self._reads:
            _answer(read.waiter, None)
        for write in self._writes:
            _answer(write.waiter, None)

    async def get(self, key: str) -> bytes | None:
        if self._is_quiet():
            return None
        read = _Read(self._prefix + key, asyncio.get_running_loop().create_future())
        self._reads.append(read)
        self._wake.set()
        return await read.waiter

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        if self._is_quiet() or self._waiting + len(value) > _MOST_WAITING:
            return
        milliseconds = max(1, round(ttl * 1000))
        write = _Write(self._prefix + key, value, milliseconds, asyncio.get_running_loop().create_future())
        self._writes.append(write)
        self._waiting += len(value)
        self._wake.set()
        await write.waiter

    async def clear(self, prefix: str) -> bool:
        """False: Redis did not answer."""
        try:
            async with asyncio.timeout(_CLEARING_SECONDS):
                found = [
                    key async for key in self._client.scan_iter(f"{self._prefix}{prefix}*", count=_CLEARED_AT_ONCE)
                ]
                for place in range(0, len(found), _CLEARED_AT_ONCE):
                    await self._client.unlink(*found[place : place + _CLEARED_AT_ONCE])
        except _FAILURES:
            return False
        return True

    def _is_quiet(self) -> bool:
        return self._working is None or clock.monotonic() < self._quiet_until

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._reads or self._writes:
                await self._read(_taken(self._reads))
                await self._write(_taken(self._writes))

    async def _read(self, wanted: Sequence[_Read]) -> None:
        values: Sequence[bytes | None] | None = None
        try:
            if wanted:
                values = await self._asked(lambda: self._client.mget([one.key for one in wanted]))
        finally:
            for place, one in enumerate(wanted):
                _answer(one.waiter, values[place] if values is not None else None)

    async def _write(self, wanted: Sequence[_Write]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for one in wanted:
            pipeline.set(one.key, one.value, px=one.milliseconds)
            self._waiting -= len(one.value)
        try:
            if wanted:
                await self._asked(lambda: pipeline.execute(raise_on_error=False))
        finally:
            for one in wanted:
                _answer(one.waiter, None)

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """None: there is no answer, and nobody asks again for a while."""
        if self._is_quiet():
            return None
        try:
            return await within(self._deadline, ask())
        except _FAILURES:
            self._quiet_until = clock.monotonic() + self._pause
            return None


def _taken(queue: "deque[T]") -> list[T]:
    return [queue.popleft() for _ in range(min(len(queue), _AT_ONCE))]


def _answer(waiter: "asyncio.Future[Any]", value: Any) -> None:
    if not waiter.done():
        waiter.set_result(value)


async def within(seconds: float, asked: Awaitable[Any]) -> Any:
    """Raises TimeoutError. A loop that was busy is not mistaken for a Redis that is slow: answers that have arrived by
    then are read."""
    asking = asyncio.ensure_future(asked)
    try:
        await asyncio.wait({asking}, timeout=seconds)
        for _ in range(3):
            if not asking.done():
                await asyncio.sleep(0)
        if not asking.done():
            raise TimeoutError(f"no answer within {seconds} s")
        return asking.result()
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
