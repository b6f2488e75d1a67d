"""A child of `homeport serve --workers N` (workers.py): `python -m homeport.child NAME LEASH LISTENER`.

NAME is for `ps` and the log, the others are numbers of sockets. The parent holds the other end of the leash. Over it
come the orders, so that no secret is in an argument or a variable, and a child that is started later serves by the same
settings as its siblings whatever became of homeport.toml; over it the child says that it listens. When the leash ends
the parent has gone, however it went, and the child drains as after SIGTERM: nobody serves without an owner.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from homeport import app, logs, process, serving
from homeport.api import server
from homeport.backends.held import Kind
from homeport.backing import Room
from homeport.errors import HomeportError, SettingsError
from homeport.settings import Server, Settings
from homeport.siblings import Siblings

log = logging.getLogger("homeport")

#: Seconds beyond `drain_seconds` that the end of a process may take: its last rows are written.
ENDING_SECONDS = 15.0
#: A worker's connection to the engine room may be idle so long: longer than the worker keeps it.
KEPT_SECONDS = 300.0
#: Socket of the engine room, in the folder.
ROOM = "engines.sock"
#: Bytes that say how many bytes of orders follow.
LENGTH = 4


class Orders(msgspec.Struct, frozen=True):
    """folder: of sockets between the processes. names: of those that tell how they are. models: those that the engine
    room holds, whatever was pulled since. holds: this process is the room."""

    settings: Settings
    folder: str
    names: tuple[str, ...] = ()
    models: dict[str, Kind] = msgspec.field(default_factory=dict)
    holds: bool = False

    def siblings(self, name: str) -> Siblings | None:
        """name: of this process. None: nobody tells anything."""
        if not self.names:
            return None
        return Siblings(Path(self.folder), name, self.names)

    def packed(self) -> bytes:
        packed = msgspec.msgpack.encode(self)
        return len(packed).to_bytes(LENGTH, "big") + packed


def longest_end(chosen: Server) -> float:
    """Seconds from SIGTERM until a child must have ended."""
    return chosen.notice_seconds + chosen.drain_seconds + ENDING_SECONDS


def main() -> int:
    name, *numbers = sys.argv[1:]
    leash, listener = (socket.socket(fileno=int(number)) for number in numbers)
    with leash.makefile("rb") as taken:
        length = taken.read(LENGTH)
        packed = taken.read(int.from_bytes(length, "big"))
    try:
        orders = msgspec.msgpack.decode(packed, type=Orders)
    except msgspec.DecodeError:
        return 1  # the parent went before it had said all
    chosen = orders.settings.server
    logs.set_up(chosen.log_level, chosen.log_format, process=name)
    serving.allow_files(chosen.max_connections)
    patience = longest_end(chosen)
    threading.Thread(target=_follow, args=(leash, patience), name="leash", daemon=True).start()
    try:
        with asyncio.Runner(loop_factory=serving.loop_factory()) as runner:
            runner.run((_hold if orders.holds else _serve)(name, orders, leash, listener))
    except SettingsError as error:
        print(f"homeport: {error}", file=sys.stderr)
        return 2
    except HomeportError as error:
        log.error("%s", error.message)
        return 1
    process.deaf()
    return 0


async def _serve(name: str, orders: Orders, leash: socket.socket, listener: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(logs.unhandled)
    room = Room(Path(orders.folder) / ROOM, orders.models)
    built = app.build(orders.settings, room=room, siblings=orders.siblings(name))
    try:
        await built.join()
    except BaseException:
        await built.close()
        raise
    serve = server.server(built.asgi, built.http, orders.settings.server)
    serve.listening = lambda: _tell(leash)
    await serve.serve_while(listener, built)


async def _hold(name: str, orders: Orders, leash: socket.socket, listener: socket.socket) -> None:
    """The engine room."""
    asyncio.get_running_loop().set_exception_handler(logs.unhandled)
    built = app.build_engines(orders.settings, orders.models, orders.siblings(name))
    inside = replace(
        orders.settings.server, keep_alive_seconds=KEPT_SECONDS, notice_seconds=0.0, tls_cert=None, tls_key=None
    )
    serve = server.server(built.asgi, built.http, inside)
    serve.listening = lambda: _tell(leash)
    await serve.serve_while(listener, built)


def _tell(leash: socket.socket) -> None:
    """That the child listens."""
    with suppress(OSError):  # the parent has gone, which the other thread sees
        leash.sendall(b"!")


def _follow(leash: socket.socket, patience: float) -> None:
    """In a thread: a loop that is blocked must not keep an orphan alive."""
    with suppress(OSError):  # the parent went before it had read what was told
        while leash.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
