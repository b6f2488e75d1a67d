"""`homeport serve --workers N`: N processes on one port, and this one, their parent, which serves nobody.

    parent    checks the settings, brings the tables up to date, makes the first key, takes the port, says the welcome
    worker    all of Homeport (child.py): its own event loop, journal and name in Redis, its own socket on the port
    engines   where a model of this machine has weights: one process that holds them all, and that the workers ask over
              a Unix socket (backends/engine_room.py), so they are loaded once and batch the requests of all workers

A child is a new interpreter, not a fork: the parent has had an event loop, database drivers and threads, and what a
fork would copy of them is in no state that anybody promises. A worker that was started a week later begins as the first
one did.

    started --- listens ---> serving --- dies ---> started again: after 0.1 s, and up to 10 s while it keeps dying
            --- dies before any welcome ---> nothing is served, and its status is this one's

A child that was killed has lost nothing: its successor finds its journal, as any next start does. When the parent ends,
however it does, its children see their leash end and drain.
"""

import asyncio
import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from homeport import app, backing, clock, logs, process, serving, settings
from homeport.api import server
from homeport.child import ROOM, Orders, longest_end
from homeport.errors import SettingsError
from homeport.settings import Settings

log = logging.getLogger("homeport")

#: The process that holds the models.
ENGINES = "engines"
#: Seconds until a child that died is started again: the first time, at most, and after how long a life it is the first
#: time anew.
FIRST_REST = 0.1
LONGEST_REST = 10.0
STEADY_SECONDS = 30.0


class NotStarted(Exception):
    """A child ended before it had ever listened. status: with which; negative: by which signal."""

    def __init__(self, status: int) -> None:
        self.status = status


def serve(chosen: Settings) -> int:
    """Serve until a signal; 0 when everything in flight has ended. Raises SettingsError before listening."""
    check(chosen)
    serving.check_exposure(chosen.server)
    logs.set_up(chosen.server.log_level, chosen.server.log_format, process="parent")
    with asyncio.Runner() as runner:
        status = 1
        try:
            status = runner.run(_serve(chosen))
        except* NotStarted as group:
            status = max(status, *(error.status for error in group.exceptions if isinstance(error, NotStarted)))
    process.deaf()
    return status


def check(chosen: Settings) -> None:
    """Raises SettingsError for what several processes cannot do."""
    number = chosen.server.workers
    if sys.platform != "linux":
        raise SettingsError("Several workers need Linux, which spreads the connections of a port over its listeners.")
    if chosen.redis_url is None:
        raise SettingsError(
            f"{number} workers need redis_url: each would count requests, tokens and money for itself, and no limit "
            'would be a limit. Set redis_url = "redis://HOST:6379/0", or serve with one worker.'
        )
    if chosen.recording.record is not None or chosen.recording.replay is not None:
        raise SettingsError("Recordings are written and replayed by one process: leave --workers out.")
    bounded = {"server.max_connections": chosen.server.max_connections, "cache.max_mb": chosen.cache.max_mb}
    bounded |= {f"upstreams.{name}.connections": one.connections for name, one in chosen.upstreams.items()}
    for setting, most in bounded.items():
        if most < number:
            raise SettingsError(f"{setting} = {most} cannot be shared by {number} workers: each needs one at least.")


def share(chosen: Settings, index: int) -> Settings:
    """The settings of one worker. What they allow at once, all workers together have: no more and no less.

    index: from 0.
    """
    number = chosen.server.workers

    def part(whole: int) -> int:
        return (whole + index) // number

    return replace(
        chosen,
        server=replace(chosen.server, max_connections=part(chosen.server.max_connections)),
        cache=replace(chosen.cache, max_mb=part(chosen.cache.max_mb)),
        upstreams={
            name: replace(one, connections=part(one.connections), queue=part(one.queue))
            for name, one in chosen.upstreams.items()
        },
    )


async def _serve(chosen: Settings) -> int:
    models = backing.heavy_models(chosen)
    with (
        _private_folder() as folder,
        server.reserve(chosen.server.host, chosen.server.port) as reserved,
    ):
        room = Path(folder) / ROOM
        welcome = await _prepared(chosen, backing.Room(room, models), reserved)
        names = [f"worker-{number}" for number in range(1, chosen.server.workers + 1)]
        tellers = (*names, *([ENGINES] if models else []))
        workers = [
            Child(name, Orders(share(chosen, index), folder, tellers, models), lambda: server.beside(reserved))
            for index, name in enumerate(names)
        ]
        holder = Child(ENGINES, Orders(chosen, folder, tellers, models, holds=True), lambda: _anew(room))
        return await _kept(workers, [holder] if models else [], welcome)


def _private_folder() -> "tempfile.TemporaryDirectory[str]":
    """Nobody else may enter it. Its path is short: one of a socket has 107 bytes at most."""
    return tempfile.TemporaryDirectory(prefix="homeport-")


