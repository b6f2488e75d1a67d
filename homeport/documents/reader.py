"""Files into documents, each in a process of its own: what a hostile file breaks is that process."""

import asyncio
import logging
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path, PurePath

import homeport
from homeport.documents import answers
from homeport.documents.document import Document, UnreadableFile, invalid

log = logging.getLogger(__name__)

#: Nothing of this process's environment: there are keys in it.
_ENVIRONMENT = {"PYTHONPATH": str(Path(homeport.__file__).parents[1]), "PYTHONUTF8": "1"}
_COMMAND = (sys.executable, "-P", "-m", "homeport.documents.child")
_SUFFIX = re.compile(r"[a-z0-9]{1,10}")
_BLOCK = 1024 * 1024


class Reader:
    """Reads at most `at_once` files at a time; the others wait. Each may take `seconds`, and `memory_mb` of memory."""

    def __init__(self, *, seconds: float, memory_mb: int, at_once: int) -> None:
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._places = asyncio.Semaphore(at_once)
        self._reading: set[asyncio.subprocess.Process] = set()
        self._closed = False

    async def read(self, file: Path, filename: str) -> Document:
        """filename: of its name only the end counts, where the content leaves the kind open.

        Raises UnreadableFile: it is the file's fault, or it took too much. Raises OSError: it could not be tried.
        Whoever cancels it ends the process, too.
        """
        async with self._places:
            with await asyncio.to_thread(file.open, "rb") as opened:
                process = await self._started(opened.fileno(), filename)
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await _all_of(process)
                    status = await process.wait()
            except TimeoutError:
                raise self._too_slow() from None
            finally:
                self._reading.discard(process)
                await _ended(process)
        if self._closed:
            raise OSError("files are not read any more: the server ends")
        return await self._document(answer, status)

    async def close(self) -> None:
        """Ends what is being read."""
        self._closed = True
        for process in tuple(self._reading):
            await _ended(process)

    async def _started(self, file: int, filename: str) -> asyncio.subprocess.Process:
        if self._closed:
            raise OSError("files are not read any more: the server ends")
        suffix = PurePath(filename).suffix.lower().removeprefix(".")
        told = (os.getpid(), max(1, round(self._seconds)), self._memory_mb)
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            *map(str, told),
            suffix if _SUFFIX.fullmatch(suffix) else "",
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # what parsers complain of quotes the file
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            limit=_BLOCK,
        )
        self._reading.add(process)
        return process

    async def _document(self, answer: bytes, status: int) -> Document:
        if len(answer) > answers.MOST:
            raise _senseless(status)
        if status in (-signal.SIGXCPU, -signal.SIGKILL):  # the soft limit of its processor time, and the hard one
            raise self._too_slow()
        if status < 0:
            log.warning("the parser of a file was ended by %s", signal.Signals(-status).name)
            raise invalid("Its parser broke down on it, maybe for want of memory (documents.memory_mb).")
        try:
            return await asyncio.to_thread(answers.document, answer)
        except ValueError:
            raise _senseless(status) from None

    def _too_slow(self) -> UnreadableFile:
        return invalid(f"Reading it takes longer than {self._seconds:g} seconds (documents.seconds).")


def _senseless(status: int) -> UnreadableFile:
    log.error("the process that reads a file gave no answer of sense, and ended with status %d", status)
    message = "The file could not be read: something is wrong with the server, and its log tells more."
    return UnreadableFile("server_error", message)


async def _all_of(process: asyncio.subprocess.Process) -> bytes:
    """What it says until it ends; a little more than it may say is enough of that."""
    assert process.stdout is not None
    answer = bytearray()
    while len(answer) <= answers.MOST and (block := await process.stdout.read(_BLOCK)):
        answer += block
    if len(answer) > answers.MOST:
        _kill(process)
    return bytes(answer)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """It, and whatever it may have started."""
    _kill(process)
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
