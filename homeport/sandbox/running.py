"""A cell that runs: the server's end of its warden's pipe (inside/warden.py), of which nothing is believed unseen.

What comes through it is read to a bound, and decoded into what it may be; anything else, or silence beyond every time
that was set, ends the cell.
"""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from homeport import ids
from homeport.sandbox.bubblewrap import Command, Walls
from homeport.sandbox.inside import tree

#: Seconds from the start until it is ready; beyond what an execution may take until the warden must have said so;
#: until it has ended once nobody wants it any more.
_START, _BEYOND, _END = 60.0, 60.0, 10.0
#: Bytes of a line, and of what bubblewrap complains of.
_LINE, _COMPLAINT = 65536, 4096
#: And of the line that says how much was left out.
_NOTE = 128
#: What PostgreSQL takes in no text.
_NUL = {0: "\N{REPLACEMENT CHARACTER}"}


class NotStarted(Exception):
    """str(): what bubblewrap, or the warden, has said before any code was there."""


class _Ended(msgspec.Struct, frozen=True):
    """As the warden tells it. gone: the cell is, too."""

    ended: str
    failed: str
    cut: bool
    output: int
    gone: bool


class Result(NamedTuple):
    """As Executed."""

    logs: str
    failed: str
    cut: bool


class Running:
    """One execution at a time."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, command: Command, output_bytes: int) -> None:
        self._process = process
        self._folder = folder
        self._user = command.user
        self._group = command.group
        self._most = output_bytes + _NOTE
        self._gone = False

    @classmethod
    async def start(cls, walls: Walls, folder: Path, output_bytes: int) -> "Running":
        """Raises NotStarted."""
        try:
            with walls.around(folder) as command:
                running = cls(await _begun(command, folder), folder, command, output_bytes)
        except OSError as error:
            raise NotStarted(str(error)) from None
        try:
            async with asyncio.timeout(_START):
                await running._is_ready()
        except TimeoutError:
            await running.end()
            raise NotStarted(f"it was not ready within {_START:g} seconds") from None
        except BaseException:
            await running.end()
            raise
        return running

    @property
    def gone(self) -> bool:
        return self._gone or self._process.returncode is not None

    async def execute(self, code: str, seconds: float) -> Result:
        """Whoever cancels it interrupts the code; the cell is gone where that does not help."""
        token = ids.random_text(24)
        try:
            await asyncio.to_thread(_give, self._folder, self._user)
        except OSError:  # it is gone
            await self.end()
            return Result("", "died", cut=False)
        try:
            async with asyncio.timeout(seconds + _BEYOND):
                await self._say({"execute": token, "code": code, "seconds": seconds})
                return await self._result(token)
        except TimeoutError:
            await self.end()
            return Result("", "timeout", cut=False)
        except asyncio.CancelledError:
            await self._interrupt(token)
            raise

    async def _interrupt(self, token: str) -> None:
        try:
            async with asyncio.timeout(_END):
                await self._say({"interrupt": token})
                await self._result(token)
        except (TimeoutError, asyncio.CancelledError):
            await self.end()

    def leave(self) -> None:
        """It ends by itself, soon."""
        self._gone = True
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        """All its processes have ended when this returns: the warden ends when the others have, bubblewrap after it."""
        self.leave()
        try:
            async with asyncio.timeout(_END):
                with suppress(RuntimeError):  # somebody else reads, to the end
                    while await self._out.read(_LINE):
                        pass
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.kill()  # they die with it
        await self._process.wait()
        if self._group is not None:
            self._group.remove()

    @property
    def _out(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    async def _is_ready(self) -> None:
        if await self._line() != b'{"ready": true}\n':
            assert self._process.stderr is not None
            complaint = await self._process.stderr.read(_COMPLAINT)
            raise NotStarted(complaint.decode(errors="replace").strip() or "it ended before it was ready")

    async def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # it is gone, which whoever reads will see
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            await self._process.stdin.drain()

    async def _result(self, token: str) -> Result:
        """Of the execution with that token, after those of others that were given up."""
        while True:
            try:
                ended = msgspec.json.decode(await self._line(), type=_Ended)
                if not 0 <= ended.output <= self._most:
                    raise ValueError("more than was asked for")
                output = await self._out.readexactly(ended.output)
            except (ValueError, asyncio.IncompleteReadError):  # the end, or no sense
                return Result("", await self._died(), cut=False)
            failed = await self._died(ended.failed) if ended.gone else ended.failed
            if ended.ended == token:
                return Result(output.decode(errors="replace").translate(_NUL), failed.translate(_NUL), ended.cut)

    async def _died(self, why: str = "died") -> str:
        """Why, where the system knows better."""
        short = self._group is not None and self._group.was_short_of_memory()
        await self.end()
        return "memory" if why == "died" and short else why

    async def _line(self) -> bytes:
        """Raises ValueError: it is too long."""
        return await self._out.readline()


async def _begun(command: Command, folder: Path) -> asyncio.subprocess.Process:
    """Raises OSError."""
    try:
        await asyncio.to_thread(_give, folder, command.user)
        return await asyncio.create_subprocess_exec(
            *command.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=command.descriptors,
            env={},
            cwd="/",
            limit=_LINE,
        )
    except BaseException:
        if command.group is not None:
            command.group.remove()
        raise


def _give(path: Path, user: int) -> None:
    """What the server, where it is root, has laid into a folder belongs to the code; whose processes are stopped."""
    if user == os.getuid():
        return
    folder = os.open(path, tree.FOLDER)
    try:
        os.fchown(folder, user, user)
        with suppress(tree.TooMuch):
            for entry in tree.entries(folder):
                if entry.stat.st_uid != user:
                    os.chown(entry.name, user, user, dir_fd=entry.folder, follow_symlinks=False)
    finally:
        os.close(folder)
