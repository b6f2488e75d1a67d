"""A control group for each cell, where the machine has some to give: limits of memory and processes that hold for all
processes of a cell together, at every moment, also for what the system's kernel takes for them.

The server must have been given a part of the tree (cgroup v2) and stand in a folder of its own below it, since a group
with processes in it has no groups with limits: `Delegate=memory pids` with `DelegateSubgroup=server` in a unit of
systemd. Where there is none, inside/watch.py is what there is.

Source: cgroup v2 in the kernel's documentation; systemd's CGROUP_DELEGATION.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from homeport import ids
from homeport.sandbox.cell import Limits

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_WANTED = {"memory", "pids"}
_MIB = 1024**2
#: For process 1 and bubblewrap, which are in it, too: processes, and MiB.
_OURS, _OURS_MB = 4, 64
_ENTER = 'echo 0 > "$0" && exec "$@"'


class Group:
    """Of one cell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def entered(self, command: Sequence[str]) -> list[str]:
        """The command, which is in it from its first moment on."""
        return ["/bin/sh", "-c", _ENTER, str(self._folder / "cgroup.procs"), *command]

    def was_short_of_memory(self) -> bool:
        """Whether one of its processes was ended for that."""
        return any(name == "oom_kill" and number != "0" for name, number in _pairs(self._folder / "memory.events"))

    def remove(self) -> None:
        """Once its processes have ended; those that have not, end."""
        with suppress(OSError):
            (self._folder / "cgroup.kill").write_text("1")
        with suppress(OSError):
            self._folder.rmdir()


class Groups:
    """Where they are made."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits

    @classmethod
    def found(cls, limits: Limits, *, root: Path = _ROOT, own: Path = _OWN) -> "Groups | None":
        """None where this process was not given any. root, own: where the tree is, and what tells its place in it."""
        try:
            (place,) = (line[3:] for line in own.read_text().splitlines() if line.startswith("0::/"))
        except (OSError, ValueError):
            return None
        above = (root / place.strip("/")).parent
        if above == root.parent or above.suffix == ".slice":
            return None  # the system's own, which nobody gives away
        groups = cls(above, limits)
        try:
            enabled = set((above / "cgroup.subtree_control").read_text().split())
            if not enabled >= _WANTED:
                (above / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(_WANTED)))
            groups.made().remove()
        except OSError:
            return None
        return groups

    def made(self) -> Group:
        """A new one. Raises OSError."""
        folder = self._folder / f"cell-{ids.random_text(16)}"
        folder.mkdir()
        try:
            (folder / "memory.max").write_text(str((self._limits.memory_mb + _OURS_MB) * _MIB))
            with suppress(FileNotFoundError):  # a machine without
                (folder / "memory.swap.max").write_text("0")
            (folder / "pids.max").write_text(str(self._limits.processes + _OURS))
        except OSError:
            folder.rmdir()
            raise
        return Group(folder)


def _pairs(file: Path) -> list[tuple[str, str]]:
    with suppress(OSError):
        return [(name, number) for name, number in (line.split() for line in file.read_text().splitlines())]
    return []
