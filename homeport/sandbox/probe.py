"""Whether this machine can wall code in: code is really run in a cell, and tries what it must not be able to do.

Where anything is amiss there are no cells, and nothing takes their place: code is never run without walls.
"""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from homeport.sandbox import interpreter, seccomp
from homeport.sandbox.bubblewrap import Walls
from homeport.sandbox.cell import Limits
from homeport.sandbox.groups import Groups
from homeport.sandbox.running import NotStarted, Running
from homeport.settings import CodeInterpreter

_PAGE = "docs/code-interpreter.md has more."
#: Since when limits of processes count for each user namespace by itself.
_KERNEL = (5, 14)
_SECONDS = 60.0
#: What bubblewrap complains of -> what helps. The first that fits.
_REMEDIES = {
    "namespace|uid map|Operation not permitted": "This machine does not let this user make user namespaces",
    "Unknown option|unknown option": "bubblewrap is older than 0.7: install a newer one",
}
_TRIED = """
import os, resource
def holds(name, condition):
    if not condition:
        print(name)
told = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
holds("a filter of system calls", told["Seccomp"].strip() == "2")
holds("no new rights", told["NoNewPrivs"].strip() == "1")
holds("no capabilities", not any(int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")))
holds("a user that is not root", os.getuid() != 0 and os.geteuid() != 0)
holds("processes of its own", os.getppid() == 1)
holds("no network", not any(":" in line and line.split(":")[0].strip() != "lo" for line in open("/proc/net/dev")))
holds("limits of memory", resource.getrlimit(resource.RLIMIT_DATA)[1] != resource.RLIM_INFINITY)
holds("limits of processes", resource.getrlimit(resource.RLIMIT_NPROC)[1] != resource.RLIM_INFINITY)
def refused(action):
    try:
        action()
    except OSError:
        return True
holds("a root that is not written to", refused(lambda: open("/here", "w")))
holds("no file of the server", refused(lambda: open(HERE)))
print("walled")
"""


class Probed(NamedTuple):
    """reason: empty where there are walls."""

    walls: Walls | None
    reason: str


async def walls(settings: CodeInterpreter, limits: Limits, *, hidden: Sequence[Path]) -> Probed:
    """hidden: folders that no cell sees."""
    program = shutil.which(settings.bubblewrap)
    if reason := _missing(settings, program):
        return Probed(None, reason)
    assert program is not None
    root = os.geteuid() == 0
    try:
        python = await interpreter.of(settings.python)
        groups = Groups.found(limits)
        built = Walls(program, python, limits, hidden=hidden, root=root, groups=groups)
        missing = await _missing_of(built, limits)
    except (NotStarted, OSError) as error:
        return Probed(None, _disabled(_remedy(str(error))))
    if missing:
        return Probed(None, _disabled(f"Its walls do not hold here; what is missing: {missing}"))
    return Probed(built, "")


def _missing(settings: CodeInterpreter, program: str | None) -> str:
    """What can be told without trying."""
    if not settings.enabled:
        return "The code interpreter is switched off on this server (code_interpreter.enabled)."
    if sys.platform != "linux" or not seccomp.supported():
        return _disabled("It needs Linux on x86_64 or arm64")
    if program is None:
        return _disabled(f"It needs bubblewrap ({settings.bubblewrap}): apt-get install bubblewrap")
    release = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
    if os.geteuid() != 0 and release < _KERNEL:
        return _disabled("It needs Linux 5.14 where the server is not root")
    return ""


def _disabled(why: str) -> str:
    return f"The code interpreter is disabled on this server. {why.rstrip('.')}. {_PAGE}"


def _remedy(complaint: str) -> str:
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, complaint):
            return f"{remedy} ({complaint.splitlines()[0]})"
    return complaint[:300]


async def _missing_of(built: Walls, limits: Limits) -> str:
    """What does not hold; empty where all does."""
    with (
        tempfile.TemporaryDirectory(prefix="homeport-cell-", ignore_cleanup_errors=True) as folder,
        tempfile.NamedTemporaryFile(prefix="homeport-outside-") as outside,
    ):
        running = await Running.start(built, Path(folder), limits.output_bytes)
        try:
            done = await running.execute(f"HERE = {outside.name!r}\n{_TRIED}", _SECONDS)
        finally:
            await running.end()
    if done.failed:
        return done.failed
    missing = done.logs.splitlines()
    return ", ".join(missing[:-1]) if missing[-1:] == ["walled"] else "an answer of sense"