async def _prepared(chosen: Settings, room: backing.Room, reserved: socket.socket) -> str:
    """What comes once, before all workers: tables, keys, what a killed process left. Returns the welcome."""
    preset, admin = settings.first_key(), settings.admin_key()
    built = app.build(chosen, room=room)
    try:
        server.server(built.asgi, built.http, chosen.server)  # its certificate, if it has one, is good
        made = await built.open(preset, admin=admin, refuse_without_key=serving.refusal(chosen.server.host))
    finally:
        await built.close()
    return serving.welcome(serving.address(reserved, chosen.server), serving.key_line(made, preset, admin), made, built)


def _anew(room: Path) -> socket.socket:
    """The socket of an engine room. While there is none, workers are refused at once and can say so to their clients;
    on one that is kept from room to room they would wait."""
    room.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(room))
    return listener


async def _kept(workers: Sequence["Child"], engines: Sequence["Child"], welcome: str) -> int:
    """Until a signal: the children live, and the engines as long as a worker does. A second SIGINT ends what is in
    flight. Raises NotStarted, in a group."""
    children = (*engines, *workers)
    told: list[signal.Signals] = []
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        """The first one, and what follows, is the workers' as it came: they know what it means (api/server.py)."""
        told.append(number)
        if stopping.is_set():
            for child in workers:
                child.tell(number)
        stopping.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
    process.on_term(lambda: stop(signal.SIGTERM))
    async with asyncio.TaskGroup() as group:
        lives = {child: group.create_task(child.live()) for child in children}
        greeting = group.create_task(_greet(children, welcome))
        await stopping.wait()
        greeting.cancel()
        for some in (workers, engines):
            for child in some:
                child.stop(told[0])
            for child in some:
                await lives[child]
    return max(life.result() for life in lives.values())


async def _greet(children: Sequence["Child"], welcome: str) -> None:
    """Once all listen: a command that is copied from it works."""
    for child in children:
        await child.listens.wait()
    print(welcome, flush=True)


class Child:
    """One process after the other, each of which gets the same orders and a listener of its own.

    listens: the first one does, or did. name: for `ps` and the log.
    """

    def __init__(self, name: str, orders: Orders, listener: Callable[[], socket.socket]) -> None:
        """listener: makes one that is not listening yet."""
        self._name = name
        self._orders = orders
        self._listener = listener
        self._process: asyncio.subprocess.Process | None = None
        self._listening = False
        self._stopping = asyncio.Event()
        self.listens = asyncio.Event()

    async def live(self) -> int:
        """Until stop(); 0 when the last one ended well. Raises NotStarted."""
        rest = FIRST_REST
        while True:
            began = clock.monotonic()
            try:
                status = await self._life()
            except OSError as error:
                log.error("%s cannot be started: %s", self._name, error.strerror)
                status = 1
            if self._stopping.is_set():
                return 0 if status == 0 or (status == -signal.SIGTERM and not self._listening) else 1
            if not self.listens.is_set():
                raise NotStarted(status)
            if clock.monotonic() - began > STEADY_SECONDS:
                rest = FIRST_REST
            log.error("%s %s; another is started in %g s", self._name, _ending(status), rest)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), rest)
                return 0
            rest = min(rest * 2, LONGEST_REST)

    def stop(self, number: signal.Signals) -> None:
        """It drains, or is killed when that takes longer than it may."""
        self._stopping.set()
        self.tell(number if self._listening else signal.SIGTERM)
        patience = longest_end(self._orders.settings.server)
        asyncio.get_running_loop().call_later(patience, self.tell, signal.SIGKILL)

    def tell(self, number: signal.Signals) -> None:
        if self._process is not None:
            process.tell(self._process, number)

    async def _life(self) -> int:
        """Of one process. Its status; negative: the signal that ended it."""
        self._listening = False
        leash, its_end = socket.socketpair()
        with leash:
            with its_end, self._listener() as listener:
                passed = (its_end.fileno(), listener.fileno())
                self._process = child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "homeport.child", self._name, *map(str, passed)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=passed,
                    start_new_session=True,  # Ctrl-C is for the parent, which tells its children
                )
            try:
                if self._stopping.is_set():
                    self.tell(signal.SIGTERM)
                await self._order(leash)
                return await child.wait()
            except BaseException:
                process.tell(child, signal.SIGTERM)
                await child.wait()
                raise
            finally:
                self._process = None

    async def _order(self, leash: socket.socket) -> None:
        """Give the orders, and wait until the child listens, or has died."""
        loop = asyncio.get_running_loop()
        leash.setblocking(False)
        with suppress(OSError):
            await loop.sock_sendall(leash, self._orders.packed())
            self._listening = await loop.sock_recv(leash, 1) != b""
        if self._listening:
            self.listens.set()


def _ending(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
