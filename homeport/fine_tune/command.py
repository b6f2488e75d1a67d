"""`homeport fine-tune list` and `homeport fine-tune watch ID`."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Protocol, TextIO

from homeport import clock, settings
from homeport.errors import SettingsError
from homeport.fine_tune import frame
from homeport.fine_tune.progress import Progress
from homeport.fine_tune.server import Away, Object, Refused, Server

#: Seconds between two looks at the job itself: its state, and when it will have ended.
LOOK_SECONDS = 2.0
#: Seconds between two drawings, while nothing comes and while much does.
SLOWEST, FASTEST = 1.0, 0.1
#: Seconds until a server that was away is asked again, twice as long each time.
FIRST_REST, LONGEST_REST = 0.5, 10.0
#: To the beginning of so many lines above, and away with what is there.
_AGAIN = "\x1b[{}F\x1b[J"


def list_jobs(base_url: str, key: str | None, *, limit: int) -> int:
    """The newest first. 1: the server does not tell. Raises SettingsError."""

    async def ask(server: Server) -> int:
        for job in await server.jobs(limit):
            _print(sys.stdout, frame.listed(job))
        return 0

    return _run(base_url, key, ask)


def watch(base_url: str, key: str | None, job_id: str) -> int:
    """Until the job has ended. 0: it has succeeded; 1: it has not, or the server does not tell.

    Raises SettingsError.
    """

    async def follow(server: Server) -> int:
        progress = Progress(await server.job(job_id))
        screen: Screen = Drawn(sys.stdout) if can_draw(sys.stdout) else Plain(sys.stdout)
        await Watch(server, progress, screen).until_over()
        _print(sys.stdout, frame.ending(progress))
        return 0 if progress.status == "succeeded" else 1

    return _run(base_url, key, follow)


def _run(base_url: str, key: str | None, work: Callable[[Server], Coroutine[Any, Any, int]]) -> int:
    async def whole() -> int:
        try:
            server = Server(base_url, key)
        except ValueError as error:
            raise SettingsError(f"--base-url: {error}.") from None
        try:
            return await work(server)
        finally:
            await server.close()

    try:
        return asyncio.run(whole())
    except Away as error:
        _print(sys.stderr, f"homeport: {base_url} does not answer: {error}")
    except Refused as error:
        _print(sys.stderr, f"homeport: {error}")
    return 1


class Screen(Protocol):
    """Where progress is shown."""

    def came(self, progress: Progress, event: Object) -> None:
        """An event that was not there before."""

    def show(self, progress: Progress) -> None:
        """It may look otherwise by now."""


class Plain:
    """A line for each thing that happens: for files, and for those who want no drawing."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._status = ""
        self._trouble = ""

    def came(self, progress: Progress, event: Object) -> None:
        _print(self._out, frame.plain(event))

    def show(self, progress: Progress) -> None:
        if progress.trouble and not self._trouble:
            _print(self._out, f"not connected, trying again: {progress.trouble}")
        self._trouble = progress.trouble
        if progress.status != self._status and not progress.over:
            _print(self._out, f"status: {progress.status}")
        self._status = progress.status


class Drawn:
    """A drawing that is drawn over again."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines = 0
        self._at = float("-inf")

    def came(self, progress: Progress, event: Object) -> None:
        if clock.monotonic() - self._at > FASTEST:
            self.show(progress)

    def show(self, progress: Progress) -> None:
        columns, rows = shutil.get_terminal_size()
        lines = frame.frame(progress, columns=columns, rows=rows, now=clock.now())
        before = _AGAIN.format(self._lines) if self._lines else ""
        self._out.write(before + "".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._lines, self._at = len(lines), clock.monotonic()


class Watch:
    """Brings a job's progress up to date until it has ended."""

    def __init__(self, server: Server, progress: Progress, screen: Screen) -> None:
        self._server = server
        self._progress = progress
        self._screen = screen
        self._id = str(progress.job.get("id"))

    async def until_over(self) -> None:
        """Raises Refused."""
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._look()), group.create_task(self._show())]
            refused = await self._follow()
            for one in beside:
                one.cancel()
        self._screen.show(self._progress)
        if refused is not None:
            raise refused

    async def _follow(self) -> Refused | None:
        """Events, however often the connection breaks."""
        rest = FIRST_REST
        while True:
            try:
                async with aclosing(self._server.events(self._id, lambda: self._progress.over)) as events:
                    async for event in events:
                        rest = FIRST_REST
                        self._progress.trouble = ""
                        if self._progress.add(event):
                            self._screen.came(self._progress, event)
                self._progress.job = await self._server.job(self._id)
                self._progress.trouble = ""
                if self._progress.over:
                    return None
            except Away as error:
                self._progress.trouble = str(error) or "the connection is broken"
                self._screen.show(self._progress)
            except Refused as error:
                return error
            await clock.sleep(rest)
            rest = min(LONGEST_REST, rest * 2)

    async def _look(self) -> None:
        while not self._progress.over:
            self._screen.show(self._progress)
            await clock.sleep(LOOK_SECONDS)
            with suppress(Away, Refused):  # whoever follows its events says so
                self._progress.job = await self._server.job(self._id)

    async def _show(self) -> None:
        """What is left of its time passes though nothing comes."""
        while True:
            await clock.sleep(SLOWEST)
            self._screen.show(self._progress)


def can_draw(out: TextIO) -> bool:
    """It is a terminal that shows braille, and nobody asked for plain lines."""
    if not out.isatty() or settings.is_terminal_plain():
        return False
    try:
        "⣿█".encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _print(out: TextIO, text: str) -> None:
    """Whatever its encoding has no letters for is a question mark."""
    encoding = out.encoding or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    out.flush()
