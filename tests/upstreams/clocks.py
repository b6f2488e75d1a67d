"""Clocks for what waits on upstreams: nothing really waits, and no two runs differ."""

import asyncio
from dataclasses import dataclass, field

import pytest

from homeport import clock
from homeport.backends.upstreams import doors
from homeport.gateway import attempts, ledger
from tests import clocks


@dataclass
class Skipping:
    """It stands still until somebody waits, and who waits is there at once. waits: what was waited for, in seconds.

    It is the clock of attempts and doors, and of the entries that say when a request came, and nobody else's: the
    other servers of a test run go on as they did.
    """

    at: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return clock.now()

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds
        await asyncio.sleep(0)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (attempts, doors, ledger):
            monkeypatch.setattr(module, "clock", self)


@dataclass
class Stepping:
    """It goes on when it is told to, and then whoever is due goes on, in the order of when."""

    at: float = 1000.0
    _waiting: list[tuple[float, int, "asyncio.Future[None]"]] = field(default_factory=list)
    _count: int = 0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._waiting.append((self.at + seconds, self._count, until))
        await until

    async def step(self, seconds: float = 0.0) -> None:
        """Until everybody who is due has gone on."""
        end = self.at + seconds
        await _settle()
        while self._waiting and min(self._waiting)[0] <= end:
            first = min(self._waiting)
            self._waiting.remove(first)
            self.at = max(self.at, first[0])
            if not first[2].done():
                first[2].set_result(None)
            await _settle()
        self.at = end

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clocks.own(monkeypatch, "backends.upstreams.doors", monotonic=self.monotonic, sleep=self.sleep)


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
