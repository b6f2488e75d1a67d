"""Cells without walls, for tests of what is around them: code runs in this process, and nowhere else than in tests.

Its folder is the variable `data`, in the place of `/mnt/data`.
"""

import asyncio
import errno
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from homeport.sandbox.cell import Cell, Executed


class FakeCell:
    def __init__(self, folder: Path, waiting: asyncio.Event) -> None:
        self._waiting = waiting
        self._folder = folder
        self._variables: dict[str, Any] | None = None
        self._restarted = False
        self.closed = False

    @property
    def folder(self) -> Path:
        return self._folder

    async def execute(self, code: str) -> Executed:
        """Code that is `await nothing` waits until it is cancelled."""
        restarted, self._restarted = self._restarted, False
        if self._variables is None:
            self._variables = {"data": self._folder}
        if code == "await nothing":
            self._waiting.set()
            await asyncio.Event().wait()
        out, failed = io.StringIO(), ""
        with redirect_stdout(out):
            try:
                exec(code, self._variables)
            except Exception as error:
                full = isinstance(error, OSError) and error.errno == errno.ENOSPC
                failed = "disk" if full else f"{type(error).__name__}: {error}"
                print(failed)
        return Executed(out.getvalue(), failed, restarted=restarted)

    def die(self) -> None:
        self._variables, self._restarted = None, True

    async def close(self) -> None:
        self.closed = True


class FakeCells:
    """made: all that there were. waiting: one of them waits for nothing."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.made: list[FakeCell] = []
        self.waiting = asyncio.Event()

    async def open(self) -> None:
        """There is nothing to look at."""

    async def cell(self, folder: Path) -> Cell:
        self.made.append(FakeCell(folder, self.waiting))
        return self.made[-1]

    async def close(self) -> None:
        """Nothing runs."""
