"""Runs the application: uvicorn with the fast lane, a socket that is bound before anything is printed, a clean end."""

import asyncio
import gc
import math
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from homeport import clock
from homeport.api import tls
from homeport.api.lane import LaneProtocol
from homeport.errors import SettingsError
from homeport.settings import Server as ServerSettings

BACKLOG = 2048
#: For the client's part of a TLS handshake. A connection counts from its end on, so a crowd must not linger before it.
HANDSHAKE_SECONDS = 10.0
#: For the client's goodbye.
_SHUTDOWN_SECONDS = 5.0
#: How soon a second signal is seen.
_TICK_SECONDS = 0.1
#: Not for the host's subdomains, which are other people's servers; the host's other ports are in it by definition.
_HSTS = ("strict-transport-security", "max-age=31536000")


def bind(host: str, port: int) -> socket.socket:
    """Take the port, or raise SettingsError that says what to do."""
    return _taken(host, port, listen=True)


def reserve(host: str, port: int) -> socket.socket:
    """Take the port for several processes, each of which listens on a socket of its own (`beside`). As bind.

    Nobody is connected to the one that is returned: it only keeps the port. It is taken before it may be shared, or a
    second `homeport serve` of the same user would share it unasked.
    """
    reserved = _taken(host, port, listen=False)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return reserved


def beside(reserved: socket.socket) -> socket.socket:
    """One more socket for the same port; it takes its share of the connections as soon as it listens.

    Why not one listening socket for all: whoever wakes first takes all that wait. Of 64 connections that came at once
    two processes had 62 and 2, or 0 and 64; with a socket each, among which the kernel spreads them by a hash of the
    client's address, 31 and 33, or 26 and 38 (docs/workers.md).
    """
    listener = socket.socket(reserved.family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(reserved.getsockname())
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _taken(host: str, port: int, *, listen: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        if listen:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port, or stop what is using it."
        ) from None
    listener.setblocking(False)
    return listener


class Served(Protocol):
    """What lives beside the port. start: loads what must be loaded; watch: runs until cancelled; close: lets go.

    drain: the end was asked for, once; it comes after the notice, and after the requests that are in flight. drained:
    returns when what else was in hand has ended, or has had its time.
    """

    async def start(self) -> None: ...

    def drain(self) -> None: ...

    async def drained(self) -> None: ...

    async def watch(self) -> None: ...

    async def close(self) -> None: ...


class Server(uvicorn.Server):
    """uvicorn's server, except that a signal ends it with status 0 instead of being raised again, however often SIGTERM
    comes meanwhile, that it may give notice of its end, and that it gives TLS handshakes less time.

    serving --SIGTERM--> notice: everything goes on, and who asks is told that the end is near
            --SIGINT---> draining: no new connections, requests in flight are finished --SIGINT--> ended
    notice  --its time is over, or another signal--> draining

    listening: called once the port answers.
    """

    listening: Callable[[], None] | None = None

    def __init__(self, config: uvicorn.Config, certificate: tls.Certificate | None, *, notice: float = 0.0) -> None:
        """notice: seconds."""
        super().__init__(config)
        self._certificate = certificate
        self._notice = notice
        self._exit_at = float("inf")
        self._served: Served | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, but for the listening: it has no setting for the time of a handshake (asyncio: a minute)."""
        await super().startup(sockets=[])
        secured: dict[str, Any] = {}
        if self._certificate is not None:
            secured = {
                "ssl": self._certificate.context,
                "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
            }
        loop = asyncio.get_running_loop()
        for listener in sockets or ():
            self.servers.append(await loop.create_server(self._protocol, sock=listener, backlog=BACKLOG, **secured))
        if self.listening is not None:
            self.listening()

    def _protocol(self) -> asyncio.Protocol:
        config = self.config
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Once it was told to end, SIGTERM stays with it: what is let go after the port would be cut off by another."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            if self.should_exit:
                del before[signal.SIGTERM]
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = self.force_exit or sig == signal.SIGINT
            return
        if self._served is not None:
            self._served.drain()
        if sig == signal.SIGTERM and self._notice and self._exit_at == float("inf"):
            self._exit_at = clock.monotonic() + self._notice
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or clock.monotonic() >= self._exit_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, which waits for requests; then for what else was in hand."""
        await super().shutdown(sockets)
        if self._served is not None:
            async with asyncio.TaskGroup() as group:
                drained = group.create_task(self._served.drained())
                while not drained.done() and not self.force_exit:
                    await asyncio.wait([drained], timeout=_TICK_SECONDS)
                drained.cancel()

    async def serve_while(self, listener: socket.socket, served: Served) -> None:
        """Serve until a signal. The models load while the port answers; `close` comes after draining."""
        _track_no_generators()
        self._served = served
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(_start(served.start)), group.create_task(served.watch())]
                if self._certificate is not None:
                    beside.append(group.create_task(self._certificate.watch()))
                await self.serve(sockets=[listener])
                for task in beside:
                    task.cancel()
        finally:
            await served.close()


def _track_no_generators() -> None:
    """Spare asyncio's list of all running generators, about 2 us each and four of them a request.

    The list serves `shutdown_asyncgens` alone; ours are closed where they are used (`aclosing`). The finalizer, which
    closes a generator that was forgotten all the same, stays.
    """
    sys.set_asyncgen_hooks(firstiter=None, finalizer=sys.get_asyncgen_hooks().finalizer)


async def _start(start: Callable[[], Awaitable[None]]) -> None:
    await start()
    _collect_seldom()


def _collect_seldom() -> None:
    """Let the collector of reference cycles rest: it cost 9 % of a relayed request, and requests leave no cycles.

    What was loaded is not looked at again; what comes later is, after 10,000 new objects instead of 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def server(app: ASGIApp, http: type[LaneProtocol], settings: ServerSettings) -> Server:
    """Raises SettingsError: no certificate can be made of the files."""
    certificate = tls.certificate(settings)
    is_private = certificate is not None or settings.behind_tls_proxy
    config = uvicorn.Config(
        app,
        http=http,
        loop="none",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        headers=[_HSTS] if is_private else None,
        timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    return Server(config, certificate, notice=settings.notice_seconds)
