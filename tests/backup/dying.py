"""`homeport` as a process that is killed just before a step: `python -m tests.backup.dying`.

On stdin a line for each: `[step, [argument, ...]]`, where a step is a change of the disk; on stdout its status. The
process has loaded what it needs and forks for each, so that it need not begin anew.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from homeport.cli import main

_CHANGES = ("open", "fsync", "sync", "link", "unlink", "mkdir", "rmdir", "rename", "replace", "write")
_ROOT = Path(__file__).parents[2]

Run = Callable[[int, Sequence[object]], int]


@contextmanager
def processes() -> Iterator[Run]:
    """What runs one: its step, its arguments; its status, negative where it was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name if __spec__ else "tests.backup.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=_ROOT,
    ) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def run(step: int, arguments: Sequence[object]) -> int:
            orders.write(json.dumps([step, [str(one) for one in arguments]]) + "\n")
            orders.flush()
            while not (line := answers.readline()).startswith("status"):
                assert line
            return int(line.split()[1])

        yield run
        orders.close()


def _dying(function: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return wrapped


def _serve() -> None:
    for name in ("aiosqlite", "alembic.command", "asyncpg", "homeport.backup", "homeport.restore"):
        with suppress(ImportError):
            import_module(name)
    for line in sys.stdin:
        step, arguments = json.loads(line)
        if (child := os.fork()) == 0:
            left = [step]
            for name in _CHANGES:
                setattr(os, name, _dying(getattr(os, name), left))
            main(arguments)
        print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
