"""The walls: namespaces of its own for everything, an empty root, and of the machine what a Python needs, to be read.

Two ways, by who the server is:

    an ordinary user   bubblewrap makes a user namespace, in which the code is `nobody` and, outside, the server's user;
                       that needs a kernel that allows such namespaces, of Linux 5.14 or later (since then limits of
                       processes count in each of them by itself)
    root               no user namespace: bubblewrap builds the walls with root's rights, and the cell's process 1 gives
                       them up for a user that nobody else is, before the code is there. (A namespace would make of the
                       code's user the machine's root, whom no limit of processes binds.)

Source: bwrap(1).
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from homeport.sandbox import seccomp
from homeport.sandbox.cell import Limits
from homeport.sandbox.groups import Group, Groups
from homeport.sandbox.inside import watch
from homeport.sandbox.interpreter import Interpreter

_MIB = 1024**2
_NOBODY = 65534
#: Users that no distribution and no container gives to anybody: systemd's UIDS-GIDS.md. And where the machine's own
#: users end before (a container).
_UNUSED, _FEW_UNUSED = range(1_879_048_192, 2_147_483_647), range(61_184, 65_519)
_INSIDE = Path(__file__).parent / "inside"
_PROGRAM = "import sys; sys.path.insert(0, '/cell'); from inside.warden import main; main(sys.argv[1])"
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",  # address space for threads that are not there counts as memory
    "MPLBACKEND": "module://inside.figures",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": "/cell",
    "TZ": "UTC",
    "USER": "nobody",
}


class Command(NamedTuple):
    """arguments: with the program's name; descriptors: to be inherited. user: whom the code is, outside. group: that it
    enters, to be removed in the end."""

    arguments: Sequence[str]
    descriptors: Sequence[int]
    user: int
    group: Group | None


class Walls:
    """hidden: folders of the machine that nobody sees even where one that Python needs has them in it."""

    def __init__(
        self,
        program: str,
        interpreter: Interpreter,
        limits: Limits,
        *,
        hidden: Sequence[Path] = (),
        root: bool,
        groups: Groups | None = None,
    ) -> None:
        self._program = program
        self._interpreter = interpreter
        self._limits = limits
        self._hidden = [str(path.resolve()) for path in hidden]
        self._root = root
        self._groups = groups

    @contextmanager
    def around(self, folder: Path) -> Iterator[Command]:
        """What starts a cell whose /mnt/data that folder is. Descriptors are closed at the end: start it before.

        Raises OSError: a control group cannot be made.
        """
        user = _unused() if self._root else os.getuid()
        inner = user if self._root else _NOBODY
        descriptors = [
            _in_memory(seccomp.program()),
            _in_memory(f"nobody:x:{inner}:{inner}:nobody:/tmp:/usr/sbin/nologin\n".encode()),
            _in_memory(f"nogroup:x:{inner}:\n".encode()),
        ]
        try:
            command = [*self._arguments(folder, user, *descriptors)]
            group = self._groups.made() if self._groups is not None else None
            yield Command(command if group is None else group.entered(command), descriptors, user, group)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _arguments(self, folder: Path, user: int, program: int, users: int, groups: int) -> Iterator[str]:
        size = str(self._limits.disk_mb * _MIB)
        yield self._program
        yield from ("--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--seccomp", str(program))
        if self._root:
            yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
            yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
        else:
            yield from ("--unshare-all", "--unshare-user", "--cap-drop", "ALL")
            yield from ("--uid", str(_NOBODY), "--gid", str(_NOBODY))
        yield from ("--hostname", "cell")
        yield from ("--proc", "/proc", "--dev", "/dev")
        for path in watch.TEMPORARY:
            yield from ("--perms", "1777", "--size", size, "--tmpfs", path)
        bound = (*self._interpreter.folders, str(_INSIDE))
        for parent in _parents([*self._interpreter.folders, "/cell/inside", "/etc/passwd", watch.DATA]):
            yield from ("--perms", "0755", "--dir", parent)
        for path in self._interpreter.folders:
            yield from ("--ro-bind", path, path)
        for path in self._hidden:
            if any(path.startswith(f"{other}/") for other in bound):
                yield from ("--perms", "0000", "--size", "4096", "--tmpfs", path)
        for path, target in self._interpreter.links.items():
            yield from ("--symlink", target, path)
        yield from ("--ro-bind", str(_INSIDE), "/cell/inside")
        for descriptor, path in ((users, "/etc/passwd"), (groups, "/etc/group")):
            yield from ("--perms", "0444", "--ro-bind-data", str(descriptor), path)
        yield from ("--remount-ro", "/dev", "--bind", str(folder), watch.DATA, "--remount-ro", "/")
        path = f"{Path(self._interpreter.program).parent}:/usr/bin:/bin"
        for name, value in {**_ENVIRONMENT, "PATH": path}.items():
            yield from ("--setenv", name, value)
        yield from ("--chdir", "/", "--", self._interpreter.program, "-I", "-S", "-X", "utf8", "-c", _PROGRAM)
        yield self._told(user)

    def _told(self, user: int) -> str:
        """What the warden has to know (inside/warden.py)."""
        return json.dumps(
            {
                "uid": user if self._root else None,
                "memory": self._limits.memory_mb * _MIB,
                "disk": self._limits.disk_mb * _MIB,
                "entries": self._limits.entries,
                "processes": self._limits.processes,
                "output": self._limits.output_bytes,
            }
        )


def _parents(paths: Sequence[str]) -> list[str]:
    """Folders above them, outermost first. (Those that bubblewrap makes by itself are root's alone.)"""
    return sorted({str(parent) for path in paths for parent in Path(path).parents} - {"/"})


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("cell", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _unused() -> int:
    for some in (_UNUSED, _FEW_UNUSED):
        if all(_is_known(user) for user in (some.start, some.stop)):
            return some.start + secrets.randbelow(len(some))
    return _NOBODY


def _is_known(user: int) -> bool:
    """Whether this process's user namespace has it."""
    ranges = [[int(part) for part in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(begin <= user < begin + count for begin, _, count in ranges)
