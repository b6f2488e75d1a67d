"""Clients that hang up in the middle of their streams: how soon the upstream is left alone, and what stays in memory.

Waves of 1,000 clients: all have begun to read, then all connections are cut in the same moment. The upstream's streams
have no end of their own. After each wave, and a moment in which what was produced is counted and written, the resident
set is read.
"""

import asyncio
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import KEY
from bench.report import Goal, table
from bench.soak import growth
from tests.replicas.hanging_up import SETTINGS, Endless, wave

CLIENTS = 1000
#: Pools have their size after so many waves, and the tokenizer that counts what was produced is loaded.
WARM = 3
#: For the thread that counts and writes.
_SETTLING_SECONDS = 2.0


@dataclass(frozen=True)
class HangingUp:
    """seconds: of each wave, from the cut until the upstream works for nobody. resident: bytes after each."""

    seconds: tuple[float, ...]
    resident: tuple[int, ...]

    @property
    def slope(self) -> float:
        """Bytes a wave."""
        return growth(self.resident[WARM:])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"slope": self.slope}

    def table(self) -> str:
        rows = [
            [str(number), f"{seconds:.2f}", f"{resident / 1e6:.1f}"]
            for number, (seconds, resident) in enumerate(zip(self.seconds, self.resident, strict=True), 1)
        ]
        head = ["wave", "seconds until the upstream is left alone", "MB resident"]
        return f"{CLIENTS:,} clients hang up in the middle of their streams\n{table(head, rows)}"

    def goals(self) -> list[Goal]:
        return [
            Goal("slowest wave: until the upstream is left alone", max(self.seconds), 1.0, unit=" s"),
            Goal(f"memory that {CLIENTS:,} clients leave behind", self.slope / 1e6, 1.0, 0.1, unit=" MB"),
        ]


def run(folder: Path, *, waves: int) -> HangingUp:
    """Clients and upstream are this process, which stays on the core of what measures. Raises NotStarted."""
    processes.raise_file_limit()
    allowed, (core, measuring) = os.sched_getaffinity(0), processes.cores()
    os.sched_setaffinity(0, {measuring})
    try:
        return asyncio.run(_run(folder, waves, core))
    finally:
        os.sched_setaffinity(0, allowed)


async def _run(folder: Path, waves: int, core: int) -> HangingUp:
    upstream = Endless()
    seconds, resident = [], []
    async with upstream.serving(CLIENTS):
        with processes.homeport(folder, SETTINGS.format(port=upstream.port), core=core) as server:
            for _ in range(waves):
                seconds.append(await wave(server.port, KEY, upstream, CLIENTS))
                await asyncio.sleep(_SETTLING_SECONDS)
                resident.append(server.rss())
    return HangingUp(tuple(seconds), tuple(resident))
