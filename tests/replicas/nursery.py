"""Processes of `homeport`, forked from one that has loaded it: loading is most of what it costs to start one.

    process = nursery.begin("homeport", ["serve"], cwd=folder, environment={...}, stdout=out, stderr=error)
    process.kill()
    process.wait()

Each is what `python -m homeport serve` makes, but for the command line that the system shows: the one it is forked from
has done nothing but load. That one ends with whoever began it, and ends those that it has made. A program that changes
something of Homeport's modules changes it where it is used: they are loaded already.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]
_LONGEST = 2**20
_LOADED = (
    *("aiosqlite", "alembic.command", "alembic.config", "jinja2", "uvicorn.lifespan.off", "uvloop"),
    *("homeport.api.control", "homeport.batching", "homeport.books", "homeport.durable", "homeport.gateway.tuned"),
    *(
        "homeport.backends.engines.echo",
        "homeport.backends.engines.echo_moderator",
        "homeport.backends.engines.echo_vectors",
    ),
    *("homeport.backends.generation", "homeport.backends.local.embeddings", "homeport.backends.local.moderations"),
    *("homeport.backends.upstreams.openai", "homeport.serving", "homeport.working"),
)
_WANTED_TOO = ("asyncpg", "homeport.store.redis")


class Forked:
    """As much of subprocess.Popen as is asked of a server."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self._status: int | None = None
        self.pid = int(told.recv(100))

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            self._told.settimeout(timeout)
            try:
                self._status = int(self._told.recv(100))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("homeport", timeout or 0.0) from None
            self._told.close()
        return self._status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended a moment ago
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[bytes]


def begin(
    program: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> Process:
    """program: the module that is run. Where an operating system has no way to wait for processes among others, it is
    loaded anew."""
    if not hasattr(os, "pidfd_open"):
        command = [sys.executable, "-m", program, *arguments]
        return subprocess.Popen(command, cwd=cwd, env=environment, stdout=stdout, stderr=stderr)
    order = json.dumps([program, list(arguments), str(cwd), dict(environment)]).encode()
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        socket.send_fds(_nursery(), [order], [its.fileno(), stdout.fileno(), stderr.fileno()])
    return Forked(mine)


@cache
def _nursery() -> socket.socket:
    orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(its.fileno())],
            pass_fds=[its.fileno()],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        orders.close()
        process.wait()

    atexit.register(end)
    return orders


def _fork_on_orders(orders: int) -> str:
    """Returns in each process that is made, and says which program it is to run. Ends when there are no more orders."""
    asked = socket.socket(fileno=orders)
    waited = select.poll()
    waited.register(orders, select.POLLIN)
    told: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in waited.poll():
            if ready != orders:
                pid, teller = told.pop(ready)
                waited.unregister(ready)
                os.close(ready)
                _tell(teller, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(teller)
                continue
            order, files, _, _ = socket.recv_fds(asked, _LONGEST, 3)
            if not order:
                for pid, _ in told.values():
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            teller, stdout, stderr = files
            pid = os.fork()
            if not pid:
                asked.detach()
                program, arguments, cwd, environment = json.loads(order)
                os.dup2(stdout, 1)
                os.dup2(stderr, 2)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                os.chdir(cwd)
                os.environ.clear()
                os.environ.update(environment)
                sys.argv[1:] = arguments
                return str(program)
            os.close(stdout)
            os.close(stderr)
            _tell(teller, pid)
            file = os.pidfd_open(pid)
            told[file] = pid, teller
            waited.register(file, select.POLLIN)


def _tell(teller: int, number: int) -> None:
    with suppress(BrokenPipeError):
        os.write(teller, str(number).encode())


def _load() -> None:
    for name in _LOADED:
        __import__(name)
    for name in _WANTED_TOO:
        with suppress(ImportError):
            __import__(name)
    assert threading.active_count() == 1, "a fork has one thread"


if __name__ == "__main__":
    _load()
    runpy.run_module(_fork_on_orders(int(sys.argv[1])), run_name="__main__", alter_sys=True)
