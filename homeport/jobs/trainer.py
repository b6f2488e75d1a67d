"""A child that works in the folder of a fine-tuning job: it makes examples of its files, or trains on them.

It is begun in a process group of its own, so that a Ctrl-C does not reach it, and not in a session of its own: Linux
gives each session a fair share of the cores, however nice who is in it (kernel.sched_autogroup_enabled), and then
`fine_tuning.nice` would mean nothing.
"""

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

import homeport
from homeport import clock, settings
from homeport.store.staged import disk
from homeport.training.text.job import EVENTS, LOCK, AnyEvent

log = logging.getLogger("homeport.fine_tuning")

_RUN = (sys.executable, "-P", "-m")
#: What is run, with the folder behind it.
PREPARER: Sequence[str] = (*_RUN, "homeport.backends.tuning")
TRAINER: Sequence[str] = (*_RUN, "homeport.training.text")
#: What it has said on its standard error, for the operator.
_COMPLAINTS = "stderr"
_MOST_COMPLAINTS = 4000
#: How often it is looked whether it has ended, or told something.
LOOK_SECONDS = 0.1
#: Seconds until whoever works in a folder whose server was killed has noticed, written its state and ended.
LOCKED_SECONDS = 60.0


class Child:
    """Not yet begun."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = (*command, str(folder))
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._signalled: set[int] = set()

    def begin(self) -> None:
        """In the thread of the event loop, which lives as long as this process: a child that asks for it is signalled
        when the thread ends that has begun it. Raises StorageFull, Unavailable."""
        parent = Path(homeport.__file__).parents[1]
        with disk(self._folder), (self._folder / _COMPLAINTS).open("wb") as complaints:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=complaints,
                stderr=complaints,
                cwd="/",
                env={**settings.of_the_machine(), "PYTHONPATH": str(parent), "PYTHONUTF8": "1"},
                process_group=0,
            )

    @property
    def status(self) -> int | None:
        """None: it has not ended."""
        return self._process.poll() if self._process is not None else None

    def signal(self, number: int) -> None:
        """Once: whoever asks again has been heard."""
        if self._process is not None and self.status is None and number not in self._signalled:
            self._signalled.add(number)
            self._process.send_signal(number)

    def kill(self) -> None:
        """With whatever it has begun. It is gone when this returns."""
        if self._process is not None and self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def ended(self, until: Iterable[asyncio.Event] = ()) -> int | None:
        """Its status; None: one of the events has come first."""
        while self.status is None:
            if any(one.is_set() for one in until):
                return None
            await clock.sleep(LOOK_SECONDS)
        return self.status

    def complaints(self) -> str:
        """The last of them. There is no content in them, but there are paths."""
        with suppress(OSError), (self._folder / _COMPLAINTS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_COMPLAINTS))
            return file.read().decode(errors="replace").strip()
        return ""


class Events:
    """What the trainer of a folder tells, from the beginning: another one may have told some of it before."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        self._read = 0
        self._decoder = msgspec.json.Decoder(AnyEvent)

    def new(self) -> list[AnyEvent]:
        """Since this was called before; a line that is not whole waits. What is no event is left out: it may be of a
        trainer that knows more."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                told = file.read()
        except FileNotFoundError:
            return []
        whole = told[: told.rfind(b"\n") + 1]
        self._read += len(whole)
        found: list[AnyEvent] = []
        for line in whole.splitlines():
            with suppress(msgspec.DecodeError):
                found.append(self._decoder.decode(line))
        return found


async def left_alone(folder: Path) -> bool:
    """Nobody works there, or ends soon. False: somebody does."""
    until = clock.monotonic() + LOCKED_SECONDS
    while not is_free(folder):
        if clock.monotonic() > until:
            return False
        await clock.sleep(LOOK_SECONDS)
    return True


def is_free(folder: Path) -> bool:
    """Nobody trains there just now."""
    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(file)
