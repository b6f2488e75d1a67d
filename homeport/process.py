"""This process, as its operating system sees it."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc/self")


def seen() -> dict[str, float]:
    """Prometheus' standard names -> numbers. What a system does not tell is left out."""
    told: dict[str, float] = {
        "process_cpu_seconds": time.process_time(),
        "process_max_fds": float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    }
    with suppress(OSError):
        told["process_open_fds"] = float(len(os.listdir(_PROC / "fd")) - 1)  # less the one that looks
        virtual, resident = _memory(_PROC)
        told["process_virtual_memory_bytes"] = float(virtual)
        told["process_resident_memory_bytes"] = float(resident)
    return told


def resident(pid: int | None = None) -> int | None:
    """Bytes of memory of this process or another one; None: the system does not tell, or there is no such process."""
    try:
        return _memory(_PROC if pid is None else _PROC.with_name(str(pid)))[1]
    except (OSError, ValueError):
        return None


def _memory(folder: Path) -> tuple[int, int]:
    """Of a process: virtual and resident bytes. Raises OSError, ValueError: it has just ended."""
    virtual, resident, *_ = map(int, (folder / "statm").read_text().split())
    return virtual * resource.getpagesize(), resident * resource.getpagesize()


def on_term(told: Callable[[], None]) -> None:
    """`told` is called in the running loop whenever SIGTERM comes. In the main thread.

    A loop's own handlers end with it; this one stays, and hears the signal until `deaf`: a second one must not turn a
    clean end into a death.
    """
    loop = asyncio.get_running_loop()

    def heard(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(told)

    signal.signal(signal.SIGTERM, heard)


def tell(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """A signal, unless it has ended. Its own `send_signal` would look first whether it has, and so take its status away
    from whoever waits for that (asyncio then says 255)."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)


def deaf() -> None:
    """The last act of a process that was told to end: Python takes handlers away some time before it is gone, but
    leaves this. Not sooner: whatever is started from now on would be as deaf."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
