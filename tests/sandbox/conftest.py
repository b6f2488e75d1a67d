"""Cells as the server has them, in an event loop that a file's tests share."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from homeport.sandbox.cell import Cell, Executed
from homeport.sandbox.warm import WarmCells
from homeport.settings import CodeInterpreter

T = TypeVar("T")
#: Small, so that whoever takes too much is soon done; time is what a slow machine has no less of than it needs.
SMALL: dict[str, Any] = {"memory_mb": 192, "disk_mb": 16, "processes": 24, "seconds": 300, "idle_minutes": 60}


def _can_wall() -> bool:
    """Whether bubblewrap is there, and this machine lets it work."""
    command = ["bwrap", "--unshare-all", "--dev-bind", "/", "/", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_bubblewrap = pytest.mark.skipif(not _can_wall(), reason="needs a bubblewrap that works")


def members(folder: Path) -> dict[int, str]:
    """Of the cell whose folder this is: its processes, by their numbers inside, and the states of their threads."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder) in (process / "mountinfo").read_text():
                told = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
                threads = [stat.read_text().rpartition(")")[2].split()[0] for stat in process.glob("task/*/stat")]
                found[int(told["NSpid"].split()[-1])] = "".join(threads)
    return found


@asynccontextmanager
async def opened(data: Path, **settings: Any) -> AsyncIterator[WarmCells]:
    cells = WarmCells(CodeInterpreter(**{**SMALL, **settings}), data=data, entries=200)
    await cells.open()
    assert cells.reason == ""
    try:
        yield cells
    finally:
        await cells.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def cells(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCells]:
    """Small ones. Their data folder has a file with a secret."""
    if not _can_wall():
        pytest.skip("needs a bubblewrap that works")
    data = tmp_path_factory.mktemp("data")
    (data / "secret").write_text("the secret")
    context = opened(data)
    yield loop.run(context.__aenter__())
    loop.run(context.__aexit__(None, None, None))


class Ran:
    """One cell, used from a test without awaiting."""

    def __init__(self, loop: asyncio.Runner, cell: Cell) -> None:
        self._loop = loop
        self.cell = cell
        self.folder = cell.folder

    def __call__(self, code: str) -> Executed:
        return self._loop.run(self.cell.execute(code))

    def logs(self, code: str) -> str:
        """Of code that runs to its end."""
        done = self(code)
        assert done.failed == "", done
        return done.logs


@pytest.fixture(scope="module")
def ran(loop: asyncio.Runner, cells: WarmCells, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """One cell for all tests of a file, the worse for what they have done to it."""
    cell = loop.run(cells.cell(tmp_path_factory.mktemp("cell")))
    yield Ran(loop, cell)
    loop.run(cell.close())


@pytest.fixture
def wait(loop: asyncio.Runner) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """What a coroutine returns."""
    return loop.run
