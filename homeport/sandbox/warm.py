"""The cells of this machine: at most so many processes at once, kept warm until somebody else needs the place."""

import asyncio
import logging
from pathlib import Path
from weakref import WeakValueDictionary

from homeport.errors import Unavailable
from homeport.sandbox import probe
from homeport.sandbox.bubblewrap import Walls
from homeport.sandbox.cell import ENTRIES, Executed, Limits
from homeport.sandbox.running import NotStarted, Running
from homeport.settings import CodeInterpreter

log = logging.getLogger("homeport")


class WarmCells:
    """Cells, of bubblewrap's walls. data: Homeport's folder, which no cell sees. entries: of a
    cell's folder."""

    def __init__(self, settings: CodeInterpreter, *, data: Path, entries: int = ENTRIES) -> None:
        self._settings = settings
        self.data = data
        self._limits = Limits(
            settings.memory_mb, settings.disk_mb, settings.seconds, settings.processes, entries=entries
        )
        self._reason = "The code interpreter is not looked at yet."
        self._walls: Walls | None = None
        self.seconds: float = settings.seconds
        self.idle_seconds: float = settings.idle_minutes * 60
        #: Of those that work at once.
        self.places = asyncio.Semaphore(settings.cells)
        self._known: WeakValueDictionary[Path, WarmCell] = WeakValueDictionary()
        self._warm: set[WarmCell] = set()
        self._closed = False

    @property
    def reason(self) -> str:
        return self._reason

    async def open(self) -> None:
        """Really runs code in a cell, and looks whether its walls hold."""
        self._walls, self._reason = await probe.walls(self._settings, self._limits, hidden=[self.data])
        if self._reason and self._settings.enabled:
            log.info("%s", self._reason)

    async def cell(self, folder: Path) -> "WarmCell":
        """The same one for the same folder. Its process begins with its first execution."""
        self._must_be_there()
        cell = self._known.get(folder)
        if cell is None:
            cell = self._known[folder] = WarmCell(self, folder)
        return cell

    async def close(self) -> None:
        self._closed = True
        for cell in tuple(self._warm):
            await cell.close()

    def _must_be_there(self) -> Walls:
        if self._closed:
            raise Unavailable("The server ends, and runs no code any more. Try again.")
        if self._walls is None:
            raise Unavailable(self._reason)
        return self._walls

    async def started(self, cell: "WarmCell") -> Running:
        """A process for it. The caller has one of the places, so whoever has a process too many does nothing."""
        walls = self._must_be_there()
        self._warm.add(cell)
        while len(self._warm) > self._settings.cells:
            await min((other for other in self._warm if not other.works), key=lambda other: other.used).stop()
        try:
            running = await Running.start(walls, cell.folder, self._limits.output_bytes)
        except NotStarted as error:
            log.error("a cell of the code interpreter did not begin: %s", error)
            raise Unavailable("The code interpreter did not begin: the server's log says why. Try again.") from None
        if self._closed:  # meanwhile
            await running.end()
            self._must_be_there()
        return running

    def cold(self, cell: "WarmCell") -> None:
        """It has no process any more."""
        self._warm.discard(cell)


class WarmCell:
    """Cell. used: when, by the loop's clock, it was last done working; works: whether it does now."""

    def __init__(self, cells: WarmCells, folder: Path) -> None:
        self.folder = folder
        self.used = 0.0
        self.works = False
        self._cells = cells
        self._turn = asyncio.Lock()
        self._running: Running | None = None
        self._has_had_variables = False
        self._idle: asyncio.TimerHandle | None = None

    async def execute(self, code: str) -> Executed:
        """Raises Unavailable."""
        async with self._turn, self._cells.places:
            self._works(True)
            try:
                restarted = False
                if self._running is None or self._running.gone:
                    self._running, restarted = await self._cells.started(self), self._has_had_variables
                self._has_had_variables = True
                done = await self._running.execute(code, self._cells.seconds)
                return Executed(done.logs, done.failed, done.cut, restarted)
            finally:
                self._works(False)

    def _works(self, works: bool) -> None:
        self.works = works
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if works:
            return
        loop = asyncio.get_running_loop()
        self.used = loop.time()
        if self._running is None or self._running.gone:
            self._cells.cold(self)
        else:
            self._idle = loop.call_later(self._cells.idle_seconds, self._leave)

    def _leave(self) -> None:
        if self._running is not None:
            self._running.leave()
        self._cells.cold(self)

    async def stop(self) -> None:
        """Its process ends; the next execution begins another."""
        self._cells.cold(self)
        if self._idle is not None:
            self._idle.cancel()
        if self._running is not None:
            await self._running.end()

    async def close(self) -> None:
        await self.stop()
