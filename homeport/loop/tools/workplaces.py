"""Where the code of containers runs in this process: a folder and a cell for each, from its first execution here until
it was not used for long.

The rows of a container say which files it has (control/container_work.py); its folder is a copy of them, laid anew in
whichever process its code runs next. A container counts its executions: whoever has not seen the last of them has
other variables, and perhaps other files, than the code expects.

    run     begin (executions + 1) -> folder as the rows have it -> code -> what is new in the folder becomes rows
"""

import asyncio
import fcntl
import os
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from homeport import clock, ids
from homeport.control.container_work import ContainerWork, Kept, Made, Running
from homeport.control.owners import Owner
from homeport.errors import InvalidRequest, StorageFull, Unavailable
from homeport.sandbox import laying
from homeport.sandbox.cell import Cell, Cells, Executed
from homeport.sandbox.files import remove, walk
from homeport.sandbox.laying import Stamp
from homeport.settings import CodeInterpreter
from homeport.store.blobs import Blobs
from homeport.store.staged import Staged, disk

#: Between two looks at what nobody uses any more.
SWEEP_SECONDS = 60.0
#: Of one execution; more are not kept.
MOST_MADE = 50
_LONGEST_PATH = 1024
_PIECE, _BEGINNING = 2**18, 16
#: Seconds.
_YOUNG = 60.0
#: How pictures end -> how they begin.
_PICTURES = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
    "webp": (b"RIFF",),
    "svg": (b"<svg", b"<?xml", b"<!DOCTYPE svg"),
}


class Done(NamedTuple):
    """An execution. restarted: the variables of before are lost. files: new, or other than before, in the order in
    which they were written; pictures: paths of those that are. unkept: why some are not kept; empty where all are."""

    executed: Executed
    restarted: bool
    files: Sequence[Kept]
    pictures: Collection[str]
    unkept: str = ""


class _Workplace:
    """executions: of its container, that its variables and its folder know of; -1: nobody knows what is there. laid:
    digests of what is in the folder, by path; seen: stamps of what is there and needs no second look. users: who works
    in it, or waits to."""

    def __init__(self, folder: Path, cell: Cell) -> None:
        self.folder = folder
        self.cell = cell
        self.turn = asyncio.Lock()
        self.users = 0
        self.used = clock.monotonic()
        self.executions = 0
        self.laid: dict[str, str] = {}
        self.seen: dict[str, Stamp] = {}


class _Changes(NamedTuple):
    """changed: in the order in which they were written. unkept: of those that are not to be kept, though they could
    be: why; empty where there are none."""

    changed: Sequence[tuple[str, Stamp]]
    others: Sequence[tuple[str, Stamp]]
    gone: Sequence[str]
    unkept: str


