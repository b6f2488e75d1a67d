"""Cells of the code interpreter: until an execution has ended in a new one, in one that is warm, and after the end of
one; beside them a Python without walls, which does the same and ends.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.processes import NotStarted
from bench.report import Goal, table
from homeport.sandbox.cell import Executed
from homeport.sandbox.warm import WarmCells
from homeport.settings import CodeInterpreter

_CODE = "1 + 1"
#: Warm executions of a round: one is too short to be timed.
_EXECUTIONS = 50


@dataclass
class Cells:
    """Milliseconds, medians of rounds. bare: a Python of its own, without walls. together: cells that begin at once, of
    each."""

    bare_ms: float
    cold_ms: float
    again_ms: float
    warm_ms: float
    together: int
    together_ms: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        rows = [
            ["a Python without walls, begun and ended", f"{self.bare_ms:.0f}"],
            ["the first execution of a new cell", f"{self.cold_ms:.0f}"],
            ["the first one after a cell's end", f"{self.again_ms:.0f}"],
            [f"each of {self.together} new cells at once", f"{self.together_ms:.0f}"],
            ["an execution of a warm one", f"{self.warm_ms:.2f}"],
        ]
        return f"cells\n{table(['', 'ms'], rows)}"

    def goals(self) -> list[Goal]:
        return []


def run(folder: Path, *, rounds: int = 5, together: int = 8) -> Cells:
    """Raises NotStarted: this machine has no cells."""
    return asyncio.run(_measured(folder, rounds, together))


async def _measured(folder: Path, rounds: int, together: int) -> Cells:
    cells = WarmCells(CodeInterpreter(cells=together), data=folder / "data")
    await cells.open()
    if cells.reason:
        raise NotStarted(cells.reason)
    found: dict[str, list[float]] = {name: [] for name in ("bare", "cold", "again", "warm", "together")}
    try:
        for number in range(rounds):
            await _round(cells, _folders(folder / str(number), together), found)
        medians = {name: statistics.median(seconds) * 1e3 for name, seconds in found.items()}
    finally:
        await cells.close()
    return Cells(medians["bare"], medians["cold"], medians["again"], medians["warm"], together, medians["together"])


def _folders(folder: Path, count: int) -> list[Path]:
    folders = [folder / str(number) for number in range(count)]
    for each in folders:
        each.mkdir(parents=True)
    return folders


async def _round(cells: WarmCells, folders: Sequence[Path], found: dict[str, list[float]]) -> None:
    cell = await cells.cell(folders[0])

    async def once() -> None:
        _expect(await cell.execute(_CODE))

    async def often() -> None:
        for _ in range(_EXECUTIONS):
            await once()

    found["bare"].append(await _taken(_bare))
    found["cold"].append(await _taken(once))
    found["warm"].append(await _taken(often) / _EXECUTIONS)
    await cell.execute("import os; os._exit(1)")
    found["again"].append(await _taken(once))
    await cell.close()
    found["together"].append(await _taken(lambda: _all_at_once(cells, folders)) / len(folders))


async def _all_at_once(cells: WarmCells, folders: Sequence[Path]) -> None:
    async def one(folder: Path) -> None:
        _expect(await (await cells.cell(folder)).execute(_CODE))

    async with asyncio.TaskGroup() as group:
        for folder in folders:
            group.create_task(one(folder))


async def _bare() -> None:
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-I", "-c", f"print({_CODE})"], check=True, stdout=subprocess.DEVNULL
    )


async def _taken(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def _expect(done: Executed) -> None:
    assert done.logs == "2\n", done
