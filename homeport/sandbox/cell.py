"""The seam: a cell is a Python behind walls, that keeps its variables from one call to the next.

What it cannot do, on any machine that has cells: reach a network, see files, processes or environment of the machine,
take more memory, time, processes or disk than it was given, outlive the server.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

#: Of files and folders.
ENTRIES = 10_000


class Limits(NamedTuple):
    """memory_mb: of all its processes together. disk_mb: of its folder, and of each temporary one. seconds: of one
    execution. processes: threads count. output_bytes: of what an execution writes; more is cut. entries: of its
    folder, files and folders together."""

    memory_mb: int = 1024
    disk_mb: int = 512
    seconds: float = 60.0
    processes: int = 64
    output_bytes: int = 2**20
    entries: int = ENTRIES


class Executed(NamedTuple):
    """logs: stdout and stderr in their order, and the value of the last expression, as a notebook shows them; no text
    that a database would not take. failed: why it has not run to its end (`timeout`, `memory`, `disk`, `died`, or an
    exception's last line); empty where it has. cut: whether logs were, in their middle. restarted: its variables of
    before are lost."""

    logs: str
    failed: str = ""
    cut: bool = False
    restarted: bool = False


class Cell(Protocol):
    """folder: of this machine, what the code sees as `/mnt/data`; it belongs to the code, whoever has laid files into
    it. Between executions all processes of the cell are stopped. Whoever reads it uses files.py."""

    @property
    def folder(self) -> Path: ...

    async def execute(self, code: str) -> Executed:
        """One at a time, as soon as there is room. Cancelling it interrupts the code. `disk`: what it has written is
        gone.

        Raises Unavailable: there are no cells.
        """
        ...

    async def close(self) -> None:
        """Its processes are gone when it returns. The folder stays."""
        ...


class Cells(Protocol):
    """Of one machine."""

    @property
    def reason(self) -> str:
        """Why there are none on this machine, for the operator and for whoever asks; empty where there are."""
        ...

    async def open(self) -> None:
        """Looks whether this machine can wall code in."""
        ...

    async def cell(self, folder: Path) -> Cell:
        """The one of this folder: the same as long as somebody has it, or it is warm. Raises Unavailable: there are
        none."""
        ...

    async def close(self) -> None: ...