class Workplaces:
    def __init__(
        self, work: ContainerWork, cells: Cells, blobs: Blobs, settings: CodeInterpreter, folder: Path
    ) -> None:
        """folder: below which each process has one of its own."""
        self._work: Final = work
        self._cells: Final = cells
        self._blobs: Final = blobs
        self._above = folder
        self._most = settings.cells
        self._most_bytes = settings.disk_mb * 2**20
        self._idle_seconds = settings.idle_minutes * 60
        self._places: dict[str, _Workplace] = {}
        self._own: _Own | None = None

    @property
    def reason(self) -> str:
        """Why no code can run here; empty where it can."""
        return self._cells.reason

    async def open(self) -> None:
        """What processes left that are no more is taken away."""
        await asyncio.to_thread(_take_away_left, self._above)

    async def close(self) -> None:
        for container_id in [*self._places]:
            await self._drop(container_id)
        if self._own is not None:
            await asyncio.to_thread(self._own.end)
            self._own = None

    async def run(self, who: Owner, container_id: str, code: str) -> Done:
        """Cancelling it interrupts the code. Raises NotFound: the container is gone; InvalidRequest: it has expired;
        Unavailable: there are no cells."""
        if self.reason:
            raise Unavailable(self.reason)
        place = self._places.get(container_id) or await self._made(container_id)
        place.users += 1
        try:
            await self._make_room()
            async with place.turn:
                return await self._run(place, who, container_id, code)
        finally:
            place.users -= 1
            place.used = clock.monotonic()

    async def watch(self) -> None:
        """Sweeps, until cancelled."""
        while True:
            await clock.sleep(SWEEP_SECONDS)
            with suppress(Unavailable):  # there is a next time
                await self.sweep()

    async def sweep(self) -> None:
        """Places that were not used for long go, and those of containers that are gone. Raises Unavailable."""
        idle = [name for name, place in self._places.items() if not place.users]
        living = await self._work.living(idle) if idle else ()
        old = clock.monotonic() - self._idle_seconds
        for name in idle:
            place = self._places.get(name)
            if place is not None and not place.users and (name not in living or place.used < old):
                await self._drop(name)

    async def _made(self, container_id: str) -> _Workplace:
        """Where somebody else was faster, that one's; our folder stays empty."""
        folder, cell = await self._new(container_id)
        return self._places.setdefault(container_id, _Workplace(folder, cell))

    async def _make_room(self) -> None:
        """Where there are too many by now, those go that were not used for the longest time."""
        while len(self._places) > self._most:
            idle = [name for name, place in self._places.items() if not place.users]
            if not idle:
                return
            await self._drop(min(idle, key=lambda name: self._places[name].used))

    async def _new(self, container_id: str) -> tuple[Path, Cell]:
        """An empty folder, of a name that none has had, and its cell."""
        if self._own is None:
            self._own = _Own(self._above)
        folder = self._own.folder / f"{container_id}-{ids.random_text(8)}"
        with disk(self._above):
            folder.mkdir(mode=0o700)
        return folder, await self._cells.cell(folder)

    async def _drop(self, container_id: str) -> None:
        place = self._places.pop(container_id)
        await self._end(place)

    async def _end(self, place: _Workplace) -> None:
        """What cannot be taken away now is when this process is no more."""
        await place.cell.close()
        with suppress(OSError):
            await asyncio.to_thread(remove, place.folder)

    async def _run(self, place: _Workplace, who: Owner, container_id: str, code: str) -> Done:
        running = await self._work.begin(who, container_id)
        known, place.executions = place.executions, -1
        lost = known != running.executions - 1
        if lost:
            await self._end(place)
            place.folder, place.cell = await self._new(container_id)
            place.laid, place.seen = {}, {}
        await self._lay(place, running)
        place.executions = running.executions
        executed = await place.cell.execute(code)
        return await self._collected(place, who, container_id, executed, lost or executed.restarted)

    async def _lay(self, place: _Workplace, running: Running) -> None:
        """What is in the folder becomes what the rows say, as far as others have changed them."""
        wanted = {file["path"]: file for file in running.files}
        with disk(self._above):
            for path in place.laid.keys() - wanted.keys():
                await asyncio.to_thread(laying.take, place.folder, path)
                del place.laid[path]
            for path, file in wanted.items():
                if place.laid.get(path) != file["digest"]:
                    pieces = self._blobs.read(file["digest"])
                    place.seen[path] = await laying.lay(place.folder, path, pieces)
                    place.laid[path] = file["digest"]
                    if file["file_id"] is not None and file["source"] == "user":
                        await asyncio.to_thread(laying.name_also, place.folder, path, file["file_id"])

    async def _collected(
        self, place: _Workplace, who: Owner, container_id: str, executed: Executed, restarted: bool
    ) -> Done:
        changes = await asyncio.to_thread(_changes, place, self._most_bytes)
        unkept = changes.unkept
        # Where there was no room its cell has taken away what it has written: that comes back as it was before.
        gone = changes.gone if executed.failed != "disk" else ()
        kept: Sequence[Kept] = ()
        pictures: set[str] = set()
        async with AsyncExitStack() as staging:
            made: list[Made] = []
            for path, _ in changes.changed:
                staged = await staging.enter_async_context(self._blobs.staged())
                begins = await self._copied(place.folder, path, staged)
                if begins is not None and staged.digest != place.laid.get(path):
                    made.append(Made(path, staged))
                    if _is_picture(path, begins):
                        pictures.add(path)
            if made or gone:
                try:
                    kept = await self._work.keep(who, container_id, made, gone)
                except (InvalidRequest, StorageFull) as error:
                    return Done(executed, restarted, (), (), f"The files are not kept. {error.message}")
            place.laid |= {one.path: one.staged.digest for one in made}
        for path in changes.gone:
            del place.laid[path]
        place.seen |= dict([*changes.changed, *changes.others])
        return Done(executed, restarted, kept, pictures, unkept)

    async def _copied(self, folder: Path, path: str, staged: Staged) -> bytes | None:
        """The beginning of a file that is copied; None: it cannot be read."""
        file = laying.open_to_read(folder, path)
        if file is None:
            return None
        begins = b""
        try:
            while piece := await asyncio.to_thread(os.read, file, _PIECE):
                begins = begins or piece[:_BEGINNING]
                await staged.write(piece)
                if staged.bytes > self._most_bytes:
                    return None
        finally:
            os.close(file)
        return begins


def _changes(place: _Workplace, most_bytes: int) -> _Changes:
    there: set[str] = set()
    changed: list[tuple[str, Stamp]] = []
    for found in walk(place.folder):
        there.add(found.path)
        stamp = Stamp.of(found.stat)
        if place.seen.get(found.path) != stamp and _may_be_kept(found.path):
            changed.append((found.path, stamp))
    changed.sort(key=lambda one: (one[1].mtime_ns, one[0]))
    taken, left = 0, most_bytes
    while taken < min(len(changed), MOST_MADE) and changed[taken][1].bytes <= left:
        left -= changed[taken][1].bytes
        taken += 1
    others = changed[taken:]
    gone = [path for path in place.laid if path not in there and not laying.is_there(place.folder, path)]
    unkept = (
        f"Of what one execution writes, {MOST_MADE} files and {most_bytes // 2**20} MB are kept; {len(others)} files "
        "are beyond that, and may be lost later. Pack them into an archive."
    )
    return _Changes(changed[:taken], others, gone, unkept if others else "")


def _may_be_kept(path: str) -> bool:
    """Neither hidden nor a by-product, nor of a name that no list could show."""
    names = path.split("/")
    return (
        len(path) <= _LONGEST_PATH
        and path.isprintable()
        and not any(name.startswith(".") or name == "__pycache__" for name in names)
    )


def _is_picture(path: str, begins: bytes) -> bool:
    """By its name, and by what it begins with."""
    suffix = path.rpartition(".")[2].lower()
    return any(begins.startswith(one) for one in _PICTURES.get(suffix, ()))


class _Own:
    """The folder of this process, locked as long as it lives, so that others can tell what a killed one has left."""

    def __init__(self, above: Path) -> None:
        with disk(above):
            above.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder = above / ids.random_text(16)
            self.folder.mkdir(mode=0o700)
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        with suppress(OSError):
            remove(self.folder)
        os.close(self._lock)


def _take_away_left(above: Path) -> None:
    """Folders whose processes are no more. One that is younger than a minute may be of a process that has not come to
    lock it."""
    with suppress(FileNotFoundError):
        for folder in above.iterdir():
            with suppress(OSError):
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if folder.stat().st_mtime < clock.now() - _YOUNG:
                        remove(folder)
                finally:
                    os.close(lock)
