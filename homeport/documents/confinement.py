"""What a process that reads a file gives up, so that a hostile file gains nothing but its own failure.

Limits come first, before a byte of the file is looked at. Once its parser is loaded the process is sealed: no network,
no files but Python's own, nothing written. A step that a system lacks is left out; docs/documents.md says which those
are on macOS. What stays is a process of the same user, whose parsers are not written in safe languages throughout:
sealing is what limits a parser that is taken over.
"""

import ctypes
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress

_MIB = 1024**2
#: Of address space, for Python and its parsers themselves, beside what a file may take.
_PROGRAM_MB = 384
_FILES = 64
_NICE = 10

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
#: Landlock's system calls have the same numbers on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
#: How many kinds of access to files each version of Landlock knows, in bits from the lowest on.
_ACCESSES = {1: 13, 2: 14, 3: 15, 4: 15}
_LATEST_ACCESSES = 16
#: TCP, to listen and to connect; abstract Unix sockets and signals. By the version that has them first.
_NETWORK, _NETWORK_SINCE = 0b11, 4
_BEYOND, _BEYOND_SINCE = 0b11, 6

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    """What is forbidden where no rule allows it: to files, to the network, and beyond this process."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("beyond", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def limit(*, seconds: int, memory_mb: int) -> None:
    """Of this process and its file. Memory only where the system holds it to it: macOS does not."""
    os.nice(_NICE)
    _set(resource.RLIMIT_CPU, seconds, seconds + 1)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, _FILES)
    if sys.platform == "linux":
        _set(resource.RLIMIT_AS, (memory_mb + _PROGRAM_MB) * _MIB)


def seal(parent: int) -> None:
    """For good: from here on it can read what it has open, compute, and write into its pipe. parent: dies with it.

    Raises SystemExit: it is dead already.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # forbidden in many containers
            _call(_libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNET)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        with suppress(OSError):  # a kernel without Landlock
            _only_read(_python_folders())
        _prctl(_PR_SET_DUMPABLE, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_NPROC, 0)
    if os.getppid() != parent:
        raise SystemExit(1)  # it died before this process could know


def _set(what: int, soft: int, hard: int | None = None) -> None:
    hard = soft if hard is None else hard
    highest = resource.getrlimit(what)[1]
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    with suppress(ValueError, OSError):  # one that the system does not have
        resource.setrlimit(what, (soft, hard))


def _python_folders() -> set[str]:
    """Where modules are that parsers load later, and the libraries that those load."""
    paths = sysconfig.get_paths()
    modules = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return {*modules, f"{sys.base_prefix}/lib", "/lib", "/lib64", "/usr/lib", "/usr/lib64"}


def _only_read(folders: Iterable[str]) -> None:
    """Landlock: of all files, those in these folders, and those to read. Raises OSError."""
    version = _call(_libc.syscall, _LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    ruleset = _Ruleset(
        (1 << _ACCESSES.get(version, _LATEST_ACCESSES)) - 1,
        _NETWORK if version >= _NETWORK_SINCE else 0,
        _BEYOND if version >= _BEYOND_SINCE else 0,
    )
    rules = _call(_libc.syscall, _LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for folder in folders:
            with suppress(OSError):  # there is none
                _allow(rules, folder)
        _call(_libc.syscall, _LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, folder: str) -> None:
    opened = os.open(folder, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        rule = _PathBeneath(_READ_FILE | _READ_DIR, opened)
        _call(_libc.syscall, _LANDLOCK_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _prctl(option: int, argument: int) -> None:
    _call(_libc.prctl, option, argument, 0, 0, 0)


def _call(function: "ctypes._NamedFuncPointer", *arguments: object) -> int:
    result: int = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
