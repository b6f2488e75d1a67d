"""This process, as its operating system sees it."""

import os
import resource
import time
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
        virtual, resident, *_ = (_PROC / "statm").read_text().split()
        page = resource.getpagesize()
        told["process_virtual_memory_bytes"] = float(int(virtual) * page)
        told["process_resident_memory_bytes"] = float(int(resident) * page)
    return told
